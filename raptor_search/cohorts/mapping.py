"""The cohort of an archive: its stored graph, the map drawn from it, what is found there, and where a new scan goes."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float, Float32, Int

from raptor_search.catalog import Catalog, Generation, Ids, IndexVersion, MapDetail, StoredMap, StoredSpec
from raptor_search.cohort import DEFAULT_MAP_NEIGHBOURS, MIN_SCANS, cohort_map
from raptor_search.cohorts.clusters import describe_clusters, find_clusters, find_outliers
from raptor_search.cohorts.graph import EXACT_UP_TO, GRAPH_NEIGHBOURS, KnnGraph, build_graph
from raptor_search.cohorts.landmarks import LANDMARKS_FROM, landmark_map
from raptor_search.cohorts.map_quality import map_quality
from raptor_search.cohorts.placing import PLACED_BY, Placement, place, reference
from raptor_search.errors import QueryError
from raptor_search.knn import neighbours
from raptor_search.searching.sketching import centred_sketches, sketch_all
from raptor_search.statistics.classes import subject_codes

__all__ = ["Cohort", "draw_map", "graph_of", "place_scan", "stored_cohort"]

TRAIT_COLUMNS = ("modality", "body_part", "sex", "manufacturer", "model", "laterality", "contrast_agent", "format")
"""Columns that clusters may be named by, beside every label."""

SHOWN_OUTLIERS = 100

MAX_SEED = 2**32 - 1
"""What NumPy's generator in umap-learn takes."""

