"""A scan as a viewer shows it: small enough for a browser, about its own middle, with the windows that suit it.

Positions are millimetres from the middle of the scan along R, A and S, so that two scans that share no coordinates can
be scrolled together; where both lie in one scanner's coordinates, `View.middle` tells how far apart they are.
"""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import NDArray

from raptor_search.intensity import IntensityRule, choose_rule
from raptor_search.volume import Volume

__all__ = ["MAX_SHOWN", "View", "Window", "view_of"]

MAX_SHOWN = 24_000_000
"""Voxels of a view at most: 48 MB of 16-bit numbers on their way to the browser."""

CT_WINDOWS = (("Soft tissue", 40, 400), ("Lung", -600, 1500), ("Brain", 40, 80), ("Bone", 400, 1800))
"""Level and width in HU, as reading rooms have them."""

NARROW_PERCENTILES = (2.0, 98.0)

SAMPLE = 2**21
"""Voxels that percentiles are taken from, at most."""


class Window(NamedTuple):
    """A named window; `low` is shown black, `high` white."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """One scan to look at.

    Attributes:
        voxels: in RAS+ order; a cell of several voxels shows their mean.
        spacing: of `voxels`, mm.
        shape: of the scan itself, in voxels.
        own_spacing: likewise, mm.
        middle: of the scan, in the file's RAS+ millimetres.
        windows: the first is the one to begin with.
    """

    voxels: Shaped[np.ndarray, "r a s"] = field(repr=False)
    spacing: tuple[float, float, float]
    shape: tuple[int, int, int]
    own_spacing: tuple[float, float, float]
    middle: tuple[float, float, float]
    windows: tuple[Window, ...]

    @property
    def extents(self) -> tuple[float, float, float]:
        """Sides of the scan, mm."""
        r, a, s = (n * mm for n, mm in zip(self.shape, self.own_spacing, strict=True))
        return r, a, s

    @property
    def span(self) -> float:
        """Side of the cube that the embedding lays around the scan, mm: its longest side."""
        return max(self.extents)

    @property
    def is_reduced(self) -> bool:
        """Whether it shows means of several voxels."""
        return self.voxels.shape != self.shape

    @cached_property
    def fingerprint(self) -> str:
        """What the same voxels on the same grid are known by, 64 hex digits."""
        grid = f"{self.spacing}{self.shape}{self.own_spacing}{self.voxels.dtype.str}"
        return hashlib.sha256(grid.encode() + self.voxels.tobytes()).hexdigest()

    @property
    def affine(self) -> Float[np.ndarray, "4 4"]:
        """From indices of `voxels` to mm from the scan's middle."""
        affine = np.diag([*self.spacing, 1.0])
        affine[:3, 3] = [(mm - extent) / 2 for mm, extent in zip(self.spacing, self.extents, strict=True)]
        return affine


def view_of(volume: Volume, *, modality: str | None = None, limit: int = MAX_SHOWN) -> View:
    """The view of a scan.

    Args:
        volume: the scan.
        modality: DICOM code where it is known: a CT gets the CT windows though no air is in it.
        limit: voxels at most; a larger scan is averaged along its finest axes.
    """
    factors = _factors(volume.shape, volume.spacing, limit)
    centre = volume.affine @ [*((n - 1) / 2 for n in volume.shape), 1.0]
    r, a, s = (mm * factor for mm, factor in zip(volume.spacing, factors, strict=True))
    return View(
        voxels=_averaged(volume.voxels, factors),
        spacing=(r, a, s),
        shape=volume.shape,
        own_spacing=volume.spacing,
        middle=(float(centre[0]), float(centre[1]), float(centre[2])),
        windows=_windows(volume, choose_rule(volume.voxels), modality),
    )


def _factors(shape: tuple[int, ...], spacing: tuple[float, ...], limit: int) -> list[int]:
    """Voxels to average along each axis, so that at most `limit` remain; the finest axis gives way first."""
    factors = [1] * len(shape)
    while np.prod([-(-n // factor) for n, factor in zip(shape, factors, strict=True)], dtype=float) > limit:
        axis = min(
            (axis for axis, n in enumerate(shape) if factors[axis] < n), key=lambda i: (spacing[i] * factors[i], i)
        )
        factors[axis] += 1
    return factors


def _averaged(voxels: NDArray[np.generic], factors: list[int]) -> NDArray[np.generic]:
    """Means of blocks, in the voxels' own kind; the last block of an axis may be smaller."""
    means = voxels
    for axis, factor in enumerate(factors):
        if factor > 1:
            starts = np.arange(0, means.shape[axis], factor)
            sizes = np.array([end - start for start, end in pairwise([*starts.tolist(), means.shape[axis]])])
            sums = np.add.reduceat(means, starts, axis=axis, dtype=np.float32)
            means = sums / np.moveaxis(sizes[:, None, None], 0, axis).astype(np.float32)
    if means is voxels or voxels.dtype.kind == "f":
        return means
    rounded: NDArray[np.generic] = np.rint(means).astype(voxels.dtype)
    return rounded


def _windows(volume: Volume, rule: IntensityRule, modality: str | None) -> tuple[Window, ...]:
    if rule.name == "hu" or modality == "CT":
        named = tuple(Window(name, level - width / 2, level + width / 2) for name, level, width in CT_WINDOWS)
        return (*named, Window("As embedded", rule.low, rule.high))
    step = -(-volume.voxels.size // SAMPLE)
    sample = volume.voxels.ravel(order="K")[::step].astype(np.float64)
    low, high = (float(value) for value in np.percentile(sample, NARROW_PERCENTILES))
    least, most = float(volume.voxels.min()), float(volume.voxels.max())
    whole = Window("Whole range", least, most)
    embedded = "0.5 to 99.5 percentile" if rule.name == "percentile" else "As embedded"
    narrow = (Window("2 to 98 percentile", low, high),) if low < high else ()
    return (Window(embedded, rule.low, rule.high), *narrow, whole)
