"""The cohort as a map: UMAP of the exact nearest-neighbour graph, the same picture every time."""

import dataclasses
import json
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Real
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from raptor_search.cohorts.graph import KnnGraph
from raptor_search.errors import QueryError
from raptor_search.knn import neighbours

__all__ = ["DEFAULT_MAP_NEIGHBOURS", "CohortMap", "MapParameters", "cohort_map"]

DEFAULT_MAP_NEIGHBOURS = 15

MIN_SCANS = 5
"""Fewer scans make no map."""

AXES_FROM = 500
"""Scans, evenly spaced, whose principal axes lay out the start of the map."""

ONE_MAP_AT_A_TIME = threading.Lock()
"""Numba's default thread pool ends the process when two threads of it enter at once, as two users of the app would; nor
may two threads set how many BLAS has."""

SPREAD = 10.0
"""Half the width of the start, as in umap-learn's own starts."""

JITTER = 1e-4
"""Noise on the start, as in umap-learn's own: it parts scans that are identical."""


@dataclass(frozen=True, kw_only=True)
class MapParameters:
    """What a map was made with: the same scans and parameters give the same map on the same machine."""

    scans: int
    n_neighbours: int
    min_dist: float
    seed: int
    centring: str
    umap_version: str

    def to_json(self) -> str:
        """One line of JSON, sorted keys."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


@dataclass(frozen=True, eq=False)
class CohortMap:
    """Where each scan lies.

    Attributes:
        ids: of the scans, in the order given.
        coordinates: of each scan; only nearness means something, neither the axes nor large distances do.
        parameters: what made it.
    """

    ids: Int[np.ndarray, " n"]
    coordinates: Float[np.ndarray, "n 2"]
    parameters: MapParameters


def cohort_map(
    vectors: Real[np.ndarray, "n d"],
    ids: Sequence[int] | Int[np.ndarray, " n"],
    *,
    mean: Float[np.ndarray, " d"] | None = None,
    graph: KnnGraph | None = None,
    n_neighbours: int = DEFAULT_MAP_NEIGHBOURS,
    min_dist: float = 0.1,
    seed: int = 0,
) -> CohortMap:
    """Lay scans out in the plane by UMAP (McInnes et al. 2018, arXiv 1802.03426) of their exact neighbours.

    It starts from the first two principal axes, not from noise, so that the large scale is the data's too
    (Kobak and Linderman 2021, Nature Biotechnology 39).

    Args:
        vectors: embeddings or their sketches.
        ids: one a vector.
        mean: what centres the cosines; None for the mean of `vectors`.
        graph: the nearest of each scan where they are known; None to find them among `vectors`, every pair.
        n_neighbours: each scan itself included; lowered to n - 1 where there are no more.
        min_dist: how close points may lie.
        seed: of everything random.

    Raises:
        QueryError: fewer than five scans.
        ValueError: fewer than two neighbours, or not one id a vector.
    """
    if len(vectors) != len(ids):
        raise ValueError(f"{len(ids)} ids for {len(vectors)} vectors; expected one each")
    if n_neighbours < 2:
        raise ValueError(f"{n_neighbours} neighbours; expected at least 2, the scan itself included")
    if len(vectors) < MIN_SCANS:
        raise QueryError(f"{len(vectors)} scans; a map takes at least {MIN_SCANS}: index more with `raptor index PATH`")
    centre = np.asarray(vectors.mean(axis=0, dtype=np.float64)) if mean is None else mean
    count = min(n_neighbours, len(vectors) - 1)
    nearest = _graph(vectors, centre, count) if graph is None else _first_of(graph, count)
    coordinates, version = _umap(_principal_axes(vectors, centre, seed), *nearest, min_dist=min_dist, seed=seed)
    parameters = MapParameters(
        scans=len(vectors),
        n_neighbours=count,
        min_dist=min_dist,
        seed=seed,
        centring="mean of the mapped scans" if mean is None else "given",
        umap_version=version,
    )
    return CohortMap(np.asarray(ids, dtype=np.int64), coordinates, parameters)


def _graph(
    vectors: Real[np.ndarray, "n d"], mean: Float[np.ndarray, " d"], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Indices and cosine distances of the `count` nearest of each scan, itself first."""
    found = neighbours(vectors, k=count - 1, mean=mean)
    own = np.arange(len(vectors))[:, None]
    distances = np.maximum(1 - found.scores, 0)
    return np.hstack([own, found.indices]), np.hstack([np.zeros(own.shape, np.float32), distances])


