"""From slice positions to one grid: sorted along the normal, gaps and doubles found, the affine worked out.

Source: DICOM PS3.3 C.7.6.2.1.1 (image position and orientation), in LPS mm until the last line.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from raptor_search.errors import ReadError
from raptor_search.readers.orientation import LPS_TO_RAS

__all__ = ["Stack", "stack_slices"]

GAP_TOLERANCE = 0.1
"""How far a gap may be from the median, as a part of it. Scanners write positions with one decimal (a GE series with
7 mm between slices varies by 1.4%, a 1.25 mm one by 4%); a lost slice makes a gap of 100% more."""

SAME_POSITION_MM = 1e-3
"""Slices closer than this are two images of one place; the finest scanners step by 0.01 mm."""

COSINE_TOLERANCE = 0.01
"""How far direction cosines may be from each other and from unit length: half a degree, over any rounding."""

SPACING_TOLERANCE = 0.01
"""How far pixel spacings may differ, as a part of them."""


@dataclass(frozen=True)
class Stack:
    """How slices lie on one grid.

    Attributes:
        order: for each place along the normal, which slice lies there.
        affine: (column, row, slice) index to RAS+ mm.
    """

    order: NDArray[np.intp]
    affine: Float[np.ndarray, "4 4"]


def stack_slices(
    positions: Float[np.ndarray, "n 3"],
    cosines: Float[np.ndarray, "n 6"],
    spacings: Float[np.ndarray, "n 2"],
) -> Stack:
    """Sort at least two slices along their normal.

    Args:
        positions: centre of each slice's first pixel, LPS mm (ImagePositionPatient).
        cosines: directions of a row and of a column (ImageOrientationPatient).
        spacings: mm between rows and between columns (PixelSpacing).

    Raises:
        ReadError: a gap ("missing-slice"), two slices at one place ("duplicate-slice"), slices that do not make one
            stack ("mixed-geometry"), or directions and spacings that cannot be ("bad-geometry").
    """
    row, column = _directions(cosines)
    if not np.isfinite(positions).all() or not np.isfinite(spacings).all() or (spacings <= 0).any():
        raise ReadError("bad-geometry", "slice positions or pixel spacing that cannot be; expected finite, above 0 mm")
    if (np.abs(spacings / spacings[0] - 1) > SPACING_TOLERANCE).any():
        raise ReadError("mixed-geometry", "slices with different pixel spacings; expected one series of equal slices")
    along = positions @ np.cross(row, column)
    order = np.argsort(along, kind="stable")
    _check_gaps(np.diff(along[order]))
    step = (positions[order[-1]] - positions[order[0]]) / (len(order) - 1)
    _check_line(positions[order], step, limit=max(float(np.linalg.norm(step)), float(spacings.max())))
    affine = np.eye(4)
    affine[:3, 0] = row * spacings[0, 1]
    affine[:3, 1] = column * spacings[0, 0]
    affine[:3, 2] = step
    affine[:3, 3] = positions[order[0]]
    return Stack(order, LPS_TO_RAS @ affine)


def _directions(cosines: Float[np.ndarray, "n 6"]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors along a row and a column, shared by all slices."""
    lengths = np.linalg.norm(cosines.reshape(-1, 2, 3), axis=2)
    row, column = cosines[0, :3], cosines[0, 3:]
    if not np.isfinite(cosines).all() or (np.abs(lengths - 1) > COSINE_TOLERANCE).any():
        raise ReadError("bad-geometry", "direction cosines that are no unit vectors")
    if abs(row @ column) > COSINE_TOLERANCE:
        raise ReadError("bad-geometry", "rows and columns that are not at right angles")
    if (np.abs(cosines - cosines[0]) > COSINE_TOLERANCE).any():
        raise ReadError("mixed-geometry", "slices of different orientation, as in a localizer; expected parallel ones")
    return row / np.linalg.norm(row), column / np.linalg.norm(column)


def _check_gaps(gaps: Float[np.ndarray, " n"]) -> None:
    doubled = np.flatnonzero(gaps < SAME_POSITION_MM)
    if len(doubled):
        places = len(gaps) + 1 - len(doubled)
        raise ReadError(
            "duplicate-slice",
            f"{len(gaps) + 1} images at {places} positions, the first two at slice {doubled[0] + 1}; expected one "
            "image a position: export one volume a series",
        )
    expected = float(np.median(gaps))
    wide = np.flatnonzero(gaps > (1 + GAP_TOLERANCE) * expected)
    if len(wide):
        raise ReadError(
            "missing-slice",
            f"gap {gaps[wide[0]]:.4g} mm after slice {wide[0] + 1}, expected {expected:.4g} mm"
            + (f"; {len(wide)} gaps in all" if len(wide) > 1 else ""),
        )
    narrow = np.flatnonzero(gaps < (1 - GAP_TOLERANCE) * expected)
    if len(narrow):
        raise ReadError(
            "mixed-geometry",
            f"gap {gaps[narrow[0]]:.4g} mm after slice {narrow[0] + 1}, expected {expected:.4g} mm: uneven spacing",
        )


def _check_line(positions: Float[np.ndarray, "n 3"], step: Float[np.ndarray, " 3"], *, limit: float) -> None:
    """Refuse stacks that bend: a slice further than `limit` mm from its place on an even grid."""
    grid = positions[0] + np.arange(len(positions))[:, None] * step
    if (np.linalg.norm(positions - grid, axis=1) > limit).any():
        raise ReadError("mixed-geometry", "slices that do not follow one straight, even line")
