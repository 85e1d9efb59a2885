"""From slice positions to one grid: sorted along the normal, gaps and doubles found, the affine worked out.

Source: DICOM PS3.3 C.7.6.2.1.1 (image position and orientation), in LPS mm until the last line.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from raptor_search.errors import ReadError
from raptor_search.readers.geometry import Geometry, oblique_deg, plane_of
from raptor_search.readers.orientation import LPS_TO_RAS

__all__ = ["COSINE_TOLERANCE", "SAME_POSITION_MM", "SPACING_TOLERANCE", "Stack", "stack_slices"]

EVEN_TOLERANCE = 0.1
"""How far a gap may be from the median, as a part of it, and count as even. Scanners write positions with one decimal
(a GE series with 7 mm between slices varies by 1.4%, a 1.25 mm one by 4%); a lost slice makes a gap of 100% more."""

UNEVEN_TOLERANCE = 0.5
"""Gaps further from the median than `EVEN_TOLERANCE` and at most this far are interpolated to even ones, and flagged.
Beyond it a slice is missing, or two stacks lie in one another."""

FILLED_GAP_MM = 3.0
"""A wider hole is never filled: anatomy between slices 3 mm apart still looks like its neighbours."""

FILLED_PART = 0.05
"""Missing slices that are filled, at most, as a part of all."""

DOUBLED_PART = 0.1
"""Images that repeat another one's position, at most, as a part of all; they are left out where their pixels are the
same."""

SAME_POSITION_MM = 1e-3
"""Slices closer than this are two images of one place; the finest scanners step by 0.01 mm."""

COSINE_TOLERANCE = 0.01
"""How far direction cosines may be from each other and from unit length: half a degree, over any rounding."""

SPACING_TOLERANCE = 0.01
"""How far pixel spacings may differ, as a part of them."""

MAX_TILT_DEG = 45.0
"""Gantries tilt by at most 30 degrees; a line of slices further from their normal is no tilt."""


@dataclass(frozen=True)
class Stack:
    """How slices lie on one grid.

    Attributes:
        order: for each place along the normal, which slice lies there.
        doubles: pairs of slices (one of `order`, one left out) at the same place, to be equal pixel by pixel.
        fractions: where the grid's slices lie among those of `order`, 0 to n - 1; None where they are the same.
        affine: (column, row, slice) index of the grid to RAS+ mm.
        geometry: what is kept of it.
    """

    order: NDArray[np.intp]
    doubles: tuple[tuple[int, int], ...]
    fractions: Float[np.ndarray, " m"] | None
    affine: Float[np.ndarray, "4 4"]
    geometry: Geometry


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
    normal = np.cross(row, column)
    normal /= np.linalg.norm(normal)
    along = positions @ normal
    order, doubles = _without_doubles(np.argsort(along, kind="stable"), along)
    along, line = along[order], positions[order]
    gaps = np.diff(along)
    missing = _missing(gaps)
    steps = len(gaps) + missing
    step = (line[-1] - line[0]) / steps
    _check_line(line, along, limit=max(float(np.linalg.norm(step)), float(spacings.max())))
    affine = np.eye(4)
    affine[:3, 0] = row * spacings[0, 1]
    affine[:3, 1] = column * spacings[0, 0]
    affine[:3, 2] = step
    affine[:3, 3] = line[0]
    even = not missing and bool((np.abs(gaps / np.median(gaps) - 1) <= EVEN_TOLERANCE).all())
    targets = np.linspace(along[0], along[-1], steps + 1)
    return Stack(
        order=order,
        doubles=doubles,
        fractions=None if even else np.interp(targets, along, np.arange(len(along), dtype=np.float64)),
        affine=LPS_TO_RAS @ affine,
        geometry=Geometry(
            plane=plane_of(normal),
            slices=len(positions),
            gap_mm=round(float(np.median(gaps)), 4),
            smallest_gap_mm=round(float(gaps.min()), 4),
            largest_gap_mm=round(float(gaps.max()), 4),
            missing_slices=missing,
            doubled_slices=len(doubles),
            tilt_deg=round(_tilt_deg(step, normal), 3),
            oblique_deg=round(oblique_deg(normal), 3),
            resampled=not even,
            sheared=False,
        ),
    )


def _directions(cosines: Float[np.ndarray, "n 6"]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors along a row and a column, shared by all slices, at right angles to the last digit."""
    lengths = np.linalg.norm(cosines.reshape(-1, 2, 3), axis=2)
    row, column = cosines[0, :3], cosines[0, 3:]
    if not np.isfinite(cosines).all() or (np.abs(lengths - 1) > COSINE_TOLERANCE).any():
        raise ReadError("bad-geometry", "direction cosines that are no unit vectors")
    if abs(row @ column) > COSINE_TOLERANCE:
        raise ReadError("bad-geometry", "rows and columns that are not at right angles")
    if (np.abs(cosines - cosines[0]) > COSINE_TOLERANCE).any():
        raise ReadError("mixed-geometry", "slices of different orientation, as in a localizer; expected parallel ones")
    return row / np.linalg.norm(row), column / np.linalg.norm(column)


