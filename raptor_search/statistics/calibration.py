"""From shares of votes to probabilities that mean what they say."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.optimize import minimize

__all__ = ["Calibration", "calibrate"]

START = (0.0, -2.0)
"""Log of the sharpness 1, and a prior's share of about 0.12."""

BOUNDS = ((-3.0, 3.0), (-6.0, 4.0))
"""Sharpness from 0.05 to 20; the prior's share from 0.002 to 0.98."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Shares mixed with the classes' frequencies, then sharpened or flattened.

    Attributes:
        sharpness: exponent of the mixed shares; below 1 it flattens.
        prior_share: of the classes' frequencies in the mixture, 0 to 1: never all of it goes to the voters' classes.
        prior: the classes' frequencies among the training subjects.
    """

    sharpness: float
    prior_share: float
    prior: Float[np.ndarray, " c"]

    def __call__(self, shares: Float[np.ndarray, "q c"]) -> NDArray[np.float64]:
        """Probabilities, rows that sum to 1. A row without votes gives the classes' frequencies."""
        mixed = np.where(
            shares.sum(axis=1, keepdims=True) > 0,
            (1 - self.prior_share) * shares + self.prior_share * self.prior,
            self.prior,
        )
        logits = self.sharpness * np.log(mixed)
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
        return probabilities


def calibrate(
    shares: Float[np.ndarray, "n c"], codes: Int[np.ndarray, " n"], subjects: Int[np.ndarray, " n"]
) -> Calibration:
    """The calibration with the least log loss on held-out answers, each subject counting once.

    Temperature scaling (Guo et al. 2017, ICML) of the votes after mixing in a prior, so that a class nobody voted
    for keeps a chance; two numbers, so that few subjects suffice.

    Args:
        shares: votes on scans whose subject did not vote.
        codes: their true classes.
        subjects: of each scan.
    """
    weights = 1 / np.bincount(subjects)[subjects]
    weights /= weights.sum()
    counts = np.bincount(codes, weights=weights, minlength=shares.shape[1])
    # One subject more of every class: a class of the label that is missing here is not impossible.
    people = len(np.unique(subjects))
    prior = (counts * people + 1) / (people + shares.shape[1])

    def at(values: NDArray[np.float64]) -> Calibration:
        return Calibration(float(np.exp(values[0])), float(1 / (1 + np.exp(-values[1]))), prior)

    def loss(values: NDArray[np.float64]) -> float:
        return float(-(weights @ np.log(at(values)(shares)[np.arange(len(codes)), codes])))

    found = minimize(loss, np.array(START), method="L-BFGS-B", bounds=BOUNDS)
    return at(found.x)
