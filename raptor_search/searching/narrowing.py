"""From a sketch to the 128 numbers that an index of middling size holds: fewer bytes to pass over, and less noise.

The distances of a large archive are mostly those along few directions, its principal ones; a sketch blurs these with
all the others that it has room for. The numbers are the sketch's principal coordinates, turned and scaled by a
regression on pairs of scans whose true scores are known, so that their inner products tell the scores as well as
linear coordinates can. What is lost by it is measured, as all that an index loses, by the sweep of its settings.
"""

import numpy as np
from jaxtyping import Float32

__all__ = ["NARROW", "PAIRED", "narrowing"]

NARROW = 128
"""Numbers that are left of 1,024."""

PAIRED = (1_024, 3_072)
"""Scans whose scores with one another are regressed on: each of the first with each of the second."""


def narrowing(
    one: Float32[np.ndarray, "m dim"], other: Float32[np.ndarray, "n dim"], scores: Float32[np.ndarray, "n m"]
) -> Float32[np.ndarray, "narrow dim"]:
    """The map from unit sketches to fewer numbers, to be applied to both sides of an inner product.

    Args:
        one: unit sketches of some scans.
        other: of other scans.
        scores: the true score of each of the others with each of the first.
    """
    both = np.concatenate([one, other]).astype(np.float64)
    directions = np.linalg.eigh(both.T @ both)[1][:, ::-1][:, :NARROW]
    x, y = one @ directions, other @ directions
    # The matrix between the coordinates of two scans by which their score is least wrong; both orders of a pair count.
    between = np.linalg.lstsq(y, scores @ np.linalg.pinv(x.T), rcond=None)[0]
    values, turns = np.linalg.eigh((between + between.T) / 2)
    root = turns * np.sqrt(np.maximum(values, 0)) @ turns.T
    return np.ascontiguousarray(root @ directions.T, np.float32)
