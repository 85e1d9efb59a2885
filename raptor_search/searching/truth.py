"""The true neighbours of scans that ask: exact search over full embeddings, one pass for all of them.

What an index forgets can only be told against this. Filters are stood in for by subsets drawn by a hash of the id, so
that the truth behind a filter that lets one scan in ten through comes out of the same pass.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, Float32, Int64
from numpy.typing import NDArray

from raptor_search.scoring import best, centred

__all__ = ["HELD_OUT", "NEIGHBOURS", "draw_held_out", "exact_neighbours", "passes"]

HELD_OUT = 400
"""Scans that ask: 4,000 true neighbours; all of them found shows, at 95% confidence, a recall above 0.993."""

MOST_HELD_OUT = 1_000
"""Scans that ask in an archive that has plenty: settings that seem good enough by luck are fewer."""

NEIGHBOURS = 10
"""The k of recall@k: a page of hits."""

Truth = dict[float, list[NDArray[np.int64]]]
"""By share of the archive that passes: the true neighbours of each query."""


def draw_held_out(volumes: int) -> NDArray[np.intp]:
    """Rows of the scans that ask, sorted; drawn with a fixed seed."""
    many = min(volumes, max(HELD_OUT, min(MOST_HELD_OUT, volumes // 50)))
    return np.sort(np.random.default_rng(0).choice(volumes, many, replace=False))


def passes(ids: Int64[np.ndarray, " n"], share: float) -> NDArray[np.bool_]:
    """Which ids a drawn filter lets through: about this share of them; a smaller share's are among a larger's.

    Source: the finaliser of SplitMix64 (Steele, Lea and Flood 2014), a hash that spreads consecutive ids evenly.
    """
    if share >= 1:
        return np.ones(ids.shape, np.bool_)
    mixed = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) < share * 2.0**53


def exact_neighbours(
    blocks: Iterable[tuple[Int64[np.ndarray, " b"], Float[np.ndarray, "b length"]]],
    asking: Int64[np.ndarray, " q"],
    queries: Float32[np.ndarray, "q length"],
    mean: Float32[np.ndarray, " m"],
    shares: Sequence[float] = (1.0,),
) -> Truth:
    """The true neighbours of each query among all the blocks, without itself.

    Args:
        blocks: ids and raw embeddings.
        asking: id of each query.
        queries: the queries, centred.
        mean: what they were centred with.
        shares: of the archive that filters let through.
    """
    running = {share: _Running(len(asking)) for share in shares}
    for ids, vectors in blocks:
        products = centred(vectors, mean) @ queries.T
        products[ids[:, np.newaxis] == asking] = -np.inf
        for share, found in running.items():
            kept = passes(ids, share)
            if kept.any():
                found.merge(ids[kept], products[kept])
    return {share: [near[near >= 0] for near in found.ids] for share, found in running.items()}


class _Running:
    """The best so far of each query."""

    def __init__(self, queries: int) -> None:
        self.ids = np.full((queries, NEIGHBOURS), -1, np.int64)
        self.values = np.full((queries, NEIGHBOURS), -np.inf, np.float32)

    def merge(self, ids: Int64[np.ndarray, " b"], products: Float32[np.ndarray, "b q"]) -> None:
        better = (products > self.values[:, -1]) | (np.isfinite(products) & (products == self.values[:, -1]))
        for row in np.flatnonzero(better.any(axis=0)):
            new = better[:, row]
            near = np.concatenate([self.ids[row], ids[new]])
            values = np.concatenate([self.values[row], products[new, row]])
            order = best(near, values, NEIGHBOURS)
            self.ids[row], self.values[row] = near[order], values[order]
