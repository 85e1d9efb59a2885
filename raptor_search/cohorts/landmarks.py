"""Maps of very many scans: some are laid out, the others are placed among them."""

import hashlib

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from raptor_search.cohort import CohortMap, cohort_map
from raptor_search.cohorts.graph import CANDIDATES, LISTS_VISITED, build_graph
from raptor_search.cohorts.placing import PLACED_BY, place, reference
from raptor_search.index import build, load

__all__ = ["LANDMARKS_FROM", "landmark_map"]

LANDMARKS_FROM = 200_000
"""Scans up to which all are laid out; above, so many are drawn as landmarks."""

BLOCK = 4096


def landmark_map(
    sketches: Float32[np.ndarray, "n s"],
    ids: NDArray[np.int64],
    *,
    landmarks: int = LANDMARKS_FROM,
    n_neighbours: int,
    min_dist: float,
    seed: int,
) -> CohortMap:
    """Lay a seeded sample of scans out, and place every other by its nearest landmarks.

    Args:
        sketches: centred, at unit length.
        ids: one a sketch.
        landmarks: how many are drawn.
        n_neighbours: as `cohort_map` takes it.
        min_dist: likewise.
        seed: of the draw and the map.
    """
    chosen = np.sort(np.random.default_rng(seed).choice(len(sketches), landmarks, replace=False))
    own = np.ascontiguousarray(sketches[chosen])
    nothing = np.zeros(sketches.shape[1], np.float32)
    graph = build_graph(ids[chosen], lambda rows: own[rows], nothing, sketches=own, k=max(n_neighbours, PLACED_BY))
    drawn = cohort_map(
        own, ids[chosen], mean=nothing, graph=graph, n_neighbours=n_neighbours, min_dist=min_dist, seed=seed
    )
    coordinates = np.empty((len(sketches), 2), np.float32)
    coordinates[chosen] = drawn.coordinates
    known = reference(drawn.coordinates, graph)
    data = build(own, np.arange(landmarks))
    index = load(data, sha256=hashlib.sha256(data).hexdigest())
    rest = np.setdiff1d(np.arange(len(sketches)), chosen)
    for start in range(0, len(rest), BLOCK):
        rows = rest[start : start + BLOCK]
        proposed = index.search(sketches[rows], CANDIDATES, nprobe=LISTS_VISITED)
        near, scores = _nearest(sketches[rows], own, proposed)
        coordinates[rows] = [(one.x, one.y) for one in place(drawn.coordinates, near, scores, known)]
    return CohortMap(ids, coordinates, drawn.parameters)


def _nearest(
    queries: Float32[np.ndarray, "q s"], own: Float32[np.ndarray, "m s"], proposed: list[NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    indices = np.full((len(queries), PLACED_BY), -1, np.int64)
    best = np.full((len(queries), PLACED_BY), -np.inf, np.float32)
    for line, near in enumerate(proposed):
        scores = own[near] @ queries[line]
        order = np.argsort(-scores, kind="stable")[:PLACED_BY]
        indices[line, : len(order)], best[line, : len(order)] = near[order], scores[order]
    return indices, best
