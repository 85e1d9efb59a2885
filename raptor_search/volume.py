"""A scan in memory: voxels in RAS+ order, their affine in mm, and how they lay in the file."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import NDArray

from raptor_search.errors import ReadError

__all__ = ["Format", "Volume"]

Format = Literal["dicom", "nifti", "nrrd", "npz", "mha"]

MIN_SIDE = 4
"""Slices that an axis needs; thinner stacks are localizers or single images."""

MAX_VOXELS = 2**31
"""2,048 x 1,024 x 1,024: larger headers are refused before anything is allocated."""


MAX_RANGE = 1e300
"""Between the least and the greatest voxel: beyond it the window's width is no float64."""


@dataclass(frozen=True, kw_only=True)
class Volume:
    """One scan. Axis 0 runs to the patient's right, 1 to anterior, 2 to superior (RAS+).

    Attributes:
        voxels: real-world values (HU for CT), any real dtype. Never written to.
        affine: voxel index to RAS+ millimetres.
        stored_axes: for each stored array axis in order, the RAS axis it became and its sign,
            as `nibabel.orientations.io_orientation` gives it: rows (axis, flip).
        format: the kind of file.
        oriented: False where the file gave no orientation and the stored axes were taken as RAS+.

    Raises:
        ReadError: on construction, where the shape, affine or voxels cannot be a scan.
    """

    voxels: Shaped[np.ndarray, "r a s"]
    affine: Float[np.ndarray, "4 4"]
    stored_axes: tuple[tuple[int, int], ...] = ((0, 1), (1, 1), (2, 1))
    format: Format = "nifti"
    oriented: bool = field(default=True)

    def __post_init__(self) -> None:
        check_shape(self.voxels.shape)
        spacing = np.linalg.norm(self.affine[:3, :3], axis=0)
        if not np.isfinite(self.affine).all() or (spacing <= 0).any() or np.linalg.matrix_rank(self.affine) < 4:
            raise ReadError("bad-geometry", "the affine is singular or not finite; expected a spacing above 0 mm")
        if np.issubdtype(self.voxels.dtype, np.floating) and not np.isfinite(self.voxels).all():
            bad = int(self.voxels.size - np.isfinite(self.voxels).sum())
            raise ReadError("not-finite", f"{bad} voxels are NaN or infinite; expected finite values")
        least, most = self.voxels.min(), self.voxels.max()
        if float(most) / 2 - float(least) / 2 > MAX_RANGE / 2:
            raise ReadError(
                "not-finite",
                f"voxels from {float(least):.3g} to {float(most):.3g}; expected at most {MAX_RANGE:g} apart",
            )
        if least == most:
            raise ReadError("constant", f"all voxels equal {float(least):g}; expected an image")

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along R, A, S."""
        r, a, s = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(r), float(a), float(s)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along R, A, S."""
        r, a, s = self.voxels.shape
        return r, a, s

    @property
    def orientation(self) -> str:
        """Where the file's own axes point, such as "LPS"."""
        return "".join("RAS"[axis] if sign > 0 else "LPI"[axis] for axis, sign in self.stored_axes)

    @property
    def stored(self) -> NDArray[np.generic]:
        """The voxels in the order of the file's own axes (a view)."""
        view = self.voxels
        for axis, sign in self.stored_axes:
            if sign < 0:
                view = np.flip(view, axis)
        return view.transpose([axis for axis, _ in self.stored_axes])


def check_shape(shape: tuple[int, ...]) -> None:
    """Refuse shapes that are no scan, before anything is allocated.

    Raises:
        ReadError: not three axes, an axis below `MIN_SIDE`, or more than `MAX_VOXELS`.
    """
    if len(shape) != 3:
        size = "x".join(str(n) for n in shape)
        raise ReadError("not-3d", f"{len(shape)} dimensions ({size}); expected 3: split it into single volumes first")
    if min(shape) < MIN_SIDE:
        raise ReadError("too-few-slices", f"{min(shape)} slices along one axis; expected at least {MIN_SIDE}")
    if int(np.prod([int(n) for n in shape], dtype=object)) > MAX_VOXELS:
        raise ReadError("too-large", f"{'x'.join(map(str, shape))} voxels; expected at most {MAX_VOXELS}")
