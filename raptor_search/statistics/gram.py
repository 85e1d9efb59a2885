"""Inner products of all scans: what every centred score and every linear model on long vectors can be had from.

An embedding has 76,800 numbers and a labelled set a few thousand scans: centring on any part of them, cosines,
and a ridge or logistic regression with an L2 penalty depend on inner products alone, so that the long vectors
are read once however many folds, penalties and resamples follow.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Real
from numpy.typing import NDArray
from scipy.linalg import eigh

__all__ = ["Features", "Gram"]

BLOCK_BYTES = 2**27
"""Size of the float32 blocks that vectors are widened to."""

NO_LENGTH = 1e-6
"""A squared norm below this share of the largest is float32 rounding: the vector is the mean itself and scores 0."""

NO_AXIS = 1e-9
"""An axis with less than this share of the largest variance is rounding."""

MAX_AXES = 2000
"""Principal axes that a linear model gets; fewer scans than that to train on lose nothing."""

Rows = Int[np.ndarray, " r"]


@dataclass(frozen=True, eq=False)
class Features:
    """Rows for a linear model, the same up to a rotation as the centred vectors, at a mean squared length of 1.

    Attributes:
        train: a row a training scan.
        queries: a row a query, on the same axes.
    """

    train: Float[np.ndarray, "t a"]
    queries: Float[np.ndarray, "q a"]


class Gram:
    """Inner products of vectors, from which scores centred on any part of them follow."""

    def __init__(self, vectors: Real[np.ndarray, "n d"], *, is_centred: bool = True) -> None:
        """Take the products of all pairs.

        Args:
            vectors: one embedding a scan, any real dtype.
            is_centred: whether scores and features are centred on the mean of the training part; False leaves
                the vectors as they are, to measure what centring is worth.
        """
        self.is_centred = is_centred
        # Centring later undoes this shift; products near zero keep more of float32's digits.
        shift = vectors.mean(axis=0, dtype=np.float64).astype(np.float32) if is_centred else np.float32(0)
        step = max(1, BLOCK_BYTES // (4 * vectors.shape[1]))
        products = np.empty((len(vectors), len(vectors)))
        for start in range(0, len(vectors), step):
            block = vectors[start : start + step].astype(np.float32) - shift
            for other in range(0, start + 1, step):
                rest = block if other == start else vectors[other : other + step].astype(np.float32) - shift
                part = block @ rest.T
                products[start : start + len(block), other : other + len(rest)] = part
                products[other : other + len(rest), start : start + len(block)] = part.T
        self._products = products

    def __len__(self) -> int:
        return len(self._products)

    def cosines(self, queries: Rows, train: Rows) -> Float[np.ndarray, "q t"]:
        """Scores of queries against training scans, both centred on the training scans' mean alone."""
        products, own, lengths = self._centred(queries, train)
        largest = lengths.max()
        return products * _inverse_root(own, largest)[:, None] * _inverse_root(lengths, largest)

    def features(self, train: Rows, queries: Rows) -> Features:
        """Centred vectors on the principal axes of the training scans.

        An L2-penalised linear model has its weights within the span of the training scans, so that nothing is lost
        (Scholkopf, Herbrich and Smola 2001, "A generalized representer theorem").
        """
        inner, _, lengths = self._centred(train, train)
        scale = max(float(lengths.mean()), np.finfo(float).tiny)
        first = max(0, len(train) - MAX_AXES)
        variances, axes = eigh(inner / scale, subset_by_index=(first, len(train) - 1))
        kept = variances > NO_AXIS * max(float(variances[-1]), np.finfo(float).tiny)
        axes, roots = axes[:, kept], np.sqrt(variances[kept])
        across = self._centred(queries, train)[0] / scale
        return Features(axes * roots, across @ axes / roots)

    def _centred(
        self, queries: Rows, train: Rows
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Products of queries with training scans, and the squared lengths of both."""
        products = self._products[np.ix_(queries, train)]
        own, lengths = self._products[queries, queries], self._products[train, train]
        if not self.is_centred:
            return products, own, lengths
        to_mean = self._products[np.ix_(train, train)].mean(axis=1)
        mean = to_mean.mean()
        queries_to_mean = products.mean(axis=1)
        return (
            products - queries_to_mean[:, None] - to_mean + mean,
            own - 2 * queries_to_mean + mean,
            lengths - 2 * to_mean + mean,
        )


def _inverse_root(squared: Float[np.ndarray, " n"], largest: float) -> NDArray[np.float64]:
    usable = squared > NO_LENGTH * largest
    return np.where(usable, 1 / np.sqrt(np.where(usable, squared, 1.0)), 0.0)
