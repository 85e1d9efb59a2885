"""Confidence intervals by resampling subjects, not scans: scans of one subject are no independent evidence."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.sparse import csr_array

__all__ = ["ROUGH_BELOW", "Interval", "Statistic", "subject_intervals"]

Statistic = Callable[[Float[np.ndarray, "b s"]], Float[np.ndarray, "b f"]]
"""Figures as functions of how often each subject counts: (resamples, subjects) -> (resamples, figures).

A figure that a resample leaves undefined is NaN."""

LEVEL = 0.95

ROUGH_BELOW = 100
"""Subjects below which a bootstrap interval may miss its nominal coverage by more than about 2%."""

NORMAL = NormalDist()

CHUNK = 2**21
"""Weights drawn at a time, which bounds the memory."""


@dataclass(frozen=True)
class Interval:
    """A figure with the ends of its 95% interval."""

    value: float
    low: float
    high: float


def subject_intervals(
    statistic: Statistic,
    subjects: int,
    *,
    evidence: Sequence[int],
    linked: csr_array | None = None,
    resamples: int,
    seed: int,
) -> tuple[Interval, ...]:
    """Bias-corrected and accelerated (BCa) intervals of figures between 0 and 1, by resampling subjects.

    Sources: Efron 1987, JASA 82(397); for clusters, Field and Welsh 2007, JRSS B 69(3).

    Subjects that vote on each other are right or wrong together, which resampling cannot see: intervals
    that take no notice of it are too short by a fifth to a half. The spread is therefore stretched to the
    one that counts the covariances of linked subjects too (Kojevnikov, Marmer and Song 2021, Journal of
    Econometrics 222(2)), never below the bootstrap's own.

    Where no resample differs from the figure (everything right, or wrong) the bootstrap is blind; the end
    that is open is then the exact bound of Clopper and Pearson for `evidence` subjects.

    Args:
        statistic: the figures.
        subjects: how many there are.
        evidence: for each figure, the subjects it rests on, for the exact bound.
        linked: (subjects, subjects), symmetric, 1 where two different subjects are linked.
        resamples: bootstrap draws.
        seed: of the draws.
    """
    values = statistic(np.ones((1, subjects)))[0].tolist()
    draws = np.concatenate([statistic(weights) for weights in _bootstrap(subjects, resamples, seed)])
    left_out = np.concatenate([statistic(weights) for weights in _jackknife(subjects)])
    # What each subject adds to a figure; one whose absence leaves it undefined says nothing.
    influence = np.nan_to_num(np.nanmean(left_out, axis=0) - left_out)
    return tuple(
        _bca(value, draws[:, f], influence[:, f], _stretch(influence[:, f], linked), evidence[f])
        for f, value in enumerate(values)
    )


def _bootstrap(subjects: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK // subjects)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        yield rng.multinomial(subjects, np.full(subjects, 1 / subjects), size=size).astype(np.float64)


def _jackknife(subjects: int) -> Iterator[NDArray[np.float64]]:
    step = max(1, CHUNK // subjects)
    for start in range(0, subjects, step):
        left_out = np.arange(start, min(start + step, subjects))
        yield (np.arange(subjects) != left_out[:, None]).astype(np.float64)


def _stretch(influence: Float[np.ndarray, " s"], linked: csr_array | None) -> float:
    """How much wider the figure spreads than if no subjects were linked."""
    alone = float(influence @ influence)
    if linked is None or alone == 0:
        return 1.0
    return float(np.sqrt(max(1.0, 1 + float(influence @ (linked @ influence)) / alone)))


def _bca(
    value: float,
    draws: Float[np.ndarray, " b"],
    influence: Float[np.ndarray, " s"],
    stretch: float,
    evidence: int,
) -> Interval:
    draws = draws[np.isfinite(draws)]
    tail = (1 - LEVEL) / 2
    # Sums in another order differ in the last digits, and a tie must stay one.
    ahead = np.round(draws - value, 12)
    if not ahead.any():
        bound = tail ** (1 / evidence)
        low, high = (bound, value) if value > 0.5 else (value, 1 - bound)
        return Interval(value, min(low, value), max(high, value))
    below = float(np.mean(ahead < 0) + np.mean(ahead == 0) / 2)
    bias = NORMAL.inv_cdf(min(max(below, 1 / (len(draws) + 1)), 1 - 1 / (len(draws) + 1)))
    spread = float(influence @ influence)
    acceleration = float(np.sum(influence**3)) / (6 * spread**1.5) if spread > 0 else 0.0
    low, high = (
        float(np.quantile(draws, NORMAL.cdf(bias + _accelerated(bias + stretch * z, acceleration))))
        for z in (NORMAL.inv_cdf(tail), NORMAL.inv_cdf(1 - tail))
    )
    return Interval(value, low, high)


def _accelerated(z: float, acceleration: float) -> float:
    return z / (1 - acceleration * z) if acceleration * z < 1 else math.copysign(math.inf, z)
