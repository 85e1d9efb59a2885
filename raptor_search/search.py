"""From a query vector to hits: filter in SQL, candidates from the index, exact scores on full embeddings.

The catalog is the truth: only volumes that pass its filter are ever scored, and those that the index does not
hold (yet) are scored all the same, so that a scan is findable the moment it is committed. The index merely
says which volumes need not be scored; where it is missing or damaged, every one is.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from raptor_search.catalog import Catalog, Centring, Ids, IndexVersion, StoredSpec, VolumeRecord
from raptor_search.errors import IndexFileError, QueryError
from raptor_search.filters import Filter
from raptor_search.index import SketchIndex
from raptor_search.index_files import IndexCache
from raptor_search.publishing import BLOCK, EXACT_LIMIT, initial_mean, unit_sketches
from raptor_search.scoring import best, centred, scores
from raptor_search.specs import EmbeddingSpec

__all__ = ["Hit", "SearchResult", "check_k", "search"]

MAX_HITS = 1_000
"""A page of hits, not an export of the archive."""

RERANK_PER_HIT = 10
"""Candidates for each hit that is asked for, where that is more than the measured number."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A scan of the archive that is similar to the query.

    Attributes:
        rank: from 1.
        score: cosine after centring, in [-1, 1].
        volume_id: its id in the catalog.
        source: the path or URI it came from, decrypted: for whoever holds the key.
        exact: whether no scan that passes the filters can be missing above it.
        duplicate: whether its bytes are the query's.
        record: all that the archive knows of it.
    """

    rank: int
    score: float
    volume_id: int
    source: str
    exact: bool
    duplicate: bool
    record: VolumeRecord

    @property
    def metadata(self) -> dict[str, Any]:
        """The typed columns, "patient" (a pseudonym such as "P-3f9a2c41", or None) and "labels" by name."""
        subject = self.record.subject
        patient = f"P-{subject}" if subject else None
        return {**self.record.metadata, "patient": patient, "labels": dict(self.record.labels)}

    def to_dict(self) -> dict[str, Any]:
        """The hit for JSON."""
        return {
            "rank": self.rank,
            "score": self.score,
            "volume_id": self.volume_id,
            "source": self.source,
            "exact": self.exact,
            "duplicate": self.duplicate,
            "metadata": self.metadata,
        }


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """An answer, and how it was come by.

    Attributes:
        hits: best first.
        exact: whether every scan that passes the filters was scored.
        centring: what was subtracted before the cosine: the archive's mean, the shipped reference mean, nothing.
        spec: what the vectors were made with.
        index_version: that served; None where none is published.
        passed: scans that pass the filters.
        candidates: scans that were scored.
        notes: what a reader of the hits ought to know, one sentence each.
        query: raw embedding of the query.
        mean: what was subtracted; without entries nothing was.
    """

    hits: tuple[Hit, ...]
    exact: bool
    centring: Centring
    spec: EmbeddingSpec
    index_version: int | None
    passed: int
    candidates: int
    notes: tuple[str, ...]
    query: Float[np.ndarray, " length"] = field(repr=False, compare=False)
    mean: Float32[np.ndarray, " m"] = field(repr=False, compare=False)

    @property
    def spec_fingerprint(self) -> str:
        """Fingerprint of the spec."""
        return self.spec.fingerprint

    def to_dict(self) -> dict[str, Any]:
        """The answer for JSON."""
        return {
            "hits": [hit.to_dict() for hit in self.hits],
            "exact": self.exact,
            "centring": self.centring,
            "spec": {"fingerprint": self.spec.fingerprint, "preset": self.spec.recipe.preset, **self.spec.fields()},
            "index_version": self.index_version,
            "passed": self.passed,
            "candidates": self.candidates,
            "notes": list(self.notes),
        }


def check_k(k: int) -> None:
    """Refuse a number of hits that cannot be.

    Raises:
        QueryError: k out of range.
    """
    if not 1 <= k <= MAX_HITS:
        raise QueryError(f"k = {k}; expected 1 to {MAX_HITS}")


def search(
    catalog: Catalog,
    indexes: IndexCache,
    stored: StoredSpec,
    query: Float[np.ndarray, " length"],
    *,
    k: int = 10,
    where: Filter | None = None,
    exclude_patients: Collection[str] = (),
    exclude_ids: Collection[int] = (),
    content_key: str | None = None,
    exact_limit: int = EXACT_LIMIT,
) -> SearchResult:
    """The k scans most similar to a query; never fewer while k pass the filters.

    Args:
        catalog: of the archive.
        indexes: the archive's index files.
        stored: the spec of the query and of what is searched.
        query: raw embedding, flat.
        k: hits, at most `MAX_HITS`.
        where: the filter; None passes all.
        exclude_patients: keyed hashes of the patients whose scans are left out.
        exclude_ids: volumes that are left out, such as the query itself.
        content_key: keyed hash of the query's bytes, by which duplicates are known.
        exact_limit: up to this many scans are all scored.

    Raises:
        QueryError: k out of range, a query that is no embedding of the spec, or a filter on no such column.
    """
    check_k(k)
    if query.shape != (stored.spec.length,) or not np.isfinite(query).all():
        raise QueryError(f"a query of shape {query.shape}; expected {stored.spec.length} finite numbers")
    passed = np.setdiff1d(catalog.ids(stored.id, where), np.fromiter(exclude_ids, np.int64))
    for patient in exclude_patients:
        passed = np.intersect1d(passed, catalog.ids(stored.id, None, patient), assume_unique=True)
    serving = _serving(catalog, indexes, stored)
    candidates = passed
    if passed.size > exact_limit:
        candidates = _candidates(serving, query, passed, k)
    ids, values = _score(catalog, stored, query, candidates, serving.mean)
    if ids.size < k and candidates.size < passed.size:
        candidates = passed  # rows that vanished meanwhile, or lists that held too little
        ids, values = _score(catalog, stored, query, candidates, serving.mean)
    exact = candidates.size == passed.size
    order = best(ids, values, k)
    scored = dict(zip(ids[order].tolist(), values[order].tolist(), strict=True))
    return SearchResult(
        hits=_hits(catalog, scored, content_key, exact=exact),
        exact=exact,
        centring=serving.centring,
        spec=stored.spec,
        index_version=serving.version.id if serving.version else None,
        passed=passed.size,
        candidates=candidates.size,
        notes=(*serving.notes, *_notes(serving, k=k, passed=passed.size, exact=exact)),
        query=query,
        mean=serving.mean,
    )


@dataclass(frozen=True)
class _Serving:
    """What answers a query: the current version, its mean, and its index where the file is sound."""

    version: IndexVersion | None
    index: SketchIndex | None
    centring: Centring
    mean: Float32[np.ndarray, " m"]
    notes: tuple[str, ...] = ()


def _serving(catalog: Catalog, indexes: IndexCache, stored: StoredSpec) -> _Serving:
    serving_now = catalog.serving(stored.id)
    if serving_now is None:
        note = "no index is published yet, every scan was scored: run `raptor index` again"
        return _Serving(None, None, *initial_mean(stored.spec), (note,))
    version, generation = serving_now
    serving = _Serving(version, None, generation.centring, generation.mean)
    try:
        return replace(serving, index=indexes.get(version))
    except IndexFileError as error:
        later = catalog.current_index(stored.id)
        if later is None or later.id != version.id:  # published, and the older file removed, since the row was read
            return _serving(catalog, indexes, stored)
        return replace(serving, notes=(f"{error.message}: every scan was scored; run `raptor index` to mend it",))


def _candidates(serving: _Serving, query: Float[np.ndarray, " length"], passed: Ids, k: int) -> Ids:
    """The scans to be scored, sorted: the nearest that the index knows, and all that it does not hold."""
    version, index = serving.version, serving.index
    if version is None or index is None or not version.rerank:
        return passed
    indexed = np.intersect1d(passed, index.ids, assume_unique=True)
    wanted = max(version.rerank, RERANK_PER_HIT * k)
    if indexed.size <= wanted:
        return passed
    allowed = None if indexed.size == index.ids.size else indexed
    sketches = unit_sketches(query[np.newaxis], serving.mean)
    # A filter thins every list out: as many more are visited, so that as many scans are seen.
    nprobe = -(-version.nprobe * index.ids.size // indexed.size)
    (found,) = index.search(sketches, wanted, nprobe=nprobe, allowed=allowed)
    if found.size < wanted:
        (found,) = index.search(sketches, wanted, nprobe=index.lists, allowed=allowed)
    return np.union1d(found, np.setdiff1d(passed, index.ids, assume_unique=True))


def _score(
    catalog: Catalog,
    stored: StoredSpec,
    query: Float[np.ndarray, " length"],
    candidates: Ids,
    mean: Float32[np.ndarray, " m"],
) -> tuple[Ids, Float32[np.ndarray, " n"]]:
    """Exact scores of the candidates that are still there, block by block."""
    unit = centred(query[np.newaxis], mean)[0]
    ids, values = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for start in range(0, candidates.size, BLOCK):
        found, vectors = catalog.found_vectors(candidates[start : start + BLOCK], stored.id)
        ids.append(found)
        values.append(scores(unit, vectors, mean))
    return np.concatenate(ids), np.concatenate(values)


def _hits(catalog: Catalog, scored: dict[int, float], content_key: str | None, *, exact: bool) -> tuple[Hit, ...]:
    """The hits that are still there: a volume may be replaced while others are scored."""
    records = catalog.volumes(list(scored))
    sources = catalog.locators([record.id for record in records])
    there = [(record, source) for record, source in zip(records, sources, strict=True) if source is not None]
    return tuple(
        Hit(
            rank=rank,
            score=scored[record.id],
            volume_id=record.id,
            source=source,
            exact=exact,
            duplicate=record.content_key == content_key,
            record=record,
        )
        for rank, (record, source) in enumerate(there, start=1)
    )


def _notes(serving: _Serving, *, k: int, passed: int, exact: bool) -> list[str]:
    notes = []
    if passed < k:
        notes.append(f"{passed} scans can be hits, {k} were asked for")
    if serving.centring == "none":
        notes.append("the scores are not centred, so that all lie close together: the archive is too small for a mean")
    if serving.centring == "reference":
        notes.append("the scores are centred on a shipped reference mean: they will move once the archive has its own")
    if not exact and serving.version and serving.version.measured_recall is not None:
        share = f"{serving.version.measured_recall:.1%}"
        notes.append(f"an approximate answer: it finds {share} of the 10 nearest, measured on held-out scans")
    return notes
