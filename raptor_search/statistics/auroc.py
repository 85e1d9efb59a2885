"""AUROC of kNN votes by leave-pair-out, one class against the rest.

Pooling leave-one-out votes and ranking them is biased below 0.5: a held-out scan of class c has one
subject of class c fewer to be voted for by than a scan of another class has. (Measured on random labels,
20 subjects, 5 neighbours: 0.44.) Leave-pair-out compares a scan of the class with a scan of the rest by
votes that leave out both their subjects, so the two have the same voters and no signal gives 0.5 exactly.
Source: Airola et al. 2011, Computational Statistics & Data Analysis 55(4); Smith et al. 2014, BMC
Medical Research Methodology 14:83.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from raptor_search.knn import Neighbours, predict

__all__ = ["LeavePairOutAuroc", "pair_depth"]

DECIMALS = 9
"""Votes that agree to this many decimals are equal: sums in another order differ in the last digits."""

CHUNK = 2**22
"""Numbers held at a time while resamples are evaluated."""


def pair_depth(subjects: Int[np.ndarray, " n"], k: int) -> int:
    """How many neighbours of each scan `LeavePairOutAuroc` needs: k, whichever other subject is left out."""
    return k + int(np.bincount(subjects).max())


class LeavePairOutAuroc:
    """The share of (scan of the class, scan of the rest) pairs that the votes put in the right order.

    Call it with how often each subject counts, (resamples, subjects), for figures (resamples, classes); a
    class is NaN where a resample has no scan of it, or nothing else. Ties count one half. Pairs of one
    subject are compared by the votes that leave that subject out.

    Votes are those of all scans but the queried one's subject, except in the few pairs where a voter
    belongs to the other scan's subject: these are counted apart, in `_corrections`. The scores that order the
    voters are taken as they come, centred without the queried scan's subject alone; they know no labels.
    """

    def __init__(
        self,
        found: Neighbours,
        codes: Int[np.ndarray, " n"],
        subjects: Int[np.ndarray, " n"],
        n_classes: int,
        *,
        k: int,
        temperature: float,
    ) -> None:
        """`found` holds `pair_depth` neighbours of each scan, none of its own subject; subjects are 0, 1, ..."""
        self._codes, self._subjects, self._k, self._temperature = codes, subjects, k, temperature
        self._n_classes, self._n_subjects = n_classes, int(subjects.max()) + 1
        self._votes = self._vote(found.indices[:, :k], found.scores[:, :k])
        self._corrections = self._correct(found)

    def __call__(self, weights: Float[np.ndarray, "b s"]) -> Float[np.ndarray, "b c"]:
        """AUROC of every class in every resample."""
        return np.stack([self._of_class(code, weights) for code in range(self._n_classes)], axis=1)

    def _of_class(self, code: int, weights: Float[np.ndarray, "b s"]) -> NDArray[np.float64]:
        levels, level = np.unique(self._votes[:, code], return_inverse=True)
        inside, outside = (
            coo_array(
                (np.ones(int(rows.sum())), (self._subjects[rows], level[rows])),
                shape=(self._n_subjects, len(levels)),
            ).tocsr()
            for rows in (self._codes == code, self._codes != code)
        )
        right, pairs = np.zeros(len(weights)), np.zeros(len(weights))
        step = max(1, CHUNK // len(levels))
        for start in range(0, len(weights), step):
            part = slice(start, start + step)
            members, rest = weights[part] @ inside, weights[part] @ outside
            below = np.cumsum(rest, axis=1) - rest / 2
            right[part] = np.sum(members * below, axis=1)
            right[part] += np.sum((weights[part] @ self._corrections[code]) * weights[part], axis=1)
            pairs[part] = members.sum(axis=1) * rest.sum(axis=1)
        share = np.full(len(weights), np.nan)
        np.divide(right, pairs, out=share, where=pairs > 0)
        return share

    def _vote(self, indices: Int[np.ndarray, "n k"], scores: Float[np.ndarray, "n k"]) -> NDArray[np.float64]:
        labels = np.where(indices >= 0, self._codes[indices], -1)
        return np.round(predict(scores, labels, self._n_classes, temperature=self._temperature), DECIMALS)

    def _correct(self, found: Neighbours) -> list[csr_array]:
        """By class, (subject, subject): what a pair's right order gains when both subjects are left out."""
        n = len(self._codes)
        rows, others, own, other = self._affected(found)
        keys = rows * n + others
        order = np.argsort(keys)
        keys, own, other = keys[order], own[order], other[order]
        pairs = np.unique(np.concatenate([keys, (keys % n) * n + keys // n]))
        first, second = pairs // n, pairs % n
        code = self._codes[first]
        gain = _order(
            _replaced(self._votes[first, code], pairs, keys, own),
            _replaced(self._votes[second, code], second * n + first, keys, other),
        )
        gain -= _order(self._votes[first, code], self._votes[second, code])
        shape = (self._n_subjects, self._n_subjects)
        return [
            coo_array((gain[of], (self._subjects[first[of]], self._subjects[second[of]])), shape=shape).tocsr()
            for of in (code == value for value in range(self._n_classes))
        ]

    def _affected(self, found: Neighbours) -> tuple[NDArray[np.int64], ...]:
        """Pairs (row, other) of different classes where other's subject votes on row.

        With them come row's votes, other's subject left out, for row's own class and for other's.
        """
        by_subject = np.argsort(self._subjects, kind="stable")
        sizes = np.bincount(self._subjects, minlength=self._n_subjects)
        starts = np.cumsum(sizes) - sizes
        voters = np.where(found.indices >= 0, self._subjects[found.indices], -1)
        parts = []
        for place in range(min(self._k, voters.shape[1])):
            voter = voters[:, place]
            fresh = np.flatnonzero((voter >= 0) & (voters[:, :place] != voter[:, None]).all(axis=1))
            votes = self._votes_without(found, fresh, voters[fresh] == voter[fresh, None])
            count = sizes[voter[fresh]]
            step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
            line = np.repeat(np.arange(len(fresh)), count)
            other = by_subject[np.repeat(starts[voter[fresh]], count) + step]
            differ = self._codes[fresh[line]] != self._codes[other]
            line, other = line[differ], other[differ]
            row = fresh[line]
            parts.append((row, other, votes[line, self._codes[row]], votes[line, self._codes[other]]))
        return tuple(np.concatenate(column) for column in zip(*parts, strict=True))

    def _votes_without(
        self, found: Neighbours, rows: Int[np.ndarray, " r"], left_out: Bool[np.ndarray, "r m"]
    ) -> NDArray[np.float64]:
        """Votes of the k nearest of `rows` that are not left out."""
        keep = np.argsort(left_out, axis=1, kind="stable")[:, : self._k]
        indices, scores = found.indices[rows], np.where(left_out, -np.inf, found.scores[rows])
        return self._vote(np.take_along_axis(indices, keep, axis=1), np.take_along_axis(scores, keep, axis=1))


def _replaced(
    votes: Float[np.ndarray, " p"],
    pairs: Int[np.ndarray, " p"],
    keys: Int[np.ndarray, " a"],
    values: Float[np.ndarray, " a"],
) -> NDArray[np.float64]:
    """`votes`, replaced by `values` in the pairs that are among the sorted `keys`."""
    place = np.minimum(np.searchsorted(keys, pairs), max(len(keys) - 1, 0))
    affected = keys[place] == pairs if len(keys) else np.zeros(len(pairs), dtype=bool)
    votes[affected] = values[place[affected]]
    return votes


def _order(first: Float[np.ndarray, " p"], second: Float[np.ndarray, " p"]) -> NDArray[np.float64]:
    return np.where(first == second, 0.5, first > second)