ENOUGH = 25
"""Neighbours that every scan keeps where others are removed, or the graph is built again: maps and votes take fewer."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Cohort:
    """A drawn map with what was found on it; `detail` is None for a map of an earlier version of this program."""

    drawn: StoredMap
    detail: MapDetail | None


def graph_of(
    catalog: Catalog, stored: StoredSpec, *, progress: Progress | None = None
) -> tuple[IndexVersion, KnnGraph]:
    """The nearest-neighbour graph of the index version that serves, built and stored where it is not there yet.

    Scans that were removed since are not in it; where that takes too many neighbours of a scan it is built again.
    Up to 20,000 scans every pair is scored on full embeddings; above, the index proposes candidates that are.

    Raises:
        QueryError: no index is published.
    """
    version = catalog.current_index(stored.id)
    if version is None:
        raise QueryError(f"the archive {catalog.home} has no index yet: run `raptor index PATH --home {catalog.home}`")
    found = catalog.graph(version.id)
    if found is not None:
        graph = KnnGraph(found.volume_ids, found.indices, found.scores, found.is_exact)
        there = _restricted(graph, np.intersect1d(graph.ids, catalog.ids(stored.id)))
        if len(there) == len(graph) or _has_enough(there):
            return version, there
    ids = np.setdiff1d(catalog.ids(stored.id), catalog.newer_than(stored.id, version.last_embedding_id))
    mean = catalog.generation(version.generation_id).mean
    sketches = None
    if ids.size > EXACT_UP_TO:
        ids, raw, _ = sketch_all(catalog, stored, ids)
        sketches = centred_sketches(raw, mean)
    graph = build_graph(
        ids, lambda rows: catalog.vectors(ids[rows], stored.id), mean, sketches=sketches, progress=progress
    )
    catalog.save_graph(version.id, graph.ids, graph.indices, graph.scores, is_exact=graph.is_exact)
    return version, graph


def draw_map(
    catalog: Catalog,
    stored: StoredSpec,
    *,
    n_neighbours: int = DEFAULT_MAP_NEIGHBOURS,
    min_dist: float = 0.1,
    seed: int = 0,
    min_cluster: int | None = None,
    landmarks_from: int = LANDMARKS_FROM,
    progress: Progress | None = None,
) -> Cohort:
    """Lay the scans of the index out, find clusters and outliers, say how far to trust it, and store it all.

    Raises:
        QueryError: too few scans, no index, more neighbours than the graph has, or a seed out of range.
    """
    if not 2 <= n_neighbours <= GRAPH_NEIGHBOURS + 1:
        raise QueryError(
            f"a map of {n_neighbours} neighbours; expected 2 to {GRAPH_NEIGHBOURS + 1}, the scan itself included"
        )
    if not 0 <= seed <= MAX_SEED:
        raise QueryError(f"seed {seed}; expected 0 to {MAX_SEED}")
    if catalog.count(stored.id) < MIN_SCANS:
        raise QueryError(
            f"{catalog.count(stored.id)} scans; a map takes at least {MIN_SCANS}: index more with `raptor index PATH`"
        )
    version, graph = graph_of(catalog, stored, progress=progress)
    graph, unit = _present(catalog, stored, version, graph)
    if len(graph) > landmarks_from:
        drawn = landmark_map(
            unit, graph.ids, landmarks=landmarks_from, n_neighbours=n_neighbours, min_dist=min_dist, seed=seed
        )
    else:
        nothing = np.zeros(unit.shape[1], np.float32)
        drawn = cohort_map(
            unit, graph.ids, mean=nothing, graph=graph, n_neighbours=n_neighbours, min_dist=min_dist, seed=seed
        )
    parameters = {
        **asdict(drawn.parameters),
        "centring": catalog.generation(version.generation_id).centring,
        "landmarks": min(len(graph), landmarks_from),
        "graph": "exact" if graph.is_exact else "index",
        "index_version": version.id,
    }
    row = catalog.save_map(stored.id, drawn.ids, drawn.coordinates, parameters)
    labels = find_clusters(graph, min_size=min_cluster)
    document = _findings(catalog, graph, labels, unit, drawn.coordinates, n_neighbours)
    catalog.save_map_detail(row.id, version.id, labels, document)
    return Cohort(row, catalog.map_detail(row.id))


def stored_cohort(catalog: Catalog, stored: StoredSpec) -> Cohort | None:
    """The map that was drawn last with its findings, or None."""
    drawn = catalog.latest_map(stored.id)
    return None if drawn is None else Cohort(drawn, catalog.map_detail(drawn.id))


def place_scan(catalog: Catalog, stored: StoredSpec, vector: Float[np.ndarray, " length"]) -> Placement:
    """Where a scan goes on the map that is drawn, by its exact scores to the map's scans; nobody moves.

    Raises:
        QueryError: no map is drawn, or its scans are gone.
    """
    cohort = stored_cohort(catalog, stored)
    if cohort is None or cohort.detail is None:
        raise QueryError(f"no map is drawn for this archive: run `raptor map --home {catalog.home}`")
    found = catalog.graph(cohort.detail.version_id)
    version = next((v for v in catalog.index_versions(stored.id) if v.id == cohort.detail.version_id), None)
    if found is None or version is None:
        raise QueryError(f"the map is of an index that is gone: draw it again with `raptor map --home {catalog.home}`")
    mean = catalog.generation(version.generation_id).mean
    # Removed scans are still on the map; where the graph was built again since, they are not in it.
    in_graph = np.isin(cohort.drawn.volume_ids, found.volume_ids)
    ids, coordinates = cohort.drawn.volume_ids[in_graph], cohort.drawn.coordinates[in_graph]
    row_of = {int(id_): row for row, id_ in enumerate(ids)}
    near = _nearest_on_map(catalog, stored, vector, mean, ids)
    graph = _restricted(KnnGraph(found.volume_ids, found.indices, found.scores, found.is_exact), ids)
    rows = np.array([[row_of[int(id_)] for id_ in near[0]]], np.int64)
    return place(coordinates, rows, near[1][None], reference(coordinates, graph))[0]


def _nearest_on_map(
    catalog: Catalog,
    stored: StoredSpec,
    vector: Float[np.ndarray, " length"],
    mean: Float32[np.ndarray, " m"],
    ids: Ids,
) -> tuple[Ids, Float32[np.ndarray, " k"]]:
    """The map's scans nearest to a vector: every one is scored."""
    best_ids, best = np.empty(0, np.int64), np.empty(0, np.float32)
    shift = mean if mean.size else np.zeros(len(vector), np.float32)
    for start in range(0, len(ids), 1024):
        there, vectors = catalog.found_vectors(ids[start : start + 1024], stored.id)
        if not there.size:
            continue
        found = neighbours(vectors, vector[None], k=PLACED_BY, mean=shift)
        best_ids = np.append(best_ids, there[found.indices[0]])
        best = np.append(best, found.scores[0])
    order = np.argsort(-best, kind="stable")[:PLACED_BY]
    if not order.size:
        raise QueryError(f"the scans of the map are gone: draw it again with `raptor map --home {catalog.home}`")
    return best_ids[order], best[order]


