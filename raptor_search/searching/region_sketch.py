"""Candidates for a region of a large archive: a few numbers for each block of cells.

Each plane is cut into 4 x 4 blocks; the first components of a block's cells are projected to `NUMBERS` by random signs,
eight bits each. A region's inner products and lengths are sums over the blocks it touches, of a query that is empty
outside the region. It is rough (a relative error of a length of about sqrt(2 / NUMBERS) a block), so it only proposes
candidates; they are scored exactly afterwards. Derived from the catalog by one pass over the prefixes when a region is
first asked for, held in memory (768 bytes a scan), and brought up to date with what has come since.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32, Int8, Int64

from raptor_search.catalog import PREFIX_COMPONENTS, Catalog, Ids, StoredSpec
from raptor_search.scoring import widened
from raptor_search.searching.region import Region, region_columns
from raptor_search.searching.sketching import BLOCK
from raptor_search.specs import EmbeddingSpec

__all__ = ["RegionSketches"]

SIDE = 4
"""Blocks along each axis of a plane."""

NUMBERS = 16
"""Numbers a block."""

BLOCKS = 3 * SIDE * SIDE

ROWS = 65_536
"""Scans scored at a time."""


@dataclass(frozen=True, eq=False)
class RegionSketches:
    """Block sketches of an archive's scans.

    Attributes:
        ids: the scans, in no order.
        codes: their sketches, in eight bits.
        steps: by which each number of a scan's codes is multiplied.
        places: of each number of a prefix: the block it lies in; -1 for a CLS token.
        signs: of each number of a prefix, for each number of a sketch.
        high_water: the largest embedding id that is in them.
    """

    ids: Ids
    codes: Int8[np.ndarray, "n block number"]
    steps: Float32[np.ndarray, " n"]
    places: Int64[np.ndarray, " d"]
    signs: Int8[np.ndarray, "d number"]
    high_water: int = 0

    @classmethod
    def none(cls, spec: EmbeddingSpec) -> "RegionSketches":
        """The sketches of no scan."""
        places = _places(spec)
        signs = (2 * np.random.RandomState(0).randint(0, 2, (places.size, NUMBERS)) - 1).astype(np.int8)
        codes = np.empty((0, BLOCKS, NUMBERS), np.int8)
        return cls(np.empty(0, np.int64), codes, np.empty(0, np.float32), places, signs)

    def brought_up(self, catalog: Catalog, stored: StoredSpec) -> "RegionSketches":
        """The same with the scans that were embedded since, and without those that are gone."""
        high_water = catalog.embedding_high_water(stored.id)
        added = catalog.newer_than(stored.id, self.high_water)
        there = np.isin(self.ids, catalog.ids(stored.id))
        ids, codes, steps = [self.ids[there]], [self.codes[there]], [self.steps[there]]
        for start in range(0, added.size, BLOCK):
            found, prefixes = catalog.found_prefixes(added[start : start + BLOCK], stored.id)
            blocks = self._sketch(widened(prefixes))
            largest = np.abs(blocks).max(axis=(1, 2))
            step = np.where(largest > 0, largest / 127, 1).astype(np.float32)
            ids.append(found)
            codes.append(np.rint(blocks / step[:, np.newaxis, np.newaxis]).astype(np.int8))
            steps.append(step)
        return replace(
            self,
            ids=np.concatenate(ids),
            codes=np.concatenate(codes),
            steps=np.concatenate(steps),
            high_water=high_water,
        )

    def candidates(
        self,
        query: Float[np.ndarray, " d"],
        mean: Float32[np.ndarray, " m"],
        regions: Sequence[Region],
        spec: EmbeddingSpec,
        allowed: Ids,
        wanted: int,
    ) -> Ids:
        """The scans that are most alike in the regions, as far as their sketches tell, sorted by id.

        Args:
            query: prefix of the raw embedding.
            mean: prefix of what scores are centred on; without entries nothing is subtracted.
            regions: at least one.
            spec: of the embeddings.
            allowed: the only scans that may come back, sorted.
            wanted: how many.
        """
        rows = np.flatnonzero(np.isin(self.ids, allowed))
        inside = region_columns(regions, spec, min(spec.components_kept, PREFIX_COMPONENTS))
        within = np.zeros(self.places.size, np.float32)
        within[inside] = query[inside] - (mean[inside] if mean.size else 0)
        touched = np.unique(self.places[inside])
        asked = self._sketch(within[np.newaxis])[0, touched]
        middle = self._sketch(mean[np.newaxis])[0, touched] if mean.size else np.zeros_like(asked)
        values = np.empty(rows.size, np.float32)
        for start in range(0, rows.size, ROWS):
            part = rows[start : start + ROWS]
            blocks = self.codes[part][:, touched] * self.steps[part, np.newaxis, np.newaxis] - middle
            lengths = np.sqrt(np.einsum("nbk,nbk->n", blocks, blocks))
            values[start : start + ROWS] = np.einsum("nbk,bk->n", blocks, asked) / np.maximum(lengths, 1e-12)
        if rows.size > wanted:
            rows = rows[np.argpartition(-values, wanted - 1)[:wanted]]
        return np.sort(self.ids[rows])

    def _sketch(self, vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n block number"]:
        out = np.empty((len(vectors), BLOCKS, NUMBERS), np.float32)
        for block in range(BLOCKS):
            inside = np.flatnonzero(self.places == block)
            out[:, block] = vectors[:, inside] @ self.signs[inside].astype(np.float32)
        out /= np.sqrt(np.float32(NUMBERS))
        return out


def _places(spec: EmbeddingSpec) -> Int64[np.ndarray, " d"]:
    """The block of each number of a prefix, in the flat order [plane, component, token]."""
    rows, columns = spec.grid
    row, column = np.divmod(np.arange(rows * columns), columns)
    block = (row * SIDE // rows) * SIDE + column * SIDE // columns
    cls = np.full(spec.tokens_per_plane - rows * columns, -1)
    planes = [np.concatenate([cls, block + plane * SIDE * SIDE]) for plane in range(3)]
    components = min(spec.components_kept, PREFIX_COMPONENTS)
    return np.concatenate([np.tile(plane, components) for plane in planes]).astype(np.int64)
