"""Stored pixels to numbers: the bits that count, the polarity, and padding (PS3.3 C.7.6.3, C.7.5.1.1.2)."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped
from numpy.typing import NDArray

from raptor_search.readers.dicom_frames import PixelKind

__all__ = ["lower_padding", "padding_of", "upright", "used_bits"]

BACKGROUND_MARGIN = 0.01
"""How far below the lowest pixel padding counts as background, as a part of the pixels' range: too little to see."""


def padding_of(stored: Shaped[np.ndarray, "rows columns"], kind: PixelKind) -> NDArray[np.bool_]:
    """Where the stored numbers stand for "no pixel here"."""
    if kind.padding is None:
        return np.zeros(stored.shape, bool)
    low, high = kind.padding
    return (stored >= low) & (stored <= high)


def used_bits(
    stored: Shaped[np.ndarray, "rows columns"], kind: PixelKind, padded: Bool[np.ndarray, "rows columns"] | None
) -> NDArray[np.generic]:
    """The numbers of the bits that are stored, with their sign; overlays in the others are dropped.

    Pixels of padding keep all bits: scanners write -2000 into 12 bits. Decoders that have done this already, and
    numbers that fit, come back as they are.
    """
    allocated = kind.dtype.itemsize * 8
    if kind.bits == allocated or stored.dtype.kind not in "iu":
        return stored
    signed = kind.dtype.kind == "i"
    low, high = (-(2 ** (kind.bits - 1)), 2 ** (kind.bits - 1) - 1) if signed else (0, 2**kind.bits - 1)
    if not kind.unused and low <= int(stored.min()) and int(stored.max()) <= high:
        return stored
    numbers = stored.astype(kind.dtype) << (allocated - kind.bits - kind.unused) >> (allocated - kind.bits)
    return numbers if padded is None else np.where(padded, stored, numbers)


def upright(stored: Shaped[np.ndarray, "rows columns"], kind: PixelKind) -> NDArray[np.generic]:
    """The numbers with the highest one brightest."""
    if not kind.inverted:
        return stored
    total = -1 if kind.dtype.kind == "i" else 2**kind.bits - 1
    return (total - stored.astype(np.int64)).astype(stored.dtype)


def lower_padding(voxels: NDArray[Any], padded: NDArray[np.bool_]) -> None:
    """Give padding the value of the lowest pixel, where it lies well beyond all pixels.

    A padding value among the pixels' own (0 in a CT that holds water) is a wrong header, and left alone; so is one
    right below them (0 in an MR whose darkest pixel is 1), which is the background itself.
    """
    if not padded.any() or padded.all():
        return
    lowest, highest = float(voxels[~padded].min()), float(voxels[~padded].max())
    margin = BACKGROUND_MARGIN * (highest - lowest)
    outside = (voxels[padded] < lowest - margin) | (voxels[padded] > highest + margin)
    if outside.all():
        voxels[padded] = lowest
