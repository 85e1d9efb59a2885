"""Which encoders there are, and whether their weights are on this machine. Asks no network and loads no model."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from raptor_search.encoder_cards import ENCODERS, OPEN_CLIP_FILES, EncoderCard, find_package_file

__all__ = ["ListedEncoder", "has_open_clip", "list_encoders", "listed"]

HUB_FILES = ("model.safetensors",)
"""Of the encoders that come from the model hub with a name of their own."""


@dataclass(frozen=True, kw_only=True)
class ListedEncoder:
    """An encoder and its weights.

    Attributes:
        card: what it is.
        weights: "here", "download" (the hub has them, the first use brings them) or "package" (one is to be installed).
        file: of the weights, where they are here; its content is checked when it is loaded, not now.
        command: that brings the weights, where a package is missing.
    """

    card: EncoderCard
    weights: Literal["here", "download", "package"]
    file: Path | None = None
    command: str | None = None


def list_encoders() -> list[ListedEncoder]:
    """Those with a name of their own, in the order of `ENCODERS`."""
    return [listed(card) for card in ENCODERS.values()]


def listed(card: EncoderCard) -> ListedEncoder:
    """An encoder with the whereabouts of its weights: the installed package, or the hub's cache."""
    if card.package is not None:
        file = find_package_file(card.package)
        if file is None:
            return ListedEncoder(card=card, weights="package", command=card.package.install)
        return ListedEncoder(card=card, weights="here", file=file)
    from huggingface_hub import try_to_load_from_cache

    for name in HUB_FILES if card.name in ENCODERS else OPEN_CLIP_FILES:
        cached = try_to_load_from_cache(card.source, name, revision=card.revision)
        if isinstance(cached, str) and Path(cached).is_file():
            return ListedEncoder(card=card, weights="here", file=Path(cached))
    return ListedEncoder(card=card, weights="download")


def has_open_clip() -> bool:
    """Whether open_clip is installed; it is not imported."""
    return find_spec("open_clip") is not None
