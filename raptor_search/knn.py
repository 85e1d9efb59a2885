"""Nearest neighbours by exact centred cosine, and how they vote on a label.

Everything here scores all vectors: it is the truth that an approximate search is measured by, and it
leaves a scan's own subject out wherever the answer is a claim about subjects not seen yet.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Real
from numpy.typing import NDArray

__all__ = ["DEFAULT_NEIGHBOURS", "DEFAULT_TEMPERATURE", "Neighbours", "held_out_neighbours", "neighbours", "predict"]

DEFAULT_NEIGHBOURS = 10
"""Chosen by the rule of `benchmarks/quality_defaults.py`; benchmarks/README.md has the figures."""

DEFAULT_TEMPERATURE = 0.1
"""A neighbour whose score is this much lower weighs 1/e. (Wu et al. 2018, arXiv 1805.01978, use 0.07 on 200
neighbours; with a handful of them that would leave the vote to the first.)"""

BLOCK_BYTES = 2**27
"""Size of the float32 blocks that vectors are widened to."""

KEPT_BYTES = 2**29
"""Vectors that take no more than this as float32 are widened once and kept for the call."""

NO_LENGTH = 1e-6
"""A squared norm below this share of the largest is float32 rounding: the vector is the mean itself and scores 0."""


class Neighbours(NamedTuple):
    """The nearest vectors of each query, best first; equal scores in order of index.

    Attributes:
        indices: rows of the vectors that were searched, -1 where there are fewer than k.
        scores: centred cosines in [-1, 1], -inf where there are fewer than k.
    """

    indices: Int[np.ndarray, "q k"]
    scores: Float[np.ndarray, "q k"]


def neighbours(
    vectors: Real[np.ndarray, "n d"],
    queries: Real[np.ndarray, "q d"] | None = None,
    *,
    k: int,
    mean: Float[np.ndarray, " d"] | None = None,
    groups: Int[np.ndarray, " n"] | None = None,
    query_groups: Int[np.ndarray, " q"] | None = None,
) -> Neighbours:
    """The k nearest of `vectors` by cosine after subtracting `mean` from both sides.

    Args:
        vectors: what is searched; float16 is widened block by block.
        queries: None for the vectors themselves, each without itself.
        k: how many, at least 1.
        mean: subtracted from both; None leaves the vectors as they are.
        groups: the subject of each vector: a query never finds its own subject's.
        query_groups: the subject of each query, where `queries` is given.

    Raises:
        ValueError: k below 1, or groups given on one side only.
    """
    _check(vectors, k)
    shift = _shift(vectors, mean)
    own = queries is None
    asked = vectors if queries is None else queries
    asked_groups = groups if own else query_groups
    if (groups is None) != (asked_groups is None):
        raise ValueError("groups on one side only; expected them for the vectors and the queries, or for neither")
    centred = _Centred(vectors, shift)
    lengths = centred.squared_norms()
    found = _empty(len(asked), min(k, len(vectors)))
    for start in range(0, len(asked), _rows_per_block(vectors)):
        rows = np.arange(start, min(start + _rows_per_block(vectors), len(asked)))
        block = _widen(asked, rows, shift)
        scores = centred.products(block)
        scores *= _inverse_root(np.einsum("qd,qd->q", block, block, dtype=np.float64), lengths.max())[:, None]
        scores *= _inverse_root(lengths, lengths.max())
        if asked_groups is not None and groups is not None:
            scores[asked_groups[rows][:, None] == groups] = -np.inf
        if own:
            scores[np.arange(len(rows)), rows] = -np.inf
        _keep_best(found, rows, scores)
    return found


def held_out_neighbours(vectors: Real[np.ndarray, "n d"], groups: Int[np.ndarray, " n"], *, k: int) -> Neighbours:
    """The k nearest of each vector among the other groups', centred on the mean of the other groups alone.

    The same as calling `neighbours` once a group with the rest as `vectors` and the rest's mean, but all
    scores come from one product: where all n vectors sum to zero, the mean without group g is
    -S_g / (n - n_g), with S_g the group's sum, and its dot products are sums of the vectors' own.

    Raises:
        ValueError: k below 1, or fewer than two groups.
    """
    _check(vectors, k)
    if len(np.unique(groups)) < 2:
        raise ValueError("one group; expected at least two, so that one can be held out")
    # Subtracting a constant from all vectors changes no score here; less their mean, they sum to zero.
    shift = _shift(vectors, np.asarray(vectors.mean(axis=0, dtype=np.float64)))
    centred = _Centred(vectors, shift)
    lengths = centred.squared_norms()
    found = _empty(len(vectors), min(k, len(vectors)))
    for rows in _whole_groups(groups, _rows_per_block(vectors)):
        products = centred.products(_widen(vectors, rows, shift))
        for group in np.unique(groups[rows]):
            members = np.flatnonzero(groups[rows] == group)
            out = rows[members]
            rest = len(vectors) - len(out)
            to_mean = -products[members].sum(axis=0) / rest
            mean_length = -to_mean[out].sum() / rest
            scores = products[members] - to_mean[out][:, None] - to_mean + mean_length
            squared = lengths - 2 * to_mean + mean_length
            inverse = _inverse_root(squared, squared.max())
            scores *= inverse[out][:, None] * inverse
            scores[:, out] = -np.inf
            _keep_best(found, out, scores)
    return found


def predict(
    scores: Float[np.ndarray, "q k"],
    neighbour_labels: Int[np.ndarray, "q k"],
    n_classes: int,
    *,
    temperature: float = DEFAULT_TEMPERATURE,
) -> Float[np.ndarray, "q c"]:
    """Each class's share of the neighbours' votes, weighted by exp(score / temperature).

    Args:
        scores: as `neighbours` gives them; -inf casts no vote.
        neighbour_labels: class codes; -1 casts no vote.
        n_classes: how many classes there are.
        temperature: above 0; the smaller, the more the nearest decides.

    Returns:
        Rows that sum to 1, or are all 0 where nobody votes.

    Raises:
        ValueError: a temperature that is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature {temperature}; expected above 0")
    voting = (neighbour_labels >= 0) & np.isfinite(scores)
    finite = np.where(voting, scores, -np.inf).astype(np.float64)
    best = np.max(finite, axis=1, keepdims=True, initial=-np.inf)
    weights = np.exp((finite - np.where(np.isfinite(best), best, 0.0)) / temperature)
    votes = np.zeros((len(scores), n_classes))
    rows = np.arange(len(scores))
    for column in range(scores.shape[1]):
        voters = voting[:, column]
        votes[rows[voters], neighbour_labels[voters, column]] += weights[voters, column]
    cast = votes.sum(axis=1, keepdims=True)
    shares = np.zeros_like(votes)
    np.divide(votes, cast, out=shares, where=cast > 0)
    return shares


