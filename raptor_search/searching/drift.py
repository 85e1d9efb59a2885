"""Whether an index still fits the archive that has grown since it was trained: measured, then said in words.

Adding to an index is cheap and keeps every score; training it again costs minutes and moves the mean that scores are
centred on. So it is done when, and only when, one of these asks for it: the mean of the archive has moved away from the
frozen one, the lists have become uneven, the latest scans are no longer found, or the archive has outgrown its kind
of index.
"""

import re
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from raptor_search.index import default_factory
from raptor_search.searching.tuning import RECALL_TARGET

__all__ = ["GROWTH", "mean_shift", "outgrown", "reasons"]

GROWTH = 1.1
"""Drift is measured when an archive has grown by this factor: a pass over all vectors is not for every scan."""

MOST_SHIFT = 0.1
"""Distance of the means, in units of a scan's own distance from the mean: it moves scores by one or two hundredths."""

MOST_IMBALANCE = 1.5
"""Factor by which lists may become more uneven: a search costs as much more."""

RECALL_SLACK = 0.01
"""What recall on the latest scans may lie below the target: it is a mean over 400 of them."""

MORE_LISTS = 2
"""Factor by which the lists of an archive of this size may outnumber those it has."""


def mean_shift(
    total: Float[np.ndarray, " length"], volumes: int, frozen: Float[np.ndarray, " length"], spread: float
) -> float:
    """How far the archive's mean has moved, in units of a scan's distance from it.

    Args:
        total: sum of all vectors.
        volumes: how many they are.
        frozen: the mean that scores are centred on.
        spread: root mean square of the distances of scans from the frozen mean.
    """
    return float(np.linalg.norm(total / volumes - frozen)) / spread if spread else 0.0


def outgrown(factory: str, volumes: int) -> bool:
    """Whether an archive of this size would be given another kind of index, or many more lists."""
    wanted = default_factory(volumes)
    if re.sub(r"\d+", "", factory) != re.sub(r"\d+", "", wanted):
        return True
    have, want = (int(found[1]) if (found := re.match(r"IVF(\d+)", name)) else 1 for name in (factory, wanted))
    return want >= MORE_LISTS * have


def reasons(drift: Mapping[str, float]) -> list[str]:
    """Why the index ought to be trained again; empty where it fits.

    Args:
        drift: "mean_shift" as above; "imbalance" of the lists over what it was after training; "recall" on the
            latest scans, where the index is asked.
    """
    found = []
    if drift["mean_shift"] > MOST_SHIFT:
        found.append(f"the archive's mean has moved by {drift['mean_shift']:.2f} of a scan's distance from it")
    if drift["imbalance"] > MOST_IMBALANCE:
        found.append(f"its lists have become {drift['imbalance']:.1f} times as uneven")
    if drift.get("recall", 1.0) < RECALL_TARGET - RECALL_SLACK:
        found.append(f"recall on the latest scans is {drift['recall']:.3f}")
    return found
