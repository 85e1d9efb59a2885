"""The nearest-neighbour graph of an archive: made once an index version, read by maps, clusters, labels and leaks."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int, Real
from numpy.typing import NDArray

from raptor_search.index import build, default_factory, is_narrowed, load
from raptor_search.searching.narrowing import PAIRED, narrowing

__all__ = ["EXACT_UP_TO", "GRAPH_NEIGHBOURS", "KnnGraph", "build_graph"]

EXACT_UP_TO = 20_000
"""Scans up to which every pair is scored; above, the index proposes candidates that are then scored exactly."""

GRAPH_NEIGHBOURS = 50
"""Enough for a map of 15, and for votes of 10 once a subject's own scans are passed over."""

CANDIDATES = 200
"""Scans that the index proposes for each. What it proposes for the others of a block is scored too: of 30,000 drawn
vectors without clusters 98.6% of the 50 nearest are found, of 100,000 in clusters all but 0.05%."""

LISTS_VISITED = 48
"""Inverted lists of the index that each scan is sought in."""

BLOCK = 1024
"""Scans scored against as many at a time: two blocks of the longest vectors are 0.6 GB."""

PIVOTS = (2048, 256, 32)
"""Scans that the others are sorted by, and how many of these sort them in turn."""

NO_LENGTH = 1e-6
"""A squared norm below this share of the largest is float32 rounding: the vector is the mean itself and scores 0."""

Read = Callable[[Int[np.ndarray, " b"]], Real[np.ndarray, "b d"]]
"""Vectors of rows."""


@dataclass(frozen=True, eq=False)
class KnnGraph:
    """The nearest other scans of each scan, its own subject's included.

    Attributes:
        ids: of the scans, one a row.
        indices: rows of the nearest, best first; -1 where there are fewer.
        scores: their centred cosines, -inf where there are fewer.
        is_exact: whether every pair was scored.
    """

    ids: Int[np.ndarray, " n"]
    indices: Int[np.ndarray, "n k"]
    scores: Float32[np.ndarray, "n k"]
    is_exact: bool

    def __len__(self) -> int:
        return len(self.ids)

    def without(self, subjects: Int[np.ndarray, " n"], k: int) -> "KnnGraph":
        """The graph less the neighbours of a scan's own subject, the first k of what is left."""
        own = (self.indices >= 0) & (subjects[self.indices] == subjects[:, None])
        scores = np.where(own, -np.inf, self.scores)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(scores, order, axis=1).astype(np.float32)
        indices = np.where(np.isfinite(best), np.take_along_axis(self.indices, order, axis=1), -1)
        return KnnGraph(self.ids, indices, best, self.is_exact)


def build_graph(
    ids: Int[np.ndarray, " n"],
    read: Read,
    mean: Float[np.ndarray, " d"],
    *,
    sketches: Float32[np.ndarray, "n s"] | None = None,
    k: int = GRAPH_NEIGHBOURS,
    exact_up_to: int = EXACT_UP_TO,
    progress: Callable[[int, int], None] | None = None,
) -> KnnGraph:
    """Score every pair, or, of a larger archive, the pairs that an index of the sketches proposes.

    Args:
        ids: of the scans.
        read: their vectors by row; asked for a block at a time.
        mean: subtracted before the cosine; zeros leave the vectors as they are.
        sketches: centred, at unit length; needed above `exact_up_to`.
        k: neighbours of each scan, fewer where there are not as many.
        exact_up_to: scans up to which every pair is scored.
        progress: hears how many rows are done, of how many.

    Raises:
        ValueError: more scans than `exact_up_to`, and no sketches.
        IndexFileError: the index could not be built.
    """
    k = min(k, max(len(ids) - 1, 1))
    found = _Nearest(len(ids), k)
    hear = progress or (lambda done, of: None)
    is_exact = len(ids) <= exact_up_to
    shift = np.asarray(mean, dtype=np.float32)
    if is_exact:
        _all_pairs(found, read, shift, hear)
    elif sketches is None:
        raise ValueError(f"{len(ids)} scans without sketches; expected at most {exact_up_to}")
    else:
        _proposed_pairs(found, read, shift, sketches, hear)
    return KnnGraph(np.asarray(ids, dtype=np.int64), found.indices, found.scores, is_exact)


