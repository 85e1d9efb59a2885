"""Prediction sets that hold the truth as often as they say, for a new scan of a new subject.

Split conformal prediction (Vovk, Gammerman and Shafer 2005) with whole subjects as the exchangeable unit: each
calibrating subject has one vote, spread over its scans (Lee, Barber and Willett 2023, arXiv 2306.06342, HCP).
The guarantee is an average over new subjects, not one for each class or site.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

__all__ = ["LEVELS", "ConformalSets", "conformal_quantile", "conformal_sets"]

LEVELS = (0.8, 0.9, 0.95)
"""Coverages that an evaluation reports."""

TIE_BREAK = 1e-6
"""Weight of the tie-break: unanimous votes give equal probabilities, and ties would make the sets cover too much."""


@dataclass(frozen=True)
class ConformalSets:
    """Sets at one coverage.

    Attributes:
        coverage: how often the truth shall be in the set.
        threshold: classes with at most this nonconformity are in; infinite where too few subjects calibrate.
        subjects: that calibrated.
    """

    coverage: float
    threshold: float
    subjects: int

    @property
    def is_informative(self) -> bool:
        """Whether enough subjects calibrated; else every class is in every set."""
        return bool(np.isfinite(self.threshold))

    def sets(
        self, probabilities: Float[np.ndarray, "q c"], ties: Float[np.ndarray, "q c"] | None = None
    ) -> Bool[np.ndarray, "q c"]:
        """Whether each class is in the set of each query; a set may be empty where no class is likely enough."""
        return np.asarray(nonconformity(probabilities, ties) <= self.threshold)


def conformal_sets(
    probabilities: Float[np.ndarray, "n c"],
    codes: Int[np.ndarray, " n"],
    subjects: Int[np.ndarray, " n"],
    *,
    coverage: float,
    ties: Float[np.ndarray, "n c"] | None = None,
) -> ConformalSets:
    """Calibrate sets on subjects that neither trained the model nor chose its settings.

    Args:
        probabilities: the model's, for the calibrating scans.
        codes: their true classes.
        subjects: of each scan.
        coverage: between 0 and 1.
        ties: a number in [-1, 1] that orders equal probabilities, such as the score of the nearest voter of the class.

    Raises:
        ValueError: a coverage that is not between 0 and 1.
    """
    each = nonconformity(probabilities, ties)[np.arange(len(codes)), codes]
    threshold = conformal_quantile(each, subjects, coverage)
    return ConformalSets(coverage, threshold, len(np.unique(subjects)))


def conformal_quantile(scores: Float[np.ndarray, " n"], subjects: Int[np.ndarray, " n"], coverage: float) -> float:
    """The least score that a share `coverage` of subjects stays at or below, a new subject counted as above all.

    Infinite where the subjects are too few: below coverage / (1 - coverage).

    Raises:
        ValueError: a coverage that is not between 0 and 1.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"coverage {coverage}; expected between 0 and 1")
    if not len(scores):
        return float("inf")
    numbers = np.unique(subjects, return_inverse=True)[1]
    weights = 1 / np.bincount(numbers)[numbers]
    order = np.argsort(scores, kind="stable")
    mass = np.cumsum(weights[order]) / (numbers.max() + 2)
    # Sums of thirds and fifths miss their value in the last digits.
    place = int(np.searchsorted(mass, coverage - 1e-12))
    return float(scores[order[place]]) if place < len(order) else float("inf")


def nonconformity(
    probabilities: Float[np.ndarray, "q c"], ties: Float[np.ndarray, "q c"] | None = None
) -> NDArray[np.float64]:
    """How ill each class fits: 1 less its probability (Sadinle, Lei and Wasserman 2019, JASA 114), ties broken."""
    return 1 - probabilities - (0.0 if ties is None else TIE_BREAK * ties)
