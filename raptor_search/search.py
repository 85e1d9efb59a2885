"""From a query vector to hits: filter in SQL, candidates from the index, exact scores on full embeddings.

The catalog is the truth: only volumes that pass its filter are ever scored, and those that the index does not
hold (yet) are scored all the same, so that a scan is findable the moment it is committed. The index merely
says which volumes need not be scored; where it is missing or damaged, every one is.
"""

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Float

from raptor_search.catalog import Catalog, Ids, StoredSpec
from raptor_search.errors import QueryError, UsageError
from raptor_search.filters import Filter
from raptor_search.scoring import best, centred
from raptor_search.searching.background import not_standing_out, percentiles
from raptor_search.searching.candidates import Asked
from raptor_search.searching.feedback import combined
from raptor_search.searching.hits import Hit, SearchResult
from raptor_search.searching.region import NOT_REGISTERED, Region, region_columns
from raptor_search.searching.rerank import Reranker, Scored
from raptor_search.searching.serving import IndexCache
from raptor_search.statistics.duplicates import collapsed

__all__ = ["Hit", "SearchResult", "check_examples", "check_k", "search"]

MAX_HITS = 1_000
"""A page of hits, not an export of the archive."""

Ranking = dict[int, list[int]]
"""The hits by id, best first, each with the copies that it stands for."""


def check_k(k: int) -> None:
    """Refuse a number of hits that cannot be.

    Raises:
        QueryError: k out of range.
    """
    if not 1 <= k <= MAX_HITS:
        raise QueryError(f"k = {k}; expected 1 to {MAX_HITS}")


def check_examples(like: Collection[int], unlike: Collection[int]) -> None:
    """Refuse an example that should pull and push at once.

    Raises:
        QueryError: a volume in both lists.
    """
    if both := sorted(set(like) & set(unlike)):
        raise QueryError(f"case {both[0]} is to be alike and unlike at once; expected one of them")


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
    like: Sequence[int] = (),
    unlike: Sequence[int] = (),
    region: Sequence[Region] = (),
    collapse: bool = False,
    content_key: str | None = None,
    exact_limit: int | None = None,
) -> SearchResult:
    """The k scans most similar to a query; never fewer while k pass the filters.

    Args:
        catalog: of the archive.
        indexes: what is loaded of its indexes.
        stored: the spec of the query and of what is searched.
        query: raw embedding, flat.
        k: hits, at most `MAX_HITS`.
        where: the filter; None passes all.
        exclude_patients: keyed hashes of the patients whose scans are left out.
        exclude_ids: volumes that are left out, such as the query itself.
        like: volumes that pull the query towards them (`raptor_search.searching.feedback`); left out of the hits.
        unlike: volumes that push it away; likewise.
        region: the cells that the score is confined to; none means all.
        collapse: let the best of equal scans stand for the others; hits are then k different ones.
        content_key: keyed hash of the query's bytes, by which duplicates are known.
        exact_limit: up to this many scans are all scored; None leaves it to what was measured on the index.

    Raises:
        QueryError: k out of range, an example on both sides, a query that is no embedding of the spec, a region beyond
            the grid, or a filter on no such column.
        UsageError: an example that is not in the archive.
    """
    check_k(k)
    check_examples(like, unlike)
    if query.shape != (stored.spec.length,) or not np.isfinite(query).all():
        raise QueryError(f"a query of shape {query.shape}; expected {stored.spec.length} finite numbers")
    if region:
        region_columns(region, stored.spec, 1)
    serving = indexes.serving(catalog, stored)
    passing = indexes.passing(catalog, stored, where, serving.moment)
    left_out = {*exclude_ids, *like, *unlike}
    for key in exclude_patients:
        left_out.update(catalog.patient_volumes(stored.id, key).tolist())
    excluded = np.array(sorted(left_out), np.int64)
    excluded = passing.holds(catalog.embedded(excluded, stored.id) if passing.ids is None else excluded)
    if like or unlike:
        liked, unliked = (_examples(catalog, stored, ids) for ids in (like, unlike))
        query = combined(query, liked, unliked, serving.mean)
    reranker = Reranker(catalog, stored, query, serving.mean, tuple(region))
    asked = Asked(catalog, indexes, stored, serving, passing, excluded, reranker, tuple(region), k, exact_limit)
    scored, ranking, exact = _ranked(asked, collapse=collapse)
    is_one_scan = not (region or like or unlike)
    values = dict(zip(scored[0].tolist(), scored[1].tolist(), strict=True))
    background = serving.background if is_one_scan else np.empty(0, np.float32)
    hits = _hits(catalog, ranking, values, content_key, background, exact=exact)
    remark = not_standing_out(hits[0].score, hits[0].percentile, asked.passed) if hits else None
    return SearchResult(
        hits=hits,
        exact=exact,
        nothing_similar=remark is not None,
        centring=serving.centring,
        spec=stored.spec,
        index_version=serving.version.id if serving.version else None,
        passed=asked.passed,
        candidates=scored[0].size,
        region=tuple(region),
        notes=(*serving.notes, *_notes(asked, exact=exact, remark=remark)),
        query=query,
        mean=serving.mean,
    )


