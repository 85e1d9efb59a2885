"""How much of a map may be believed: what a flat picture keeps of the neighbourhoods it was made from."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from raptor_search.cohorts.graph import KnnGraph

__all__ = ["MapQuality", "map_quality"]

SAMPLE = 2000
"""Scans whose every rank is looked up; the figures are means over them."""


@dataclass(frozen=True)
class MapQuality:
    """Means over scans, each 0 to 1.

    Attributes:
        trustworthiness: 1 where no neighbour on the map is a stranger (Venna and Kaski 2001, ICANN).
        preservation: share of the nearest scans that are among the nearest on the map.
        k: neighbours that were looked at.
        scans: that were looked at.
    """

    trustworthiness: float
    preservation: float
    k: int
    scans: int


def map_quality(
    coordinates: Float[np.ndarray, "n 2"],
    vectors: Float32[np.ndarray, "n d"],
    graph: KnnGraph,
    *,
    k: int = 15,
    seed: int = 0,
) -> MapQuality:
    """Compare the map with the scores.

    Args:
        coordinates: of the map.
        vectors: centred, at unit length; their cosines rank all scans.
        graph: the nearest of each scan.
        k: neighbours to look at; lowered where there are fewer than three times as many scans.
        seed: of the sample.
    """
    n = len(coordinates)
    k = max(1, min(k, graph.indices.shape[1], (n - 1) // 3))
    rows = np.arange(n) if n <= SAMPLE else np.sort(np.random.default_rng(seed).choice(n, SAMPLE, replace=False))
    on_map = _nearest_on_map(coordinates, rows, k)
    kept = [len(np.intersect1d(a, b)) / k for a, b in zip(on_map, graph.indices[rows, :k], strict=True)]
    return MapQuality(_trustworthiness(on_map, vectors, rows, k), float(np.mean(kept)), k, len(rows))


def _nearest_on_map(coordinates: Float[np.ndarray, "n 2"], rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    found = NearestNeighbors(n_neighbors=k + 1).fit(coordinates).kneighbors(coordinates[rows], return_distance=False)
    # A scan is its own nearest, save where another lies on the same spot.
    others = [line[line != row][:k] for line, row in zip(found, rows.tolist(), strict=True)]
    return np.stack(others)


def _trustworthiness(
    on_map: NDArray[np.int64], vectors: Float32[np.ndarray, "n d"], rows: NDArray[np.int64], k: int
) -> float:
    n = len(vectors)
    total = 0.0
    for start in range(0, len(rows), 256):
        part = rows[start : start + 256]
        scores = vectors[part] @ vectors.T
        scores[np.arange(len(part)), part] = np.inf
        near = on_map[start : start + len(part)]
        # The rank of a neighbour on the map is the number of scans that score higher, the scan itself included.
        for line, chosen in enumerate(near):
            ranks = np.searchsorted(np.sort(-scores[line]), -scores[line, chosen])
            total += float(np.maximum(ranks - k, 0).sum())
    return 1 - 2 * total / (len(rows) * k * (2 * n - 3 * k - 1))
