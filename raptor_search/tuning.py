"""How many lists to visit and how many candidates to re-rank: measured on the index at hand, not assumed.

Held-out scans of the archive ask for their neighbours; the truth is the exact search over full embeddings. The
re-rank is exact as well, so that recall after it is the share of the true neighbours among the candidates.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int64
from numpy.typing import NDArray

from raptor_search.index import SketchIndex
from raptor_search.scoring import best, centred

__all__ = ["Tuning", "draw_held_out", "exact_neighbours", "tune"]

HELD_OUT = 64
"""Scans that ask: 640 true neighbours, so that a recall of 0.99 has a standard error of 0.4 %."""

NEIGHBOURS = 10
"""The k of recall@k: a page of hits."""

RECALL_TARGET = 0.99
"""The cheapest settings that reach it are taken."""

RERANK_STEPS = (100, 200, 400, 800)
"""Candidates to try; each costs 150 KB of reading a query."""


@dataclass(frozen=True)
class Tuning:
    """Settings of an index.

    Attributes:
        nprobe: lists to visit; 0 where there are none.
        rerank: candidates to score exactly; 0 means all, and nothing was measured.
        recall: measured recall@10 of held-out scans, or None.
    """

    nprobe: int = 0
    rerank: int = 0
    recall: float | None = None


def draw_held_out(volumes: int) -> NDArray[np.intp]:
    """Rows of the scans that ask, sorted; drawn with a fixed seed."""
    return np.sort(np.random.default_rng(0).choice(volumes, min(HELD_OUT, volumes), replace=False))


def exact_neighbours(
    blocks: Iterable[tuple[Int64[np.ndarray, " b"], Float[np.ndarray, "b length"]]],
    asking: Int64[np.ndarray, " q"],
    queries: Float32[np.ndarray, "q length"],
    mean: Float32[np.ndarray, " m"],
) -> list[NDArray[np.int64]]:
    """The true neighbours of each query among all the blocks, without itself.

    Args:
        blocks: ids and raw embeddings.
        asking: id of each query.
        queries: the queries, centred.
        mean: what they were centred with.
    """
    found = [(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in asking]
    for ids, vectors in blocks:
        products = centred(vectors, mean) @ queries.T
        for row, own in enumerate(asking):
            others = ids != own
            near = np.concatenate([found[row][0], ids[others]])
            values = np.concatenate([found[row][1], products[others, row]])
            order = best(near, values, NEIGHBOURS)
            found[row] = near[order], values[order]
    return [near for near, _ in found]


def tune(
    index: SketchIndex,
    asking: Int64[np.ndarray, " q"],
    sketches: Float32[np.ndarray, "q dim"],
    truth: Sequence[NDArray[np.int64]],
) -> Tuning:
    """The fewest candidates, then the fewest lists, that reach the target; the widest settings where none does.

    Args:
        index: the one to be published.
        asking: id of each query.
        sketches: unit sketch of each query.
        truth: true neighbours of each query.
    """
    steps = [n for n in (2**p for p in range(3, 17)) if n < index.lists] + [index.lists]
    answers = {n: index.search(sketches, RERANK_STEPS[-1] + 1, nprobe=n) for n in steps}
    tuning = Tuning()
    for rerank in RERANK_STEPS:
        for nprobe in steps:
            recall = _recall(answers[nprobe], asking, truth, rerank)
            tuning = Tuning(nprobe, rerank, recall)
            if recall >= RECALL_TARGET:
                return tuning
    return tuning


def _recall(
    answers: Sequence[NDArray[np.int64]],
    asking: Int64[np.ndarray, " q"],
    truth: Sequence[NDArray[np.int64]],
    rerank: int,
) -> float:
    shares = [
        np.isin(true, answer[answer != own][:rerank]).mean()
        for answer, own, true in zip(answers, asking, truth, strict=True)
    ]
    return float(np.mean(shares))
