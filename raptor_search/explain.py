"""Where two scans match: the score taken apart into the cells that it is the sum of.

A score is a dot product of two centred unit embeddings, and an embedding is a grid of tokens in each of three
planes; summed over the components alone, the product gives every cell its exact share. A cell holds the
AVERAGE over all slices of its plane, so that it says where in the picture two scans match, not at which depth;
and cells are not registered between scans: the same cell need not be the same anatomy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from raptor_search.errors import SpecError
from raptor_search.scoring import centred
from raptor_search.searching.region import Region, region_columns
from raptor_search.specs import EmbeddingSpec

__all__ = ["Shares", "shares"]


@dataclass(frozen=True)
class Shares:
    """The parts of a score; together they are the score.

    Attributes:
        cells: share of each cell, [plane, row, column] as `raptor_search.slicing` lays the planes out: axial,
            coronal, sagittal, or the stored axes 0, 1, 2. Negative where two scans differ from the mean in
            opposite ways.
        cls: share of each plane's CLS token, which has no place; zeros where the spec keeps patches alone.
    """

    cells: Float32[np.ndarray, "plane row column"]
    cls: Float32[np.ndarray, " plane"]

    @property
    def score(self) -> float:
        """The centred cosine that the shares add up to."""
        return float(self.cells.sum(dtype=np.float64) + self.cls.sum(dtype=np.float64))

    @property
    def limit(self) -> float:
        """The greatest share of a cell, whatever its sign: where a colour scale ends."""
        return float(np.abs(self.cells).max())


def shares(
    query: Float[np.ndarray, " length"],
    hit: Float[np.ndarray, " length"],
    mean: Float[np.ndarray, " m"],
    spec: EmbeddingSpec,
    regions: Sequence[Region] = (),
) -> Shares:
    """Take the score of two embeddings apart.

    Args:
        query: raw embedding, flat, in the order [plane, component, token].
        hit: likewise.
        mean: what the score was centred on; without entries it was not.
        spec: of both embeddings.
        regions: the cells that the score was confined to; the others have no share. None means all.

    Raises:
        SpecError: a vector of another length than the spec's.
        QueryError: a region beyond the grid.
    """
    for vector in (query, hit):
        if vector.shape != (spec.length,):
            raise SpecError(f"an embedding of shape {vector.shape}; expected ({spec.length},), as its spec says")
    columns = region_columns(regions, spec, spec.components_kept) if regions else np.arange(spec.length)
    within = mean[columns] if mean.size else mean
    both = np.zeros((2, spec.length), np.float32)
    both[:, columns] = centred(np.stack([query[columns], hit[columns]]), within)
    one, other = both.reshape(2, *spec.shape)
    tokens = np.einsum("pkt,pkt->pt", one, other)
    cls, patches = np.split(tokens, [tokens.shape[1] - spec.grid[0] * spec.grid[1]], axis=1)
    return Shares(patches.reshape(-1, *spec.grid), cls.sum(axis=1))
