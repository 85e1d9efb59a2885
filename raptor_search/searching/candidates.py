"""Which scans are worth an exact score: ever wider rounds, the last of which is all of them.

Rows that the index does not hold yet are in every round, so that a scan is findable the moment it is committed. A
search takes the next round where the one before gave too few hits, so that none is ever short of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32

from raptor_search.catalog import PREFIX_COMPONENTS, Catalog, Ids, StoredSpec
from raptor_search.index import Selection, SketchIndex
from raptor_search.scoring import centred
from raptor_search.searching.publishing import EXACT_LIMIT
from raptor_search.searching.region import Region
from raptor_search.searching.rerank import Reranker
from raptor_search.searching.serving import IndexCache, Passing, Serving
from raptor_search.searching.sketching import inputs
from raptor_search.searching.surveying import prefix_of
from raptor_search.searching.truth import NEIGHBOURS
from raptor_search.searching.tuning import FEW, Setting

__all__ = ["Asked", "Round"]

WIDER = 4
"""Factor from one round to the next."""

LOOKED_AT = 50
"""Nearest scans by which it is told whether a filter goes with likeness."""

CHANCE = 2.0
"""Standard deviations: so many more of them pass by chance in one query of forty."""

PREFIX_SCAN = 20_000
"""Scans up to which a region is looked for by the first components of every one: 300 MB, about a second."""

PROPOSED = 2_000
"""Candidates that block sketches propose for a region."""

REGION_SHORTLIST = 200
"""Of those, by their first components, the ones that are scored on full vectors."""


@dataclass(frozen=True)
class Round:
    """Scans to score, sorted, and whether they are all that may be hits."""

    ids: Ids
    is_all: bool


@dataclass(frozen=True, eq=False)
class Asked:
    """One query, and who may answer it.

    Attributes:
        catalog: of the archive.
        indexes: its caches.
        stored: the spec.
        serving: the index that answers.
        passing: the scans that pass the filter.
        excluded: of those, the ones left out, sorted.
        reranker: with the query.
        regions: the cells that count; none means all.
        k: hits wanted.
        exact_limit: scans up to which all are scored; None where the index's own measures say.
    """

    catalog: Catalog
    indexes: IndexCache
    stored: StoredSpec
    serving: Serving
    passing: Passing
    excluded: Ids
    reranker: Reranker
    regions: tuple[Region, ...]
    k: int
    exact_limit: int | None

    @property
    def passed(self) -> int:
        """Scans that may be hits."""
        return self.passing.count - self.excluded.size

    @cached_property
    def everyone(self) -> Ids:
        """All of them, sorted."""
        ids = self.catalog.ids(self.stored.id) if self.passing.ids is None else self.passing.ids
        return np.setdiff1d(ids, self.excluded, assume_unique=True)

    def rounds(self) -> Iterator[Round]:
        """The rounds, each with more scans than the one before; the last is everyone."""
        yield from self._in_regions() if self.regions else self._by_index()
        yield Round(self.everyone, is_all=True)

    @cached_property
    def setting(self) -> Setting | None:
        """What was measured on the index for such a filter; None where there is none, or nothing was measured."""
        if self.serving.index is None or self.serving.version is None:
            return None
        share, tuning = self._share, self.serving.tuning
        return tuning.at(share, share if tuning.is_widest(share) else self._share_nearby())

    @property
    def _share(self) -> float:
        """Of the indexed scans, how many may be hits."""
        return min(1.0, self.passed / max(1, self.serving.index.size if self.serving.index else 1))

    def _share_nearby(self) -> float:
        """Of the scans nearest to the query, how many may be hits, down to where there are enough of these.

        No less than the share of all: one that could be chance is taken for it.
        """
        unfiltered = self.serving.tuning.unfiltered
        if self.passing.selection.bits is None or self.passing.ids is None or unfiltered is None:
            return self._share
        near = self._anyone(LOOKED_AT, unfiltered.nprobe)
        if near is None:
            everyone = Selection().without(self.excluded)
            (near,) = self._index.search(self._sketch, LOOKED_AT, nprobe=unfiltered.nprobe, selection=everyone)
        hits = np.flatnonzero(self.passing.passes(near))
        expected = near.size * self._share
        if hits.size <= expected + CHANCE * (expected * (1 - self._share)) ** 0.5:
            return self._share
        return NEIGHBOURS / (int(hits[NEIGHBOURS - 1]) + 1) if hits.size >= NEIGHBOURS else hits.size / near.size

    @property
    def _index(self) -> SketchIndex:
        assert self.serving.index is not None
        return self.serving.index

    @cached_property
    def _sketch(self) -> Float32[np.ndarray, "1 dim"]:
        """What the index is asked with."""
        taken = inputs(self.reranker.query[np.newaxis], self.stored.spec, self._index.dim)
        return self._index.mapped(centred(taken, self.serving.small_mean))

    def _by_index(self) -> Iterator[Round]:
        serving, index = self.serving, self.serving.index
        if index is None or serving.version is None or not serving.tuning.settings:
            return
        if self.passed <= (FEW if self.exact_limit is None else self.exact_limit):
            return
        setting = self.setting
        if setting is None or not setting.rerank:
            return
        newer = self.passing.holds(self.indexes.newer(self.catalog, self.stored, serving))
        newer = np.setdiff1d(newer, self.excluded) if newer.size else newer
        wanted = -(-setting.rerank * max(self.k, NEIGHBOURS) // NEIGHBOURS)
        # Lists are thinner for a filter than those that were measured: as many more of them hold as much.
        nprobe = int(np.ceil(setting.nprobe * max(1.0, setting.share / self._share)))
        while wanted + newer.size < self.passed:
            found = self._nearest(wanted, nprobe)
            found = self._shortlisted(found, setting)
            yield Round(np.union1d(found, newer) if newer.size else np.sort(found), is_all=False)
            wanted, nprobe = WIDER * wanted, index.lists

    def _nearest(self, wanted: int, nprobe: int) -> Ids:
        index, query = self._index, self._sketch
        selection: Selection = self.passing.selection
        found = self._anyone(wanted, nprobe) if selection.is_all and nprobe < index.lists else None
        if found is not None and found.size == wanted:
            return found
        if self.excluded.size:
            selection = selection.without(self.excluded)
        if found is None:
            (found,) = index.search(query, wanted, nprobe=nprobe, selection=selection)
        if found.size < wanted and nprobe < index.lists:
            (found,) = index.search(query, wanted, nprobe=index.lists, selection=selection)
        return found

    def _anyone(self, wanted: int, nprobe: int) -> Ids | None:
        """The nearest whatever the filter says, less the excluded; None where too many are excluded.

        It is cheaper than to look for each scan among the excluded: as many more, and those dropped.
        """
        if self.excluded.size > wanted:
            return None
        (found,) = self._index.search(self._sketch, wanted + self.excluded.size, nprobe=nprobe)
        kept: Ids = found[(found[:, np.newaxis] != self.excluded).all(axis=1)][:wanted]
        return kept

    def _shortlisted(self, found: Ids, setting: Setting) -> Ids:
        if not setting.shortlist:
            return found
        return self.reranker.shortlist(found, -(-setting.shortlist * found.size // setting.rerank))

    def _in_regions(self) -> Iterator[Round]:
        if self.passed <= (EXACT_LIMIT if self.exact_limit is None else self.exact_limit):
            return
        proposed, spec = self.everyone, self.stored.spec
        wanted = max(REGION_SHORTLIST, self.k * REGION_SHORTLIST // NEIGHBOURS)
        if proposed.size > PREFIX_SCAN:
            sketches = self.indexes.region_sketches(self.catalog, self.stored, self.serving.moment)
            query, mean = (prefix_of(vector, spec) for vector in (self.reranker.query, self.reranker.mean))
            many = max(PROPOSED, WIDER * wanted)
            proposed = sketches.candidates(query, mean, self.regions, spec, self.everyone, many)
        elif spec.components_kept <= PREFIX_COMPONENTS:
            return  # the scan of the prefixes is the scan of everything
        yield Round(self.reranker.shortlist(proposed, wanted), is_all=False)
