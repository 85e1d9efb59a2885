"""How alike unrelated scans are in this archive: what a score is to be read against.

A score of 0.4 is much in one archive and little in another. So the scores of many pairs of different patients are
kept as quantiles, and a hit says how many of those pairs it surpasses.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32
from numpy.typing import NDArray

__all__ = ["background_quantiles", "least_percentile", "not_standing_out", "percentiles"]

NOTHING_SIMILAR = 95.0
"""Percentile of the background below which even the best hit is nothing similar: of twenty unrelated pairs, one is as
alike."""

CHANCE = 0.05
"""How often, at most, the best of few unrelated scans may be below the percentile that is asked of a best hit."""

QUANTILES = 1001
"""A tenth of a percentile each."""

PERCENTS = np.linspace(0, 100, QUANTILES)

FEWEST_PAIRS = 100
"""Pairs below which a percentile would be a guess."""


def background_quantiles(
    centred: Float32[np.ndarray, "n length"], owners: Sequence[str | None], contents: Sequence[str | None]
) -> Float32[np.ndarray, " q"]:
    """Quantiles of the scores between scans of different patients, rising; empty where there are too few pairs.

    Args:
        centred: unit vectors of a sample of the archive.
        owners: the patient of each; a scan without one counts as a patient of its own.
        contents: what tells equal bytes; they make no pair.
    """
    products = centred @ centred.T
    first, second = np.triu_indices(len(centred), 1)
    patients = np.array([owner or f"scan {row}" for row, owner in enumerate(owners)])
    bytes_of = np.array([content or f"scan {row}" for row, content in enumerate(contents)])
    unrelated = (patients[first] != patients[second]) & (bytes_of[first] != bytes_of[second])
    scores = products[first[unrelated], second[unrelated]]
    if scores.size < FEWEST_PAIRS:
        return np.empty(0, np.float32)
    quantiles: NDArray[np.floating] = np.quantile(np.clip(scores, -1, 1), np.linspace(0, 1, QUANTILES))
    return quantiles.astype(np.float32)


def least_percentile(scans: int) -> float:
    """The percentile of the background below which the best of so many scans does not stand out.

    The best of n unrelated scans, were they independent, would be below percentile p with a chance of (p / 100)^n:
    of few scans no more is asked than what all but `CHANCE` of such bests reach, or an ordinary scan of a small
    archive of one kind would be said to be like nothing in it.
    """
    return min(NOTHING_SIMILAR, 100 * math.pow(CHANCE, 1 / max(scans, 1)))


def not_standing_out(score: float, percentile: float | None, scans: int) -> str | None:
    """What is to be said of a best hit that is no more alike than unrelated scans are; None where it stands out.

    Args:
        score: of the best hit.
        percentile: likewise; None where it is not known.
        scans: among which it is the best.
    """
    if percentile is None or percentile >= least_percentile(scans):
        return None
    return (
        f"no hit stands out: {100 - percentile:.0f}% of the pairs of different patients in this archive are more alike "
        f"than the query and the first hit (score {score:.2f}); where all scans are of one kind, it may be of that kind"
    )


def percentiles(scores: Sequence[float], quantiles: Float[np.ndarray, " q"]) -> list[float | None]:
    """The share of the background, in percent, that lies below each score; None where there is no background."""
    if not quantiles.size:
        return [None] * len(scores)
    percents = PERCENTS if quantiles.size == QUANTILES else np.linspace(0, 100, quantiles.size)
    return list(map(float, np.interp(scores, quantiles, percents)))
