"""Stacks that are no regular grid brought onto one: uneven gaps made even, a tilt undone by shearing.

Linear between neighbours, along one axis at a time; integers are rounded to the nearest. Nothing else resamples on
reading: a stack that is a grid keeps its voxels bit by bit.
"""

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import NDArray

from raptor_search.readers.memory import empty

__all__ = ["SHEAR_TOLERANCE_DEG", "evened", "unsheared"]

SHEAR_TOLERANCE_DEG = 0.5
"""Below this angle a stack counts as upright: over 300 mm it shifts by 2.6 mm, and rounded positions of short stacks
show as much."""


def evened(voxels: Shaped[np.ndarray, "n rows columns"], fractions: Float[np.ndarray, " m"]) -> NDArray[np.generic]:
    """Slices at fractional places among the given ones.

    Args:
        voxels: the slices, in order.
        fractions: 0 for the first slice to n - 1 for the last.
    """
    out = empty((len(fractions), *voxels.shape[1:]), voxels.dtype)
    for target, fraction in zip(out, fractions, strict=True):
        below = min(int(fraction), len(voxels) - 1)
        above = min(below + 1, len(voxels) - 1)
        target[...] = _mixed(voxels[below], voxels[above], fraction - below)
    return out


def unsheared(
    voxels: Shaped[np.ndarray, "slice row column"], affine: Float[np.ndarray, "4 4"]
) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    """The stack upright: each slice shifted within its plane, so that the slice axis is at right angles to it.

    Nothing is cut off: the planes grow by the whole shift, and what no slice covers takes the lowest value.

    Args:
        voxels: the slices, in order.
        affine: (column, row, slice) index to mm, rows and columns at right angles.

    Returns:
        Voxels and affine of the upright stack.
    """
    axes = affine[:3, :3]
    spacing = np.linalg.norm(axes[:, :2], axis=0)
    units = axes[:, :2] / spacing
    shift = (units.T @ axes[:, 2]) / spacing  # columns and rows by which the next slice lies further
    upright = affine.copy()
    upright[:3, 2] = axes[:, 2] - units @ (units.T @ axes[:, 2])
    background = voxels.min()
    for axis, by in ((2, shift[0]), (1, shift[1])):
        voxels, first = _sheared(voxels, by, axis=axis, background=background)
        upright[:3, 3] += first * axes[:, 2 - axis]
    return voxels, upright


def _sheared(
    voxels: Shaped[np.ndarray, "slice row column"], by: float, *, axis: int, background: np.generic
) -> tuple[NDArray[np.generic], int]:
    """Slice k moved by k * `by` places along an axis, and the place of the new first row among the old ones."""
    reach = by * (len(voxels) - 1)
    if abs(reach) < 1e-6:
        return voxels, 0
    first, last = int(np.floor(min(reach, 0) + 1e-6)), int(np.ceil(max(reach, 0) - 1e-6))
    shape = list(voxels.shape)
    length = shape[axis]
    shape[axis] = length + last - first
    out = np.full(shape, background, voxels.dtype)
    for index, one in enumerate(voxels):
        start = index * by - first
        whole = int(np.floor(start + 1e-6))
        part = max(start - whole, 0.0)
        source, target = np.moveaxis(one, axis - 1, 0), np.moveaxis(out[index], axis - 1, 0)
        if part < 1e-6:
            target[whole : whole + length] = source
            continue
        edge = np.full((1, *source.shape[1:]), background, source.dtype)
        # Row r of the moved slice lies between rows r - 1 and r of the old one.
        target[whole : whole + length + 1] = _mixed(np.r_[source, edge], np.r_[edge, source], part)
    return out, first


def _mixed(below: Shaped[np.ndarray, "*s"], above: Shaped[np.ndarray, "*s"], part: float) -> NDArray[np.generic]:
    """`below` and `above` in the ratio 1 - `part` to `part`, in the type of `below`."""
    if part == 0:
        return below
    # float32 holds 24 bits of an integer exactly, which is more than 16.
    kind = np.float64 if below.dtype.itemsize > 2 else np.float32
    mixed = below * kind(1 - part) + above * kind(part)
    return np.asarray(np.rint(mixed) if below.dtype.kind in "iu" else mixed).astype(below.dtype)
