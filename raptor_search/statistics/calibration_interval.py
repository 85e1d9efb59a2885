"""The interval of an expected calibration error, which chance makes too large and which cannot be below 0."""

import math
from statistics import NormalDist

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from raptor_search.statistics.classification import Answers, calibration_gaps
from raptor_search.statistics.intervals import LEVEL, Interval, resampled

__all__ = ["calibration_interval"]

SHARE_OF_CHANCE = 0.5
"""Of the square of what chance alone would show, how much is in the square of a measured error. All of it is where the
true gaps are spread over the bins as chance's are, none where they are much larger. (Seeded simulations of 14 other
settings than those of benchmarks/interval_coverage.py, 300 subjects: by a half, intervals hold a true error of 0.001 to
0.29 in 94 to 98%; by all of it in 95 to 99.6%. Where it is about as large as chance's, 99% were seen.)"""


def calibration_interval(answers: Answers, plain: Interval, *, resamples: int, seed: int) -> Interval:
    """The 95% interval of the true calibration error, subjects resampled.

    A measured error is the sum over the bins of how far the mean gap of confidence and right answers is from 0, and
    what chance adds to a gap adds to the sum whichever its sign: the bootstrap of the error adds chance a second
    time. So it is the gaps that are resampled, and what they differ from the measured ones is chance's part. Both
    ends are lowered by it, in squares. Where chance alone shows as much in more than 5% the lower end is 0: no
    two-sided interval of something that is never measured below 0 holds a true 0 in 95%.

    Source: that the bootstrap fails where bins are near 0, Fang and Santos 2019, Review of Economic Studies 86(1).

    Args:
        answers: whose error it is.
        plain: value and interval that stand where no gap varies (everything right, and sure).
        resamples: bootstrap draws.
        seed: of the draws.
    """
    sums = np.zeros((answers.n_subjects, calibration_gaps(answers).shape[1]))
    np.add.at(sums, answers.subjects, calibration_gaps(answers))
    scans = np.bincount(answers.subjects, minlength=answers.n_subjects).astype(np.float64)
    gaps = sums.sum(axis=0) / scans.sum()
    drawn = [(w @ sums) / (w @ scans)[:, None] for w in resampled(answers.n_subjects, resamples, seed)]
    chance = np.concatenate(drawn) - gaps
    # The error's spread as gaps of either sign go, and as it would be were their signs certain.
    spread = max(float(np.std(_error(gaps + chance))), float(np.std(chance @ np.sign(gaps))))
    if spread == 0:
        return plain
    by_chance = _error(chance)
    part = SHARE_OF_CHANCE * float(np.mean(by_chance)) ** 2
    reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * spread
    is_chance = plain.value <= float(np.quantile(by_chance, LEVEL))
    low = 0.0 if is_chance else _root(max(plain.value - reach, 0.0) ** 2 - part)
    high = _root((plain.value + reach) ** 2 - part)
    return Interval(plain.value, min(low, plain.value), min(max(high, plain.value), 1.0))


def _error(gaps: Float[np.ndarray, "b bins"]) -> NDArray[np.float64]:
    errors: NDArray[np.float64] = np.abs(gaps).sum(axis=1)
    return errors


def _root(square: float) -> float:
    return math.sqrt(max(square, 0.0))
