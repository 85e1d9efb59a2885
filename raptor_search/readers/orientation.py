"""From the axes of a file to RAS+: voxels and affine turned together, the way back kept."""

from collections.abc import Sequence

import nibabel as nib
import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import NDArray

from raptor_search.errors import ReadError
from raptor_search.volume import Format, Volume, check_shape

__all__ = ["LPS_TO_RAS", "backwards", "to_volume"]

LPS_TO_RAS: NDArray[np.float64] = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM patient coordinates (PS3.3 C.7.6.2.1.1) to NIfTI's: the first two axes change sign."""


def to_volume(
    stored: Shaped[np.ndarray, "i j k"],
    affine: Float[np.ndarray, "4 4"],
    *,
    kind: Format,
    oriented: bool = True,
    turned: bool = False,
) -> Volume:
    """The volume of voxels as stored: axes permuted and flipped to the nearest RAS+.

    Memory keeps the file's order (a transposing copy of a large scan takes seconds), with positive strides.

    Args:
        stored: voxels in the order of the file's axes; where it can be written to, it is the volume's from now on.
        affine: stored voxel index to RAS+ mm.
        kind: the kind of file.
        oriented: whether the file said how it lies in space.
        turned: whether the axes that run `backwards` were reversed already, as the voxels were read.

    Raises:
        ReadError: where shape, affine or voxels cannot be a scan.
    """
    check_shape(stored.shape)
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(affine) < 4:
        raise ReadError("bad-geometry", "the affine is singular or not finite; expected a spacing above 0 mm")
    orientation = nib.orientations.io_orientation(affine)
    # PyTorch takes no negative strides, so that voxels are moved and not only seen the other way round.
    flipped = () if turned else backwards(affine)
    upright = _flipped_in_place(stored, flipped) if stored.flags.writeable else np.flip(stored, flipped).copy(order="K")
    axes = np.argsort(orientation[:, 0])
    return Volume(
        voxels=upright.transpose(axes),
        affine=affine @ nib.orientations.inv_ornt_aff(orientation, stored.shape),
        stored_axes=_pairs(orientation),
        format=kind,
        oriented=oriented,
    )


def backwards(affine: Float[np.ndarray, "4 4"]) -> tuple[int, ...]:
    """The axes of the file that run to the patient's left, back or feet."""
    return tuple(axis for axis, (_, sign) in enumerate(nib.orientations.io_orientation(affine)) if sign < 0)


def _flipped_in_place(voxels: NDArray[np.generic], axes: Sequence[int]) -> NDArray[np.generic]:
    """The same array with its axes reversed: no second copy of a large scan is made."""
    slowest = int(np.argmax(voxels.strides))
    slabs = np.moveaxis(voxels, slowest, 0)  # one after the other in memory
    within = tuple(axis + 1 if axis < slowest else axis for axis in axes if axis != slowest)
    if within:
        for slab in slabs:
            slab[...] = np.flip(slab, tuple(axis - 1 for axis in within)).copy(order="K")
    if slowest in axes:
        for low in range(len(slabs) // 2):
            kept = slabs[low].copy()
            slabs[low] = slabs[-1 - low]
            slabs[-1 - low] = kept
    return voxels


def _pairs(orientation: NDArray[np.float64]) -> tuple[tuple[int, int], ...]:
    return tuple((int(axis), int(flip)) for axis, flip in orientation)
