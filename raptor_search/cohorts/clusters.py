"""Clusters of the cohort, what their scans have in common, their exemplars, and the scans that lie outside.

Density-based: a cluster is where neighbours are closer than around it, and scans between belong to none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import hypergeom
from sklearn.cluster import HDBSCAN

from raptor_search.cohorts.graph import KnnGraph
from raptor_search.statistics.classes import LabelValue
from raptor_search.statistics.confounds import holm

__all__ = ["Cluster", "Trait", "describe_clusters", "find_clusters", "find_outliers"]

MIN_SHARE = 0.005
MIN_SIZE = 5
"""A cluster has at least five scans, and at least half a percent of all."""

MIN_SAMPLES = 5
"""Neighbours that make a scan dense; HDBSCAN's `min_samples`."""

FARTHEST = 2.0
"""Distance (1 - cosine) between parts of the graph that no edge joins."""

ALPHA = 0.05

MIN_INSIDE = 3
"""Subjects of a cluster that make a value its trait."""

TRAITS = 3
"""Over-represented values that a cluster is named by."""

OUTLIER_SPREAD = 3.5
"""Robust deviations above the median distance to the neighbours (Iglewicz and Hoaglin 1993)."""

MAX_VALUES = 50
"""Columns of more different values name no clusters."""


@dataclass(frozen=True)
class Trait:
    """A value that a cluster has more often than the rest.

    Attributes:
        column: its name.
        value: the value.
        inside: subjects of the cluster with the value.
        cluster: subjects of the cluster for whom the column is known.
        overall: subjects with the value.
        known: subjects for whom the column is known.
        p: one-sided hypergeometric, corrected over all clusters and values (Holm).
    """

    column: str
    value: str
    inside: int
    cluster: int
    overall: int
    known: int
    p: float


@dataclass(frozen=True)
class Cluster:
    """One cluster: its number, its scans, the row of its exemplar, and what is over-represented, the surest first."""

    number: int
    scans: int
    medoid: int
    traits: tuple[Trait, ...]

    @property
    def name(self) -> str:
        """Its over-represented values, or "cluster N"."""
        return ", ".join(trait.value for trait in self.traits) or f"cluster {self.number + 1}"


def find_clusters(graph: KnnGraph, *, min_size: int | None = None) -> Int[np.ndarray, " n"]:
    """The cluster of each scan, -1 where it has none, by HDBSCAN on the graph; the largest cluster is 0.

    Source: Campello, Moulavi and Sander 2013, PAKDD.

    Args:
        graph: of the scans.
        min_size: scans of the smallest cluster; None for five, or half a percent of all.
    """
    n = len(graph)
    size = max(MIN_SIZE, round(MIN_SHARE * n)) if min_size is None else min_size
    if n < 2 * size or min(n - 1, graph.indices.shape[1]) < MIN_SAMPLES:
        return np.full(n, -1, np.int64)
    model = HDBSCAN(min_cluster_size=size, min_samples=MIN_SAMPLES, metric="precomputed", copy=True)
    found = np.asarray(model.fit(_distances(graph)).labels_, dtype=np.int64)
    order = np.argsort(-np.bincount(found[found >= 0], minlength=found.max() + 1), kind="stable")
    place = np.empty(len(order) + 1, np.int64)
    place[order], place[-1] = np.arange(len(order)), -1
    return place[found]


def describe_clusters(
    labels: Int[np.ndarray, " n"],
    vectors: Float32[np.ndarray, "n d"],
    columns: Mapping[str, Sequence[LabelValue]],
    subjects: Int[np.ndarray, " n"],
) -> tuple[Cluster, ...]:
    """Each cluster's exemplar and traits.

    The exemplar is the medoid under cosine distance: the member with the least summed distance to all others, which
    among vectors of unit length is the one most along their sum.

    Args:
        labels: of `find_clusters`.
        vectors: centred, at unit length.
        columns: values of each scan, by name.
        subjects: of each scan: traits count subjects, so that one scanned often makes no trait.
    """
    numbers = np.unique(labels[labels >= 0]).tolist()
    tests = [
        (number, *test)
        for number in numbers
        for name, values in columns.items()
        for test in _tests(name, values, labels == number, subjects)
    ]
    corrected = holm([trait.p for _, trait in tests])
    found = []
    for number in numbers:
        members = np.flatnonzero(labels == number)
        medoid = members[int((vectors[members] @ vectors[members].sum(axis=0)).argmax())]
        traits = [
            Trait(**(trait.__dict__ | {"p": p}))
            for (of, trait), p in zip(tests, corrected, strict=True)
            if of == number and p < ALPHA and trait.inside >= MIN_INSIDE
        ]
        traits.sort(key=lambda trait: (trait.p, -trait.inside / trait.cluster))
        found.append(Cluster(number, len(members), int(medoid), tuple(traits[:TRAITS])))
    return tuple(found)


def find_outliers(graph: KnnGraph, *, k: int = 10) -> Int[np.ndarray, " m"]:
    """Rows whose k nearest are unusually far, the farthest first."""
    if len(graph) < 3:
        return np.empty(0, np.int64)
    near = graph.scores[:, :k].astype(np.float64)
    there = np.isfinite(near)
    distance = 1 - np.where(there, near, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    middle = float(np.median(distance))
    spread = 1.4826 * float(np.median(np.abs(distance - middle)))
    far = np.flatnonzero(distance > middle + OUTLIER_SPREAD * max(spread, 1e-9))
    return far[np.argsort(-distance[far], kind="stable")]


def _distances(graph: KnnGraph) -> csr_array:
    """Symmetric sparse distances; parts that no edge joins are bridged, or HDBSCAN would refuse them."""
    n, k = graph.indices.shape
    there = graph.indices >= 0
    # Explicit zeros would be no edges at all: identical scans lie at the smallest distance there is.
    apart = np.maximum(1 - graph.scores[there].astype(np.float64), 1e-9)
    edges = csr_array((apart, (np.repeat(np.arange(n), k)[there.ravel()], graph.indices[there])), shape=(n, n))
    both = edges.maximum(edges.T)
    parts, part = connected_components(both, directed=False)
    if parts > 1:
        first = np.unique(part, return_index=True)[1]
        bridge = csr_array((np.full(parts - 1, FARTHEST), (first[:-1], first[1:])), shape=(n, n))
        both = both + bridge + bridge.T
    return csr_array(both)


def _tests(
    name: str, values: Sequence[LabelValue], inside: NDArray[np.bool_], subjects: Int[np.ndarray, " n"]
) -> list[tuple[Trait]]:
    """One test for each value of a column that some subject of the cluster has."""
    known = [row for row, value in enumerate(values) if value is not None and value != ""]
    people = {int(subjects[row]) for row in known}
    within = {int(subjects[row]) for row in known if inside[row]}
    texts: dict[str, set[int]] = {}
    own: dict[str, set[int]] = {}
    for row in known:
        text = str(values[row])
        texts.setdefault(text, set()).add(int(subjects[row]))
        if inside[row]:
            own.setdefault(text, set()).add(int(subjects[row]))
    if not 1 < len(texts) <= MAX_VALUES:
        return []
    return [
        (
            Trait(
                name,
                text,
                len(some),
                len(within),
                len(texts[text]),
                len(people),
                float(hypergeom.sf(len(some) - 1, len(people), len(texts[text]), len(within))),
            ),
        )
        for text, some in sorted(own.items())
    ]