def _without_doubles(
    order: NDArray[np.intp], along: Float[np.ndarray, " n"]
) -> tuple[NDArray[np.intp], tuple[tuple[int, int], ...]]:
    """The slices at distinct places, and which of them each further image repeats."""
    is_double = np.diff(along[order], prepend=-np.inf) < SAME_POSITION_MM
    if not is_double.any():
        return order, ()
    doubled, places = int(is_double.sum()), int((~is_double).sum())
    if doubled > DOUBLED_PART * len(order) or places < 2:
        raise ReadError("duplicate-slice", doubles_message(len(order), places, int(np.argmax(is_double))))
    kept = np.maximum.accumulate(np.where(is_double, 0, np.arange(len(order))))
    pairs = tuple((int(order[kept[n]]), int(order[n])) for n in np.flatnonzero(is_double))
    return order[~is_double], pairs


def doubles_message(images: int, places: int, first: int) -> str:
    """What to say of different images at one place; `first` is counted from 1."""
    return (
        f"{images} images at {places} positions, the first two at slice {first}, and nothing in the headers tells "
        "them apart; expected one image a position: export one volume a series"
    )


def _missing(gaps: Float[np.ndarray, " n"]) -> int:
    """How many slices are missing where that may be mended; gaps beyond it are refused with their place."""
    expected = float(np.median(gaps))
    # A gap of twice the median lacks one slice, as its neighbours have it.
    lacking = np.where(gaps > (1 + UNEVEN_TOLERANCE) * expected, np.rint(gaps / expected) - 1, 0)
    missing = int(lacking.sum())
    too_many = missing > FILLED_PART * (len(gaps) + 1)
    wide = np.flatnonzero((lacking > 0) & (too_many | (gaps > FILLED_GAP_MM)))
    if len(wide):
        raise ReadError("missing-slice", _gap_message(gaps, int(wide[0]), expected, len(wide)))
    narrow = np.flatnonzero(gaps < (1 - UNEVEN_TOLERANCE) * expected)
    if len(narrow):
        raise ReadError("mixed-geometry", _gap_message(gaps, int(narrow[0]), expected, len(narrow)) + ": uneven slices")
    return missing


def _gap_message(gaps: Float[np.ndarray, " n"], first: int, expected: float, count: int) -> str:
    others = f"; {count} gaps in all" if count > 1 else ""
    return f"gap {_mm(gaps[first])} mm after slice {first + 1}, expected {_mm(expected)} mm{others}"


def _mm(value: float) -> str:
    """Millimetres with at least one and at most four decimals."""
    return f"{value:.1f}" if abs(value - round(value, 1)) < 5e-5 else f"{value:.4g}"


def _check_line(positions: Float[np.ndarray, "n 3"], along: Float[np.ndarray, " n"], *, limit: float) -> None:
    """Refuse stacks that bend: a slice further than `limit` mm from the line between the first and the last."""
    parts = (along - along[0]) / (along[-1] - along[0])
    line = positions[0] + parts[:, None] * (positions[-1] - positions[0])
    if (np.linalg.norm(positions - line, axis=1) > limit).any():
        raise ReadError("mixed-geometry", "slices that do not follow one straight line")


def _tilt_deg(step: Float[np.ndarray, " 3"], normal: Float[np.ndarray, " 3"]) -> float:
    tilt = float(np.degrees(np.arccos(np.clip(step @ normal / np.linalg.norm(step), -1, 1))))
    if tilt > MAX_TILT_DEG:
        raise ReadError(
            "bad-geometry",
            f"slices stacked {tilt:.1f} degrees off their normal; expected a tilt of at most {MAX_TILT_DEG:g} degrees",
        )
    return tilt
