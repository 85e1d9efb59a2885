"""Figures of class probabilities, each as a function of how often every subject counts.

One function gives the figure and all its resamples: (resamples, subjects) weights in, (resamples, ...) figures
out, NaN where a resample leaves a figure undefined. Equal to scikit-learn's where every weight is 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

__all__ = [
    "Answers",
    "accuracy",
    "aupr",
    "auroc",
    "balanced_accuracy",
    "brier",
    "calibration_error",
    "calibration_gaps",
    "confusion",
    "defined_mean",
    "reliability",
]

BINS = 15
"""Equal-width bins of the expected calibration error (Guo et al. 2017, ICML)."""

DECIMALS = 9
"""Probabilities that agree to this many decimals are equal: sums in another order differ in the last digits."""

Weights = Float[np.ndarray, "b s"]

_Count = Callable[[NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]
"""From what each level of probability holds of a class and of the rest, (resamples, levels) lowest first, to the
numerator and the denominator of a figure."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Probabilities for scans whose class is known.

    Attributes:
        codes: the true class of each scan.
        probabilities: of each class, rows that sum to 1.
        subjects: of each scan, numbered 0, 1, ...
        strata: which model answered each scan. Probabilities of two models are on two scales, so that AUROC and
            AUPR compare scans of one stratum only; None where one model answered all.
    """

    codes: Int[np.ndarray, " n"]
    probabilities: Float[np.ndarray, "n c"]
    subjects: Int[np.ndarray, " n"]
    strata: Int[np.ndarray, " n"] | None = None

    @property
    def n_subjects(self) -> int:
        """How many subjects there are."""
        return int(self.subjects.max()) + 1

    @property
    def chosen(self) -> Int[np.ndarray, " n"]:
        """The class with the highest probability, the first of equal ones."""
        answers: NDArray[np.int64] = np.round(self.probabilities, DECIMALS).argmax(axis=1)
        return answers

    def weigh(self, weights: Weights) -> NDArray[np.float64]:
        """How often each scan counts."""
        return np.asarray(weights[:, self.subjects], dtype=np.float64)


def auroc(answers: Answers, weights: Weights) -> Float[np.ndarray, "b c"]:
    """Area under the ROC curve of each class against the rest; ties count one half."""
    right, pairs = _per_class(answers, weights, _ordered_pairs)
    return _divide(right, pairs)


def aupr(answers: Answers, weights: Weights) -> Float[np.ndarray, "b c"]:
    """Average precision of each class: the mean over its scans of the precision at their rank."""
    total, count = _per_class(answers, weights, _precisions)
    return _divide(total, count)


def accuracy(answers: Answers, weights: Weights) -> Float[np.ndarray, " b"]:
    """Share of scans whose most probable class is right."""
    each = answers.weigh(weights)
    return _divide(each @ (answers.chosen == answers.codes).astype(float), each.sum(axis=1))


def balanced_accuracy(answers: Answers, weights: Weights) -> Float[np.ndarray, " b"]:
    """Mean over the classes of the share of their scans that is answered rightly."""
    each = answers.weigh(weights)
    member = np.eye(answers.probabilities.shape[1])[answers.codes]
    right = member * (answers.chosen == answers.codes)[:, None]
    return defined_mean(_divide(each @ right, each @ member))


def brier(answers: Answers, weights: Weights) -> Float[np.ndarray, " b"]:
    """Half the squared distance of the probabilities from the truth: 0 to 1, the lower the better.

    The half makes it the usual score of two classes (Brier 1950, Monthly Weather Review 78, has no half).
    """
    each = answers.weigh(weights)
    truth = np.eye(answers.probabilities.shape[1])[answers.codes]
    return _divide(each @ (((answers.probabilities - truth) ** 2).sum(axis=1) / 2), each.sum(axis=1))


def calibration_error(answers: Answers, weights: Weights) -> Float[np.ndarray, " b"]:
    """Expected calibration error: how far confidence and share of right answers part, mean over bins of confidence.

    It is above 0 by chance even for perfect probabilities, the more so the fewer scans there are.
    """
    each = answers.weigh(weights)
    return _divide(np.abs(each @ calibration_gaps(answers)).sum(axis=1), each.sum(axis=1))


def calibration_gaps(answers: Answers) -> Float[np.ndarray, "n bins"]:
    """Confidence less 1 where the answer is right, in the bin of the confidence; 0 in the others."""
    confidence, right = _confidence(answers)
    gaps = np.zeros((len(answers.codes), BINS))
    gaps[np.arange(len(gaps)), _bins(confidence)] = confidence - right
    return gaps


def reliability(answers: Answers) -> list[tuple[int, float, float]]:
    """For each bin of confidence that holds scans: how many, their mean confidence, their share of right answers."""
    confidence, right = _confidence(answers)
    bins = _bins(confidence)
    filled = [bins == number for number in range(BINS) if (bins == number).any()]
    return [(int(rows.sum()), float(confidence[rows].mean()), float(right[rows].mean())) for rows in filled]


def confusion(answers: Answers) -> Int[np.ndarray, "c c"]:
    """Scans by true class (rows) and answer (columns)."""
    classes = answers.probabilities.shape[1]
    table = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(table, (answers.codes, answers.chosen), 1)
    return table


def defined_mean(figures: Float[np.ndarray, "b c"]) -> Float[np.ndarray, " b"]:
    """Mean over the classes that are defined; NaN where none is."""
    defined = np.isfinite(figures)
    return _divide(np.where(defined, figures, 0.0).sum(axis=1), defined.sum(axis=1).astype(float))


def _confidence(answers: Answers) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    best = answers.probabilities[np.arange(len(answers.codes)), answers.chosen]
    return best, (answers.chosen == answers.codes).astype(float)


def _bins(confidence: Float[np.ndarray, " n"]) -> NDArray[np.int64]:
    bins: NDArray[np.int64] = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return bins


def _per_class(answers: Answers, weights: Weights, count: _Count) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Numerators and denominators of a figure by class, summed over the strata."""
    each = answers.weigh(weights)
    strata = np.zeros(len(answers.codes), np.int64) if answers.strata is None else answers.strata
    classes = answers.probabilities.shape[1]
    above, below = np.zeros((len(weights), classes)), np.zeros((len(weights), classes))
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        for code in range(classes):
            levels, level = np.unique(np.round(answers.probabilities[rows, code], DECIMALS), return_inverse=True)
            order = np.argsort(level, kind="stable")
            starts = np.searchsorted(level[order], np.arange(len(levels)))
            part = each[:, rows[order]]
            member = answers.codes[rows[order]] == code
            inside = np.add.reduceat(part * member, starts, axis=1)
            outside = np.add.reduceat(part * ~member, starts, axis=1)
            top, bottom = count(inside, outside)
            above[:, code] += top
            below[:, code] += bottom
    return above, below


def _ordered_pairs(
    inside: Float[np.ndarray, "b l"], outside: Float[np.ndarray, "b l"]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    lower = np.cumsum(outside, axis=1) - outside / 2
    return (inside * lower).sum(axis=1), inside.sum(axis=1) * outside.sum(axis=1)


def _precisions(
    inside: Float[np.ndarray, "b l"], outside: Float[np.ndarray, "b l"]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    hits = np.cumsum(inside[:, ::-1], axis=1)
    found = hits + np.cumsum(outside[:, ::-1], axis=1)
    return (inside[:, ::-1] * _divide(hits, found, 0.0)).sum(axis=1), inside.sum(axis=1)


def _divide(top: NDArray[np.float64], bottom: NDArray[np.float64], empty: float = np.nan) -> NDArray[np.float64]:
    out = np.full(top.shape, empty)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out
