"""The image towers of open_clip that serve as encoders: their cards, from open_clip's own tables, without weights.

CLIP (Radford et al., arXiv 2103.00020), SigLIP (Zhai et al., arXiv 2303.15343) and SigLIP 2 (Tschannen et al., arXiv
2502.14786): vision transformers, whose patch tokens lie on a grid. Other towers of open_clip are refused.
"""

import re
from typing import Any

from raptor_search.encoder_cards import OPEN_CLIP, OPEN_CLIP_INSTALL, EncoderCard
from raptor_search.encoders.torchvision_guard import guarded
from raptor_search.errors import UsageError

__all__ = ["EXAMPLE", "open_clip", "open_clip_card", "open_clip_names", "vision_config"]

EXAMPLE = f"{OPEN_CLIP}ViT-B-16/openai"

SIGLIP = re.compile(r"vit_(base|large|so400m|giantopt)_patch(\d+)_siglip_(\d+)")
"""timm's names of the towers of SigLIP and SigLIP 2, which open_clip takes from there: size, patch, image."""

SIGLIP_SIZES = {"base": (768, 12), "large": (1024, 24), "so400m": (1152, 27), "giantopt": (1536, 40)}
"""Numbers in a token, and blocks."""


def open_clip(name: str) -> Any:
    """The package open_clip.

    Raises:
        WeightsError: where it, or torchvision that it needs, is absent or cannot be imported; names the command.
    """
    with guarded(name, "open_clip", OPEN_CLIP_INSTALL):
        import open_clip as package

        return package


def open_clip_names() -> list[str]:
    """Every `open_clip:MODEL/PRETRAINED` that serves as an encoder.

    Raises:
        WeightsError: where open_clip cannot be imported.
    """
    pairs = open_clip(OPEN_CLIP).list_pretrained()
    return [f"{OPEN_CLIP}{model}/{tag}" for model, tag in pairs if _shape(vision_config(model)) is not None]


def open_clip_card(name: str) -> EncoderCard:
    """The card of `open_clip:MODEL/PRETRAINED`.

    Its mean and standard deviation are the checkpoint's; its revision is not pinned by open_clip, so that the hash of
    the weights in each spec alone tells two versions apart.

    Raises:
        UsageError: for a model or a checkpoint that open_clip does not have, or one without a grid of patch tokens.
        WeightsError: where open_clip cannot be imported.
    """
    package = open_clip(name)
    model, _, tag = name.removeprefix(OPEN_CLIP).partition("/")
    if model not in package.list_models() or not package.list_pretrained_tags_by_model(model):
        raise UsageError(
            f"--encoder {name}: open_clip {package.__version__} has no pretrained model {model or 'of no name'}; "
            f"expected a name such as {EXAMPLE}: run `raptor encoders --open-clip`"
        )
    tags = package.list_pretrained_tags_by_model(model)
    if tag not in tags:
        raise UsageError(f"--encoder {name}: expected {OPEN_CLIP}{model}/ and one of {', '.join(tags)}")
    shape = _shape(vision_config(model))
    if shape is None:
        raise UsageError(
            f"--encoder {name}: its image tower is none of CLIP's or SigLIP's vision transformers; "
            f"expected one such as {EXAMPLE}: run `raptor encoders --open-clip`"
        )
    dim, layers, patch, image, has_cls = shape
    checkpoint = package.get_pretrained_cfg(model, tag)
    return EncoderCard(
        name=name,
        source=checkpoint["hf_hub"].rstrip("/"),
        revision=None,
        weights_sha256=None,
        licence="see source",
        patch=patch,
        dim=dim,
        grid=(image // patch, image // patch),
        mean=checkpoint["mean"],
        std=checkpoint["std"],
        layers=layers,
        default_layer="last",
        has_cls=has_cls,
        image=image,
    )


def vision_config(model: str) -> dict[str, Any]:
    """open_clip's settings of a model's image tower, by open_clip's names."""
    config: dict[str, Any] = open_clip(OPEN_CLIP + model).get_model_config(model)["vision_cfg"]
    return config


def _shape(vision: dict[str, Any]) -> tuple[int, int, int, int, bool] | None:
    """Numbers in a token, blocks, patch, image, whether there is a CLS token; None for another kind of tower."""
    image = vision.get("image_size", 224)
    if "timm_model_name" in vision:
        siglip = SIGLIP.fullmatch(vision["timm_model_name"])
        if siglip is None or image != int(siglip[3]):
            return None
        dim, layers = SIGLIP_SIZES[siglip[1]]
        return dim, layers, int(siglip[2]), image, False
    if isinstance(vision["layers"], list) or vision.get("attentional_pool"):
        return None  # a ResNet; CoCa, whose tokens come out of its pooling
    return vision["width"], vision["layers"], vision["patch_size"], image, True