def _examples(catalog: Catalog, stored: StoredSpec, ids: Sequence[int]) -> Float[np.ndarray, "n length"]:
    found, vectors = catalog.found_vectors(np.array(ids, np.int64), stored.id)
    if found.size < len(ids):
        gone = sorted(set(ids) - set(found.tolist()))
        raise UsageError(f"no volume {gone[0]} in the archive under this spec: examples are ids of its volumes")
    return vectors


def _ranked(asked: Asked, *, collapse: bool) -> tuple[Scored, Ranking, bool]:
    """Round after round, until there are hits enough: all scores, the hits, and whether everyone was scored."""
    for candidates in asked.rounds():
        ids, values = asked.reranker.full(candidates.ids)
        order = best(ids, values, ids.size if collapse else asked.k)
        ranking = _collapsed(asked, ids[order]) if collapse else {i: [] for i in ids[order].tolist()}
        if candidates.is_all or len(ranking) >= min(asked.k, asked.passed):
            return (ids, values), ranking, candidates.is_all
    raise AssertionError("the last round is everyone")


def _collapsed(asked: Asked, ranking: Ids) -> Ranking:
    def units_of(ids: Ids) -> tuple[Ids, Float[np.ndarray, "n length"]]:
        found, vectors = asked.catalog.found_vectors(ids, asked.stored.id)
        return found, centred(vectors, asked.serving.mean)

    return collapsed(ranking, asked.k, asked.catalog.content_keys, units_of)


def _hits(
    catalog: Catalog,
    ranking: Ranking,
    values: dict[int, float],
    content_key: str | None,
    background: Float[np.ndarray, " q"],
    *,
    exact: bool,
) -> tuple[Hit, ...]:
    """The hits that are still there: a volume may be replaced while others are scored."""
    there = catalog.located_volumes(list(ranking))
    alike = percentiles([values[record.id] for record, _ in there], background)
    return tuple(
        Hit(
            rank=rank,
            score=values[record.id],
            percentile=alike[rank - 1],
            volume_id=record.id,
            source=source,
            exact=exact,
            duplicate=record.content_key == content_key,
            copies=tuple(ranking[record.id]),
            record=record,
        )
        for rank, (record, source) in enumerate(there, start=1)
    )


def _notes(asked: Asked, *, exact: bool, remark: str | None) -> list[str]:
    serving, notes = asked.serving, []
    if asked.passed < asked.k:
        notes.append(f"{asked.passed} scans can be hits, {asked.k} were asked for")
    if serving.centring == "none":
        notes.append("the scores are not centred, so that all lie close together: the archive is too small for a mean")
    if serving.centring == "reference":
        notes.append("the scores are centred on a shipped reference mean: they will move once the archive has its own")
    if remark:
        notes.append(remark)
    if asked.regions:
        notes.append(NOT_REGISTERED)
    if not exact:
        notes.append(_approximate(asked))
    return notes


def _approximate(asked: Asked) -> str:
    if asked.regions:
        return (
            "an approximate answer: candidates for the region come from the first components alone, or sketches of them"
        )
    setting = asked.setting
    recall = f"{setting.recall:.1%}" if setting else "an unknown part"
    return f"an approximate answer: it finds {recall} of the 10 nearest, measured on held-out scans"