class _Nearest:
    """The best so far of each row; equal scores go to the row that was seen first."""

    def __init__(self, rows: int, k: int) -> None:
        self.indices = np.full((rows, k), -1, np.int64)
        self.scores = np.full((rows, k), -np.inf, np.float32)

    def see(
        self, rows: Int[np.ndarray, " b"], others: Int[np.ndarray, " o"], scores: Float32[np.ndarray, "b o"]
    ) -> None:
        k = self.indices.shape[1]
        # Only what beats the worst kept can matter, and of that the k best of this block.
        better = scores > self.scores[rows, -1:]
        if len(others) > k:
            better &= scores >= -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
        line, place = np.nonzero(better)
        count = np.bincount(line, minlength=len(rows))
        column = np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count)
        shape = (len(rows), int(count.max(initial=0)))
        near, named = np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int64)
        near[line, column], named[line, column] = scores[line, place], others[place]
        both = np.concatenate([self.scores[rows], near], axis=1)
        names = np.concatenate([self.indices[rows], named], axis=1)
        order = np.argsort(-both, axis=1, kind="stable")[:, :k]
        self.scores[rows] = np.take_along_axis(both, order, axis=1)
        self.indices[rows] = np.take_along_axis(names, order, axis=1)


def _all_pairs(found: _Nearest, read: Read, shift: Float32[np.ndarray, " d"], hear: Callable[[int, int], None]) -> None:
    n = len(found.indices)
    blocks = [np.arange(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]
    for number, rows in enumerate(blocks):
        unit = _units(read(rows), shift)
        for others in blocks[number:]:
            rest = unit if others is rows else _units(read(others), shift)
            scores = unit @ rest.T
            if others is rows:
                np.fill_diagonal(scores, -np.inf)
            np.clip(scores, -np.inf, 1, out=scores)
            found.see(rows, others, scores)
            if others is not rows:
                found.see(others, rows, np.ascontiguousarray(scores.T))
        hear(int(rows[-1]) + 1, n)


def _proposed_pairs(
    found: _Nearest,
    read: Read,
    shift: Float32[np.ndarray, " d"],
    sketches: Float32[np.ndarray, "n s"],
    hear: Callable[[int, int], None],
) -> None:
    n, k = found.indices.shape
    asked = _narrowed(read, shift, sketches) if is_narrowed(default_factory(n)) else sketches
    data = build(asked, np.arange(n))
    index = load(data, sha256=hashlib.sha256(data).hexdigest())
    del data
    order = _like_by_like(asked)
    for start in range(0, n, BLOCK // 4):
        rows = order[start : start + BLOCK // 4]
        proposed = index.search(asked[rows], max(CANDIDATES, 2 * k), nprobe=LISTS_VISITED)
        others = np.unique(np.concatenate([*proposed, rows]))
        unit = _units(read(others), shift)
        own = np.searchsorted(others, rows)
        # Each is scored with all that were proposed for its block: one product of matrices, and a few more found.
        scores = np.clip(unit[own] @ unit.T, -1, 1)
        scores[np.arange(len(rows)), own] = -np.inf
        found.see(rows, others, scores)
        hear(min(start + len(rows), n), n)


def _like_by_like(vectors: Float32[np.ndarray, "n s"]) -> NDArray[np.int64]:
    """Rows in an order in which scans that lie together follow each other: so a block of them shares its candidates.

    Each goes to the pivot that it is most like, and the pivots are ordered likewise by fewer of their own.
    """
    drawn = np.random.default_rng(0).permutation(len(vectors))[: PIVOTS[0]]
    # Of numbers that are left of unit vectors the longest would draw everything to itself.
    pivots = _units(vectors[drawn], np.empty(0, np.float32))
    nearest = [(vectors[start : start + BLOCK] @ pivots.T).argmax(axis=1) for start in range(0, len(vectors), BLOCK)]
    keys = [np.concatenate(nearest)]
    for count in PIVOTS[1:]:
        keys.append((pivots @ pivots[:count].T).argmax(axis=1)[keys[-1]])
    return np.lexsort(keys)


def _narrowed(
    read: Read, shift: Float32[np.ndarray, " d"], sketches: Float32[np.ndarray, "n s"]
) -> Float32[np.ndarray, "n narrow"]:
    """The few numbers of each sketch that tell the scores of a sample of pairs best: an eighth of the work."""
    drawn = np.random.default_rng(0).choice(len(sketches), sum(PAIRED), replace=False)
    first, second = (np.sort(rows) for rows in np.split(drawn, PAIRED[:1]))
    asking = _units(read(first), shift)
    parts = np.split(second, range(BLOCK, len(second), BLOCK))
    scores = np.concatenate([_units(read(rows), shift) @ asking.T for rows in parts])
    narrow: NDArray[np.float32] = sketches @ narrowing(sketches[first], sketches[second], scores).T
    return narrow


def _units(vectors: Real[np.ndarray, "b d"], shift: Float32[np.ndarray, " d"]) -> NDArray[np.float32]:
    rows = vectors.astype(np.float32)
    if shift.size:
        rows -= shift
    squared = np.einsum("bd,bd->b", rows, rows, dtype=np.float64)
    usable = squared > NO_LENGTH * max(float(squared.max(initial=0.0)), np.finfo(float).tiny)
    rows *= np.where(usable, 1 / np.sqrt(np.where(usable, squared, 1.0)), 0.0)[:, None].astype(np.float32)
    return rows
