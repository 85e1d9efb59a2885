"""Figures of predicted numbers, each as a function of how often every subject counts (see `classification`)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

__all__ = ["Predictions", "mean_absolute_error", "r_squared"]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predicted numbers for scans whose number is known.

    Attributes:
        truth: in the label's own unit.
        predicted: in the same unit.
        subjects: of each scan, numbered 0, 1, ...
    """

    truth: Float[np.ndarray, " n"]
    predicted: Float[np.ndarray, " n"]
    subjects: Int[np.ndarray, " n"]

    @property
    def n_subjects(self) -> int:
        """How many subjects there are."""
        return int(self.subjects.max()) + 1


def r_squared(predictions: Predictions, weights: Float[np.ndarray, "b s"]) -> Float[np.ndarray, " b"]:
    """Share of the variance that is explained; below 0 where the mean of the scans would have been nearer."""
    each = weights[:, predictions.subjects]
    total = each.sum(axis=1)
    mean = (each @ predictions.truth) / total
    spread = each @ predictions.truth**2 - total * mean**2
    missed = each @ (predictions.truth - predictions.predicted) ** 2
    figures: NDArray[np.float64] = np.full(len(weights), np.nan)
    # Sums of squares cancel: what is left below this is rounding, and a resample without spread says nothing.
    usable = spread > 1e-9 * np.maximum(total * mean**2, 1e-300)
    np.divide(missed, spread, out=figures, where=usable)
    return 1 - figures


def mean_absolute_error(predictions: Predictions, weights: Float[np.ndarray, "b s"]) -> Float[np.ndarray, " b"]:
    """Mean distance of prediction and truth, in the label's unit."""
    each = weights[:, predictions.subjects]
    error: NDArray[np.float64] = each @ np.abs(predictions.truth - predictions.predicted) / each.sum(axis=1)
    return error
