"""The geometry record: what is known of how a scan's slices lie, kept with it and open to filters."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

__all__ = ["Geometry", "axes_tilt_deg", "geometry_of", "oblique_deg", "plane_of"]

SlicePlane = Literal["axial", "coronal", "sagittal"]

PLANES: tuple[SlicePlane, SlicePlane, SlicePlane] = ("sagittal", "coronal", "axial")
"""By the axis (R, A, S) that is nearest to the slices' normal."""

ANISOTROPY = 1.2
"""From this ratio of the largest spacing to the next one on, a grid without a slice axis of its own has one."""


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """How the slices lay in the file; None where the format does not say.

    Attributes:
        plane: of the slices, the nearest one.
        slices: images that the volume was made of.
        gap_mm: median distance between neighbouring slices along their normal.
        smallest_gap_mm: the smallest of these distances.
        largest_gap_mm: the largest.
        missing_slices: places at which an image was lacking and was interpolated.
        doubled_slices: images that repeated another one, pixel by pixel, and were left out.
        tilt_deg: angle between the slices' normal and the line along which they are stacked.
        oblique_deg: angle between the slices' normal and the nearest axis of the body.
        resampled: whether slices were interpolated to even gaps.
        sheared: whether slices were shifted to undo the tilt.
    """

    plane: SlicePlane | None = None
    slices: int | None = None
    gap_mm: float | None = None
    smallest_gap_mm: float | None = None
    largest_gap_mm: float | None = None
    missing_slices: int | None = None
    doubled_slices: int | None = None
    tilt_deg: float | None = None
    oblique_deg: float | None = None
    resampled: bool | None = None
    sheared: bool | None = None


def geometry_of(affine: Float[np.ndarray, "4 4"], *, oriented: bool) -> Geometry:
    """What an affine alone says: of a NIfTI, NRRD or MHA file.

    Args:
        affine: voxel index to mm.
        oriented: whether the file said how it lies in space.
    """
    axes = affine[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    order = np.argsort(spacing)
    slicing = int(order[2])
    is_stack = spacing[slicing] > ANISOTROPY * spacing[order[1]]
    normal = np.cross(axes[:, slicing - 2], axes[:, slicing - 1])
    return Geometry(
        plane=plane_of(normal) if oriented and is_stack else None,
        tilt_deg=round(axes_tilt_deg(axes), 3),
        oblique_deg=round(oblique_deg(normal), 3) if oriented else None,
        resampled=False,
        sheared=False,
    )


def plane_of(normal: Float[np.ndarray, " 3"]) -> SlicePlane:
    """The plane whose normal is nearest, of a direction in LPS or RAS."""
    return PLANES[int(np.argmax(np.abs(normal)))]


def oblique_deg(normal: Float[np.ndarray, " 3"]) -> float:
    """Degrees between a direction and the nearest axis of the body, 0 to 54.7."""
    return float(np.degrees(np.arccos(np.clip(np.abs(normal).max() / np.linalg.norm(normal), 0, 1))))


def axes_tilt_deg(axes: NDArray[np.float64]) -> float:
    """The largest departure of two of the three axes (columns) from a right angle, in degrees."""
    unit = axes / np.linalg.norm(axes, axis=0)
    cosines = unit.T @ unit
    return float(np.degrees(np.arcsin(np.clip(np.abs(cosines[[0, 0, 1], [1, 2, 2]]).max(), 0, 1))))