def _present(
    catalog: Catalog, stored: StoredSpec, version: IndexVersion, graph: KnnGraph
) -> tuple[KnnGraph, Float32[np.ndarray, "n 1024"]]:
    """The graph of the scans that are still there, and their unit sketches."""
    generation: Generation = catalog.generation(version.generation_id)
    ids, sketches, _ = sketch_all(catalog, stored, graph.ids)
    return _restricted(graph, ids), centred_sketches(sketches, generation.mean)


def _has_enough(graph: KnnGraph) -> bool:
    """Whether no scan has lost so many neighbours that a map or a vote would be short of them."""
    wanted = min(ENOUGH, len(graph) - 1)
    return bool(((graph.indices >= 0).sum(axis=1) >= wanted).all())


def _restricted(graph: KnnGraph, ids: Ids) -> KnnGraph:
    """The graph of some of its scans, in their order; what pointed elsewhere points nowhere."""
    if np.array_equal(graph.ids, ids):
        return graph
    row_of = {int(id_): row for row, id_ in enumerate(graph.ids)}
    rows = np.array([row_of[int(id_)] for id_ in ids], np.int64)
    new = np.full(len(graph) + 1, -1, np.int64)
    new[rows] = np.arange(len(rows))
    indices = new[graph.indices[rows]]
    scores = np.where(indices >= 0, graph.scores[rows], -np.inf)
    order = np.argsort(-scores, axis=1, kind="stable")
    return KnnGraph(
        np.asarray(ids, np.int64),
        np.take_along_axis(indices, order, axis=1),
        np.take_along_axis(scores, order, axis=1).astype(np.float32),
        graph.is_exact,
    )


def _findings(
    catalog: Catalog,
    graph: KnnGraph,
    labels: Int[np.ndarray, " n"],
    unit: Float32[np.ndarray, "n 1024"],
    coordinates: Float32[np.ndarray, "n 2"],
    n_neighbours: int,
) -> dict[str, object]:
    """Clusters, outliers and quality as JSON takes them; scans by volume id."""
    known = catalog.columns()
    names = [*(name for name in TRAIT_COLUMNS if name in known), *catalog.label_names()]
    columns = {name: catalog.column_values(name, graph.ids) for name in dict.fromkeys(names)}
    subjects, _ = subject_codes(catalog.patient_keys(graph.ids), len(graph))
    clusters = describe_clusters(labels, unit, columns, subjects)
    quality = map_quality(coordinates, unit, graph, k=n_neighbours)
    return {
        "clusters": [
            {
                "number": one.number,
                "name": one.name,
                "scans": one.scans,
                "medoid": int(graph.ids[one.medoid]),
                "traits": [asdict(trait) for trait in one.traits],
            }
            for one in clusters
        ],
        "unclustered": int((labels < 0).sum()),
        "outliers": [int(graph.ids[row]) for row in find_outliers(graph)[:SHOWN_OUTLIERS]],
        "quality": asdict(quality),
    }