def _first_of(graph: KnnGraph, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """As `_graph`, from a graph that is there.

    Raises:
        ValueError: it has fewer neighbours.
    """
    if graph.indices.shape[1] < count - 1:
        raise ValueError(f"a graph of {graph.indices.shape[1]} neighbours; expected {count - 1}")
    own = np.arange(len(graph))[:, None]
    there = graph.indices[:, : count - 1] >= 0
    # An index may have proposed too few: the scan itself stands in, farther than anything can be.
    indices = np.where(there, graph.indices[:, : count - 1], own)
    distances = np.where(there, np.maximum(1 - graph.scores[:, : count - 1], 0), 2).astype(np.float32)
    return np.hstack([own, indices]), np.hstack([np.zeros(own.shape, np.float32), distances])


def _principal_axes(vectors: Real[np.ndarray, "n d"], mean: Float[np.ndarray, " d"], seed: int) -> NDArray[np.float32]:
    """Directions of the scans from the mean, along the two main axes of at most `AXES_FROM` of them."""
    shift = np.asarray(mean, dtype=np.float32)
    chosen = np.linspace(0, len(vectors) - 1, min(len(vectors), AXES_FROM)).astype(np.int64)
    sample = _directions(vectors[chosen], shift)
    # With another number of threads BLAS sums in another order, and a start that differs in its last digit ends as
    # another map.
    with ONE_MAP_AT_A_TIME, threadpool_limits(1, user_api="blas"):
        _, mixing = np.linalg.eigh((sample @ sample.T).astype(np.float64))
        axes = sample.T @ mixing[:, :-3:-1].astype(np.float32)
        lengths = np.linalg.norm(axes, axis=0)
        axes /= np.where(lengths > 0, lengths, 1)
        axes *= np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1, 1)
        blocks = (vectors[begin : begin + AXES_FROM] for begin in range(0, len(vectors), AXES_FROM))
        start = np.concatenate([_directions(block, shift) @ axes for block in blocks])
    start *= SPREAD / max(float(np.abs(start).max()), 1e-6)
    return (start + np.random.default_rng(seed).normal(scale=JITTER, size=start.shape)).astype(np.float32)


def _directions(vectors: Real[np.ndarray, "n d"], shift: Float[np.ndarray, " d"]) -> NDArray[np.float32]:
    centred = vectors.astype(np.float32) - shift
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def _umap(
    start: Float[np.ndarray, "n 2"],
    indices: Int[np.ndarray, "n k"],
    distances: Float[np.ndarray, "n k"],
    *,
    min_dist: float,
    seed: int,
) -> tuple[NDArray[np.float32], str]:
    """Coordinates, and the version of umap-learn. The data themselves are not needed: the graph is given."""
    with ONE_MAP_AT_A_TIME, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Tensorflow not installed", category=ImportWarning)
        warnings.filterwarnings("ignore", message=r"precomputed_knn\[2\]", category=UserWarning)
        import umap  # which takes seconds

        model = umap.UMAP(
            n_neighbors=indices.shape[1],
            min_dist=min_dist,
            init=start,
            precomputed_knn=(indices, distances),
            random_state=seed,
            n_jobs=1,
        )
        return np.asarray(model.fit_transform(start), dtype=np.float32), str(umap.__version__)
