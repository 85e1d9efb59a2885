"""CLIP's, SigLIP's and SigLIP 2's image towers through open_clip: the tokens before they are pooled into one vector."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from raptor_search.encoder_cards import OPEN_CLIP, OPEN_CLIP_FILES, EncoderCard
from raptor_search.encoders.checkpoint import ForeignTensors, local_checkpoint, misfit, read_tensors, sha256_of
from raptor_search.encoders.hub import hub_file
from raptor_search.encoders.open_clip_cards import open_clip, vision_config
from raptor_search.encoders.pixels import fold_grey
from raptor_search.errors import WeightsError
from raptor_search.specs import Precision

__all__ = ["OpenClip", "load_open_clip"]

TOWER = "visual."
"""What the names of the image tower's tensors begin with; the text tower's are left alone."""

NO_TEXT = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}
"""open_clip builds an image tower with a text tower beside it: the smallest."""


class OpenClip:
    """An image tower cut after one block.

    A slice is resized to the tower's own image size (see the card) where that is not 224: bicubic, kept in [0, 1].

    Args:
        card: what it is.
        tensors: the checkpoint, by open_clip's names; those of a text tower are ignored.
        layer: block whose output goes through the final LayerNorm, or "last".
        weights_sha256: hash of the file that the tensors came from.
        device: where it will run.
        dtype: of its weights, activations and tokens.

    Raises:
        WeightsError: where the tensors are not this model's, naming them; or where open_clip cannot be imported.
    """

    precision: Precision = "exact"

    def __init__(
        self,
        card: EncoderCard,
        tensors: dict[str, Tensor],
        *,
        layer: str,
        weights_sha256: str,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.card = card
        self.layer = layer
        self.weights_sha256 = weights_sha256
        self.device = device
        tower = _filled(card, _empty_tower(card), tensors)
        if layer != "last":
            _cut(tower, int(layer))
        fold_grey(tower.trunk.patch_embed.proj if hasattr(tower, "trunk") else tower.conv1, card)
        self._dtype = dtype
        self._tower = tower.to(device=device, dtype=dtype).eval()

    def encode(self, slices: Float[Tensor, "b 224 224"]) -> Float[Tensor, "b t d"]:
        """The final LayerNorm of the chosen block's output: CLS where there is one, then the patches row by row."""
        with torch.inference_mode():
            out = self._tower.forward_intermediates(
                _resized(slices, self.card.image)[:, None].to(self._dtype),
                indices=1,
                normalize_intermediates=True,
                intermediates_only=True,
                output_fmt="NLC",
                output_extra_tokens=True,
            )
            patches: Tensor = out["image_intermediates"][0]
            if not self.card.has_cls:
                return patches
            return torch.cat([out["image_intermediates_prefix"][0], patches], dim=1)


def load_open_clip(
    card: EncoderCard,
    *,
    layer: str,
    weights: Path | None,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> OpenClip:
    """An image tower from a local checkpoint, or from the hub.

    Args:
        card: of `open_clip_card`.
        layer: a block number, or "last".
        weights: an open_clip checkpoint (safetensors, or a torch file of tensors), or a folder that holds one of
            `OPEN_CLIP_FILES`.
        device: where it will run.
        dtype: float32, or bfloat16 where the device computes in it.

    Raises:
        WeightsError: where the weights cannot be had, cannot be read, or are another model's.
    """
    path = (
        hub_file(card, OPEN_CLIP_FILES, mend="give --weights FILE")
        if weights is None
        else local_checkpoint(card, weights, OPEN_CLIP_FILES)
    )
    sha256 = sha256_of(card, path)
    tensors = {name.removeprefix("module."): tensor for name, tensor in read_tensors(card, path).items()}
    try:
        return OpenClip(card, tensors, layer=layer, weights_sha256=sha256, device=device, dtype=dtype)
    except ForeignTensors as error:
        raise WeightsError(
            f"{card.name}: {path} holds another model's weights: {error}; expected those of {card.source}: "
            "check --encoder and --weights"
        ) from error


def _empty_tower(card: EncoderCard) -> Any:
    """The architecture without memory for its weights."""
    model, _, tag = card.name.removeprefix(OPEN_CLIP).partition("/")
    package = open_clip(card.name)
    config = package.get_model_config(model)
    # The checkpoint knows which activation it was trained with; some models' settings leave it out.
    quick_gelu = config.get("quick_gelu", False) or package.get_pretrained_cfg(model, tag).get("quick_gelu", False)
    vision = vision_config(model) | {"timm_model_pretrained": False}
    with torch.device("meta"):
        return package.CLIP(config["embed_dim"], vision, NO_TEXT, quick_gelu=quick_gelu).visual


def _filled(card: EncoderCard, tower: Any, tensors: dict[str, Tensor]) -> Any:
    """The tower with exactly these tensors, in float32."""
    mine = {name.removeprefix(TOWER): tensor for name, tensor in tensors.items() if name.startswith(TOWER)}
    wanted = tower.state_dict()
    misfit_found = misfit(
        missing=wanted.keys() - mine.keys(),
        unexpected=mine.keys() - wanted.keys(),
        mismatched={name for name in wanted.keys() & mine.keys() if wanted[name].shape != mine[name].shape},
    )
    if misfit_found:
        raise ForeignTensors(misfit_found)
    tower.load_state_dict({name: tensor.float() for name, tensor in mine.items()}, assign=True)
    return tower.requires_grad_(False)


def _cut(tower: Any, blocks: int) -> None:
    holder, name = (tower.trunk, "blocks") if hasattr(tower, "trunk") else (tower.transformer, "resblocks")
    kept = list(getattr(holder, name))[:blocks]
    setattr(holder, name, nn.Sequential(*kept) if name == "blocks" else nn.ModuleList(kept))


def _resized(slices: Float[Tensor, "b h w"], side: int) -> Float[Tensor, "b side side"]:
    if slices.shape[-1] == side:
        return slices
    larger = functional.interpolate(slices[:, None], size=(side, side), mode="bicubic", antialias=True)
    return larger[:, 0].clamp(0, 1)  # bicubic weights overshoot
