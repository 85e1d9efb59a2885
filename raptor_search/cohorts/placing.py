"""A new scan on a map that is drawn already: among its neighbours, without moving any of them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from raptor_search.cohorts.graph import KnnGraph

__all__ = ["PLACED_BY", "Placement", "Reference", "place", "reference"]

PLACED_BY = 10
"""Neighbours that place a scan."""

NEAREST_DISTANCE = 1e-6
"""A neighbour at no distance would have all the weight: it has nearly all."""


@dataclass(frozen=True)
class Placement:
    """Where a scan goes.

    Attributes:
        x: first coordinate.
        y: second coordinate.
        confidence: share of the map's own scans whose neighbours are at least as far from them, or on the map as far
            apart, as this one's, whichever share is smaller: near 0 it lies outside what the map shows.
    """

    x: float
    y: float
    confidence: float


@dataclass(frozen=True, eq=False)
class Reference:
    """How near the neighbours of the map's own scans are, sorted: what a new scan is compared with.

    Attributes:
        scores: mean score of the neighbours, ascending.
        spreads: mean distance on the map from the neighbours to where they place the scan, ascending.
    """

    scores: Float[np.ndarray, " n"]
    spreads: Float[np.ndarray, " n"]


def reference(coordinates: Float[np.ndarray, "n 2"], graph: KnnGraph) -> Reference:
    """Place every scan of the map that has neighbours by these."""
    placed = (graph.indices >= 0).any(axis=1)
    near, scores = graph.indices[placed, :PLACED_BY], graph.scores[placed, :PLACED_BY]
    _, spread, mean = _weigh(coordinates, near, scores)
    return Reference(np.sort(mean), np.sort(spread))


def place(
    coordinates: Float[np.ndarray, "n 2"],
    indices: Int[np.ndarray, "q k"],
    scores: Float[np.ndarray, "q k"],
    known: Reference,
) -> list[Placement]:
    """Place scans by their neighbours, weighted by inverse distance (1 - score).

    UMAP's own transform depends on what else is transformed with a scan; this does not.

    Args:
        coordinates: of the map.
        indices: rows of the nearest scans of the map, best first; -1 where there are fewer.
        scores: their centred cosines.
        known: from `reference`.
    """
    where, spread, mean = _weigh(coordinates, indices[:, :PLACED_BY], scores[:, :PLACED_BY])
    count = len(known.scores) + 1
    as_far = (np.searchsorted(known.scores, mean, side="right") + 1) / count
    as_wide = (count - np.searchsorted(known.spreads, spread, side="left")) / count
    return [
        Placement(float(x), float(y), float(min(far, wide, 1.0)))
        for (x, y), far, wide in zip(where, as_far, as_wide, strict=True)
    ]


def _weigh(
    coordinates: Float[np.ndarray, "n 2"], indices: Int[np.ndarray, "q k"], scores: Float[np.ndarray, "q k"]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Weighted place, weighted mean distance to it, and mean score."""
    there = indices >= 0
    weights = np.where(there, 1 / np.maximum(1 - scores.astype(np.float64), NEAREST_DISTANCE), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    points = coordinates.astype(np.float64)[np.where(there, indices, 0)]
    where = (weights[:, :, None] * points).sum(axis=1)
    spread = (weights * np.linalg.norm(points - where[:, None], axis=2)).sum(axis=1)
    mean = np.where(there, scores, 0.0).sum(axis=1) / there.sum(axis=1)
    return where, spread, mean
