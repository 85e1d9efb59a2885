"""Exact scores: candidates read in few queries from the catalog, scored block by block."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from raptor_search.catalog import PREFIX_COMPONENTS, Catalog, Ids, StoredSpec
from raptor_search.scoring import best, centred, scores
from raptor_search.searching.region import Region, region_columns
from raptor_search.searching.surveying import prefix_of

__all__ = ["Reranker", "Scored"]

READ_BYTES = 2**26
"""Vectors read at once: the candidates of a search come in one query, the whole archive in many."""

Scored = tuple[Ids, Float32[np.ndarray, " n"]]
"""Ids that are still there, and their scores."""


@dataclass(frozen=True, eq=False)
class Reranker:
    """Scores scans of one archive against one query, on all cells or on those of some regions.

    Attributes:
        catalog: of the archive.
        stored: the spec.
        query: raw embedding.
        mean: that scores are centred on.
        regions: the cells that count; none means all.
    """

    catalog: Catalog
    stored: StoredSpec
    query: Float[np.ndarray, " length"]
    mean: Float32[np.ndarray, " m"]
    regions: Sequence[Region] = ()

    def full(self, ids: Ids) -> Scored:
        """Scores on the full vectors."""
        components = self.stored.spec.components_kept
        return self._scored(ids, components, self.query, self.mean)

    def by_prefix(self, ids: Ids) -> Scored:
        """Scores on the first components alone: themselves a valid, smaller Raptor, at a tenth of the reading."""
        spec = self.stored.spec
        components = min(spec.components_kept, PREFIX_COMPONENTS)
        return self._scored(ids, components, prefix_of(self.query, spec), prefix_of(self.mean, spec))

    def shortlist(self, ids: Ids, wanted: int) -> Ids:
        """The best of some scans by their first components, sorted by id."""
        found, values = self.by_prefix(ids)
        return np.sort(found[best(found, values, wanted)])

    def _scored(
        self, ids: Ids, components: int, query: Float[np.ndarray, " d"], mean: Float32[np.ndarray, " m"]
    ) -> Scored:
        columns = region_columns(self.regions, self.stored.spec, components) if self.regions else slice(None)
        mean = mean[columns] if mean.size else mean
        unit = centred(query[columns][np.newaxis], mean)[0]
        whole = components == self.stored.spec.components_kept
        read = self.catalog.found_vectors if whole else self.catalog.found_prefixes
        found, values = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        block = max(1, READ_BYTES // (2 * query.size))
        for start in range(0, ids.size, block):
            there, vectors = read(ids[start : start + block], self.stored.id)
            found.append(there)
            values.append(scores(unit, np.ascontiguousarray(vectors[:, columns]), mean))
        return np.concatenate(found), np.concatenate(values)
