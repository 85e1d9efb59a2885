"""What is measured on the archive itself, in passes over its vectors: settings, drift, background."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from raptor_search.catalog import PREFIX_COMPONENTS, Catalog, Ids, StoredSpec
from raptor_search.index import SketchIndex
from raptor_search.scoring import centred, scores, widened
from raptor_search.searching.background import background_quantiles
from raptor_search.searching.drift import mean_shift
from raptor_search.searching.narrowing import PAIRED, narrowing
from raptor_search.searching.sketching import Mean, prefixes_of, stored_blocks, unit_inputs
from raptor_search.searching.truth import HELD_OUT, draw_held_out, exact_neighbours
from raptor_search.searching.tuning import PrefixScores, Setting, Tuning, shares_for, tune
from raptor_search.specs import EmbeddingSpec

__all__ = [
    "NARROW_FROM",
    "measured_background",
    "measured_drift",
    "measured_narrowing",
    "measured_tuning",
    "prefix_of",
]

HALF = 2
"""Bytes of a stored number."""

NARROW_FROM = 2 * sum(PAIRED)
"""Volumes from which an index may hold fewer numbers than a sketch has: a map learned from half of an archive would fit
those scans better than the others."""


def measured_background(catalog: Catalog, stored: StoredSpec, ids: Ids, mean: Mean) -> Float32[np.ndarray, " q"]:
    """Quantiles of the scores between scans of different patients, of a sample of the archive."""
    found, vectors = catalog.found_vectors(ids[draw_held_out(ids.size)], stored.id)
    return background_quantiles(centred(vectors, mean), catalog.patient_keys(found), catalog.content_keys(found))


def measured_narrowing(
    catalog: Catalog,
    stored: StoredSpec,
    ids: Ids,
    mean: Mean,
    held_out: Sequence[int] | NDArray[np.intp],
) -> Float32[np.ndarray, "narrow prefix"]:
    """The map from first components to fewer numbers, from the scores among a sample of the scans.

    Args:
        catalog: of the archive.
        stored: the spec.
        ids: of the scans, sorted.
        mean: that scores are centred on.
        held_out: rows that have no part in it, for an honest measure of recall.
    """
    spared = np.delete(np.arange(ids.size), held_out)
    drawn = np.random.default_rng(1).choice(spared, sum(PAIRED), replace=False)
    first, second = (ids[np.sort(rows)] for rows in np.split(drawn, PAIRED[:1]))
    vectors, small = catalog.found_vectors(first, stored.id)[1], prefix_of(mean, stored.spec)
    asking, one = centred(vectors, mean), centred(prefixes_of(vectors, stored.spec), small)
    other, products = [], []
    for _, block in stored_blocks(catalog, stored, second):
        other.append(centred(prefixes_of(block, stored.spec), small))
        products.append(centred(block, mean) @ asking.T)
    return narrowing(one, np.concatenate(other), np.concatenate(products))


def measured_tuning(catalog: Catalog, stored: StoredSpec, index: SketchIndex, mean: Mean) -> Tuning:
    """The settings of an index, by a sweep on held-out scans."""
    ids = index.ids
    asking, vectors = catalog.found_vectors(ids[draw_held_out(ids.size)], stored.id)
    blocks = stored_blocks(catalog, stored, ids)
    truth = exact_neighbours(blocks, asking, centred(vectors, mean), mean, shares_for(ids.size))
    planes, components, tokens = stored.spec.shape
    prefix_bytes = HALF * planes * min(components, PREFIX_COMPONENTS) * tokens
    has_cascade = components > PREFIX_COMPONENTS
    return tune(
        index,
        asking,
        unit_inputs(vectors, mean, stored.spec, index.dim),
        truth,
        vector_bytes=HALF * stored.spec.length,
        prefix_bytes=prefix_bytes,
        prefix_scores=_prefix_scores(catalog, stored, asking, mean) if has_cascade else None,
    )


def measured_drift(
    catalog: Catalog,
    stored: StoredSpec,
    index: SketchIndex,
    mean: Mean,
    recent: Ids,
    setting: Setting | None,
) -> dict[str, float]:
    """How the archive has changed, by one pass over it: "mean_shift", and "recall" on the latest scans.

    Args:
        catalog: of the archive.
        stored: the spec.
        index: with the latest scans in it.
        mean: that scores are centred on.
        recent: the scans that came since drift was measured last.
        setting: of the index; None where it is not asked, and recall does not matter.
    """
    ids = index.ids
    recent = np.intersect1d(recent, ids)
    chosen = np.sort(np.random.default_rng(0).choice(recent, min(HELD_OUT, recent.size), replace=False))
    asking, vectors = catalog.found_vectors(chosen if setting else chosen[:0], stored.id)
    survey = _Survey(stored.spec.length, mean)
    truth = exact_neighbours(survey.through(stored_blocks(catalog, stored, ids)), asking, centred(vectors, mean), mean)
    drift = {"mean_shift": survey.shift()}
    if setting and asking.size:
        asked = unit_inputs(vectors, mean, stored.spec, index.dim)
        found = index.search(asked, setting.rerank + 1, nprobe=setting.nprobe)
        drift["recall"] = float(np.mean([np.isin(t, f).mean() for t, f in zip(truth[1.0], found, strict=True)]))
    return drift


def prefix_of(values: NDArray[np.floating], spec: EmbeddingSpec) -> NDArray[np.floating]:
    """The first components of an embedding or a mean, flat; what has no entries stays as it is."""
    return prefixes_of(values[np.newaxis], spec)[0] if values.size else values


def _prefix_scores(catalog: Catalog, stored: StoredSpec, asking: Ids, mean: Mean) -> PrefixScores:
    small = prefix_of(mean, stored.spec)
    queries = centred(catalog.found_prefixes(asking, stored.id)[1], small)

    def of(row: int, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        found, prefixes = catalog.found_prefixes(ids, stored.id)
        values = np.full(ids.size, -1, np.float32)
        values[np.isin(ids, found)] = scores(queries[row], prefixes, small)
        return values

    return of


class _Survey:
    """Sums over the blocks that pass by."""

    def __init__(self, length: int, mean: Mean) -> None:
        self._mean = mean if mean.size else np.zeros(length, np.float32)
        self._total = np.zeros(length)
        self._squares = 0.0
        self._volumes = 0

    def through(self, blocks: Iterator[tuple[Ids, NDArray[np.float16]]]) -> Iterator[tuple[Ids, NDArray[np.float16]]]:
        for ids, vectors in blocks:
            apart = widened(vectors) - self._mean
            self._total += apart.sum(axis=0, dtype=np.float64)
            self._squares += float(np.vecdot(apart, apart).sum())
            self._volumes += ids.size
            yield ids, vectors

    def shift(self) -> float:
        n = max(1, self._volumes)
        return mean_shift(self._total, n, np.zeros_like(self._total), (self._squares / n) ** 0.5)
