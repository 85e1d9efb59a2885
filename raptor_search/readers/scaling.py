"""Stored numbers to real-world values: slope and intercept, integers kept where that is exact."""

from collections.abc import Collection

import numpy as np
from jaxtyping import Shaped

__all__ = ["rescale", "scaled_dtype"]

Scaling = tuple[float, float]
"""Slope and intercept."""


def scaled_dtype(stored: np.dtype[np.generic], bits: int, scalings: Collection[Scaling]) -> np.dtype[np.generic]:
    """The smallest of the stored type, int16, int32 and float32 that holds every scaled value.

    Args:
        stored: type of the stored numbers.
        bits: how many of its bits are used.
        scalings: every (slope, intercept) of the volume.
    """
    if set(scalings) <= {(1.0, 0.0)}:
        return stored.newbyteorder("=")
    if stored.kind not in "iu" or any(slope != 1 or not float(add).is_integer() for slope, add in scalings):
        return np.dtype(np.float32)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if stored.kind == "i" else (0, 2**bits - 1)
    low, high = low + min(add for _, add in scalings), high + max(add for _, add in scalings)
    for candidate in (np.int16, np.int32):
        if np.iinfo(candidate).min <= low and high <= np.iinfo(candidate).max:
            return np.dtype(candidate)
    return np.dtype(np.float32)


def rescale(stored: Shaped[np.ndarray, "..."], scaling: Scaling, out: Shaped[np.ndarray, "..."]) -> None:
    """Write `stored * slope + intercept` into `out`: exactly for integers, else in float64 a slab at a time.

    Values beyond the range of a float `out` become infinite, which `Volume` refuses.

    Args:
        stored: as the file has them.
        scaling: slope and intercept.
        out: of the type that `scaled_dtype` chose.
    """
    slope, intercept = scaling
    if out.dtype.kind in "iu":
        np.add(stored, int(intercept), out=out, dtype=out.dtype, casting="unsafe")
        return
    with np.errstate(over="ignore", invalid="ignore"):
        for target, source in zip(out, stored, strict=True):
            target[...] = np.multiply(source, slope, dtype=np.float64) + intercept
