"""The points of a map: which of them are drawn where there are too many, and which lie inside what is drawn around."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

__all__ = ["inside_box", "inside_lasso", "thinned"]

CELLS = 96
"""Cells along each side of the map within which points are thinned: about eight pixels each on a page."""


def thinned(
    coordinates: Float[np.ndarray, "n 2"],
    kinds: Int[np.ndarray, " n"] | None = None,
    *,
    limit: int,
    seed: int = 0,
) -> Int[np.ndarray, " m"]:
    """Rows to draw, ascending: all where there are no more than `limit`, else crowded places are thinned.

    The map is cut into cells; of each kind each cell keeps as many points as one number allows, the largest with which
    no more than `limit` are left. So lone points and rare kinds stay, and dense places lose most. Where even one point
    of each kind and cell is too many, cells of the fewest points go first.

    Args:
        coordinates: of all points.
        kinds: what colours each point, as a number; None where nothing does.
        limit: points to keep at most.
        seed: of which points of a cell are kept.
    """
    n = len(coordinates)
    if n <= limit:
        return np.arange(n)
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    scale = np.where(high > low, high - low, 1)
    cell = np.minimum((coordinates - low) / scale * CELLS, CELLS - 1).astype(np.int64)
    key = cell[:, 0] * CELLS + cell[:, 1]
    if kinds is not None:
        key = key + (kinds.astype(np.int64) - int(kinds.min())) * CELLS * CELLS
    shuffled = np.random.default_rng(seed).permutation(n)
    order = shuffled[np.argsort(key[shuffled], kind="stable")]
    _, starts, counts = np.unique(key[order], return_index=True, return_counts=True)
    # The place of each point among those of its cell and kind: 0 for the one that goes last.
    place = np.arange(n) - np.repeat(starts, counts)
    kept = np.cumsum(np.bincount(place))
    cap = int(np.searchsorted(kept, limit, side="right"))
    rows = order[place < max(cap, 1)]
    if len(rows) > limit:
        rows = rows[np.argsort(-counts, kind="stable")[:limit]]
    return np.sort(rows)


def inside_lasso(
    coordinates: Float[np.ndarray, "n 2"], x: Sequence[float], y: Sequence[float]
) -> Bool[np.ndarray, " n"]:
    """Whether each point lies inside a closed line, by the even-odd rule.

    Args:
        coordinates: of the points.
        x: of the line's corners, the last joined to the first.
        y: likewise.
    """
    within: NDArray[np.bool_] = np.zeros(len(coordinates), bool)
    if len(x) < 3:
        return within
    px, py = coordinates[:, 0].astype(np.float64), coordinates[:, 1].astype(np.float64)
    for x0, y0, x1, y1 in zip(x, y, [*x[1:], x[0]], [*y[1:], y[0]], strict=True):
        crossed = (y0 > py) != (y1 > py)
        if crossed.any():
            at = x0 + (py[crossed] - y0) * (x1 - x0) / (y1 - y0)
            within[crossed] ^= px[crossed] < at
    return within


def inside_box(coordinates: Float[np.ndarray, "n 2"], x: Sequence[float], y: Sequence[float]) -> Bool[np.ndarray, " n"]:
    """Whether each point lies in the rectangle of two corners, its edges included."""
    low, high = np.array([min(x), min(y)]), np.array([max(x), max(y)])
    return np.asarray(((coordinates >= low) & (coordinates <= high)).all(axis=1))
