"""ROC curves whose area is the AUROC that is printed beside them."""

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from raptor_search.statistics.classification import DECIMALS, Answers

__all__ = ["roc_points"]

Curve = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Shares of false alarms, rising, and the lowest and the highest share found at each."""


def roc_points(answers: Answers, code: int) -> Float[np.ndarray, "p 2"]:
    """The ROC curve of one class against the rest: (share of false alarms, share found), from (0, 0) to (1, 1).

    Each scan counts once, ties are slanted lines. Where several models answered, their curves are averaged over the
    share found, at equal shares of false alarms (Fawcett 2006, Pattern Recognition Letters 27(8)), each by its
    number of pairs: so the area is that of `classification.auroc`. No point is on the line between its
    neighbours; there is no point where no stratum holds the class and something else.
    """
    strata = np.zeros(len(answers.codes), np.int64) if answers.strata is None else answers.strata
    curves: list[Curve] = []
    pairs: list[int] = []
    for stratum in np.unique(strata):
        member = answers.codes[strata == stratum] == code
        if member.any() and not member.all():
            curves.append(_curve(np.round(answers.probabilities[strata == stratum, code], DECIMALS), member))
            pairs.append(int(member.sum() * (~member).sum()))
    if not curves:
        return np.empty((0, 2))
    across = np.unique(np.concatenate([x for x, _, _ in curves]))
    low, high = np.zeros(len(across)), np.zeros(len(across))
    for curve, count in zip(curves, pairs, strict=True):
        ends = _ends(curve, across)
        low += ends[0] * count / sum(pairs)
        high += ends[1] * count / sum(pairs)
    points = np.stack([np.repeat(across, 2), np.stack([low, high], axis=1).ravel()], axis=1)
    return _corners(np.clip(points, 0, 1))


def _curve(scores: Float[np.ndarray, " n"], member: Bool[np.ndarray, " n"]) -> Curve:
    levels, level = np.unique(-scores, return_inverse=True)
    alarms = np.concatenate([[0], np.cumsum(np.bincount(level[~member], minlength=len(levels)))])
    found = np.concatenate([[0], np.cumsum(np.bincount(level[member], minlength=len(levels)))])
    across, first = np.unique(alarms, return_index=True)
    last = np.append(first[1:], len(alarms)) - 1
    # One division of whole numbers each, so that equal shares of two strata are equal to the last digit.
    return across / (~member).sum(), found[first] / member.sum(), found[last] / member.sum()


def _ends(curve: Curve, across: Float[np.ndarray, " x"]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The lowest and the highest share found at each share of false alarms; equal between the curve's own."""
    x, low, high = curve
    at = np.searchsorted(x, across, side="right") - 1
    after = np.minimum(at + 1, len(x) - 1)
    width = np.where(after > at, x[after] - x[at], 1.0)
    between = high[at] + (low[after] - high[at]) * (across - x[at]) / width
    own = x[at] == across
    return np.where(own, low[at], between), np.where(own, high[at], between)


def _corners(points: Float[np.ndarray, "p 2"]) -> NDArray[np.float64]:
    """The points without repeats and without those on the line between their neighbours."""
    points = points[np.append(True, (np.diff(points, axis=0) != 0).any(axis=1))]
    step = np.diff(points, axis=0)
    turns = np.abs(step[:-1, 0] * step[1:, 1] - step[:-1, 1] * step[1:, 0]) > 10.0**-DECIMALS * step[:-1].max(axis=1)
    corners: NDArray[np.float64] = points[np.concatenate([[True], turns, [True]])]
    return corners