def _check(vectors: Real[np.ndarray, "n d"], k: int) -> None:
    if k < 1:
        raise ValueError(f"k = {k}; expected at least 1")
    if vectors.ndim != 2 or len(vectors) == 0:
        raise ValueError(f"vectors of shape {vectors.shape}; expected (n, d) with n above 0")


def _shift(vectors: Real[np.ndarray, "n d"], mean: Float[np.ndarray, " d"] | None) -> NDArray[np.float32]:
    return np.zeros(vectors.shape[1], np.float32) if mean is None else np.asarray(mean, dtype=np.float32)


def _empty(rows: int, k: int) -> Neighbours:
    return Neighbours(np.full((rows, k), -1, np.int64), np.full((rows, k), -np.inf, np.float32))


def _rows_per_block(vectors: Real[np.ndarray, "n d"]) -> int:
    return int(max(1, BLOCK_BYTES // (4 * vectors.shape[1])))


def _widen(
    vectors: Real[np.ndarray, "n d"], rows: Int[np.ndarray, " b"] | slice, shift: Float[np.ndarray, " d"]
) -> NDArray[np.float32]:
    block = vectors[rows].astype(np.float32)
    block -= shift
    return block


class _Centred:
    """Vectors less a constant, as float32 blocks."""

    def __init__(self, vectors: Real[np.ndarray, "n d"], shift: Float[np.ndarray, " d"]) -> None:
        self._vectors, self._shift = vectors, shift
        self._kept = list(self._widened()) if 4 * vectors.size <= KEPT_BYTES else None

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return self._widened() if self._kept is None else iter(self._kept)

    def _widened(self) -> Iterator[NDArray[np.float32]]:
        step = _rows_per_block(self._vectors)
        for start in range(0, len(self._vectors), step):
            yield _widen(self._vectors, slice(start, start + step), self._shift)

    def products(self, block: Float[np.ndarray, "b d"]) -> NDArray[np.float64]:
        """Dot products of the rows of a centred block with all vectors."""
        return np.concatenate([block @ other.T for other in self], axis=1, dtype=np.float64)

    def squared_norms(self) -> NDArray[np.float64]:
        return np.concatenate([np.einsum("nd,nd->n", block, block, dtype=np.float64) for block in self])


def _inverse_root(squared: Float[np.ndarray, " n"], largest: float) -> NDArray[np.float64]:
    usable = squared > NO_LENGTH * largest
    return np.where(usable, 1 / np.sqrt(np.where(usable, squared, 1.0)), 0.0)


def _whole_groups(groups: Int[np.ndarray, " n"], size: int) -> Iterator[NDArray[np.int64]]:
    """Rows in blocks of about `size` that cut no group in two."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=groups[order][0] - 1))
    begin = 0
    for end in [*starts[1:].tolist(), len(order)]:
        if end - begin >= size or end == len(order):
            yield order[begin:end]
            begin = end


def _keep_best(found: Neighbours, rows: Int[np.ndarray, " b"], scores: Float[np.ndarray, "b n"]) -> None:
    """Write the best of each row of `scores` into `found`; ties go to the lower index."""
    k = found.indices.shape[1]
    for row, line in zip(rows.tolist(), scores.astype(np.float32), strict=True):
        bar = np.partition(line, len(line) - k)[len(line) - k]
        best = np.flatnonzero((line >= bar) & np.isfinite(line))
        best = best[np.argsort(-line[best], kind="stable")][:k]
        found.indices[row, : len(best)] = best
        found.scores[row, : len(best)] = np.clip(line[best], -1, 1)
