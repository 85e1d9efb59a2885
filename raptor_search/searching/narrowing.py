"""From the first components of an embedding to the 128 numbers that an index holds: fewer bytes to pass over than a
sketch has, and less noise.

The distances of a large archive are mostly those along few directions, its principal ones; a sketch blurs these with
all the others that it has room for. The numbers are the principal coordinates, turned and scaled by a regression on
pairs of scans whose true scores are known, so that their inner products tell the scores as well as linear coordinates
can. What is lost by it is measured, as all that an index loses, by the sweep of its settings.
"""

import numpy as np
from jaxtyping import Float32

__all__ = ["NARROW", "PAIRED", "narrowing"]

NARROW = 128
"""Numbers that are left of some thousand."""

PAIRED = (1_024, 3_072)
"""Scans whose scores with one another are regressed on: each of the first with each of the second."""

SPARE = 32
"""Directions that are followed beyond those that are kept: the last of these come out more exactly."""

ROUNDS = 8
"""Times that the directions are turned towards the principal ones."""


def narrowing(
    one: Float32[np.ndarray, "m dim"], other: Float32[np.ndarray, "n dim"], scores: Float32[np.ndarray, "n m"]
) -> Float32[np.ndarray, "narrow dim"]:
    """The map to `NARROW` numbers (fewer where there are fewer to begin with), for both sides of an inner product.

    Args:
        one: what is mapped of some scans, centred and of norm 1.
        other: of other scans.
        scores: the true score of each of the others with each of the first.
    """
    directions = _principal(np.concatenate([one, other]))
    x, y = (one @ directions).astype(np.float64), (other @ directions).astype(np.float64)
    # The matrix between the coordinates of two scans by which their score is least wrong; both orders of a pair count.
    between = np.linalg.lstsq(y, scores @ np.linalg.pinv(x.T), rcond=None)[0]
    values, turns = np.linalg.eigh((between + between.T) / 2)
    root = turns * np.sqrt(np.maximum(values, 0)) @ turns.T
    return np.ascontiguousarray(root @ directions.T, np.float32)


def _principal(rows: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "dim narrow"]:
    """The directions along which the rows are longest, orthonormal.

    Source: the subspace iteration of Halko, Martinsson and Tropp, "Finding structure with randomness", SIAM Review 53
    (2011), algorithm 4.4; the start is drawn with a fixed seed.
    """
    width = min(NARROW + SPARE, *rows.shape)
    basis = np.random.default_rng(0).standard_normal((rows.shape[1], width), dtype=np.float32)
    for _ in range(ROUNDS):
        basis = np.linalg.qr(rows.T @ (rows @ np.linalg.qr(basis)[0]))[0]
    seen = (rows @ basis).astype(np.float64)
    turns = np.linalg.eigh(seen.T @ seen)[1][:, ::-1][:, :NARROW]
    found: Float32[np.ndarray, "dim narrow"] = (basis @ turns).astype(np.float32)
    return found
