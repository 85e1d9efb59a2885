"""The score: the cosine of two embeddings after subtracting a mean.

Raw Raptor vectors are all alike (cosines of about 0.97), so a mean is subtracted first: what is left is how
two scans differ from the rest. All arithmetic is float32 and each row is computed alone, so that a scan has
the same score to the last bit whichever block it is read in.
"""

import numpy as np
from jaxtyping import Float, Float32, Int
from numpy.typing import NDArray

__all__ = ["best", "centred", "scores"]


def centred(vectors: Float[np.ndarray, "n length"], mean: Float[np.ndarray, " m"]) -> Float32[np.ndarray, "n length"]:
    """Each row minus the mean, at unit length.

    Args:
        vectors: one embedding a row, any float dtype; left as they are.
        mean: what is subtracted; without entries nothing is.

    Returns:
        Rows of norm 1. A row equal to the mean has no direction and is all zeros: its score is 0 with everything.
    """
    rows = vectors.astype(np.float32)
    if mean.size:
        rows -= mean.astype(np.float32, copy=False)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    norms[norms == 0] = 1
    rows /= norms[:, np.newaxis]
    return rows


def scores(
    query: Float32[np.ndarray, " length"], vectors: Float[np.ndarray, "n length"], mean: Float[np.ndarray, " m"]
) -> Float32[np.ndarray, " n"]:
    """Score of every row against one query, in [-1, 1].

    Args:
        query: as `centred` gives it.
        vectors: raw embeddings.
        mean: the one the query was centred with.
    """
    # Not a matrix product: BLAS sums in an order that depends on the number of rows.
    products: Float32[np.ndarray, " n"] = np.einsum("ij,j->i", centred(vectors, mean), query)
    np.clip(products, -1, 1, out=products)
    return products


def best(ids: Int[np.ndarray, " n"], values: Float[np.ndarray, " n"], k: int) -> NDArray[np.intp]:
    """Positions of the k highest values, highest first; equal ones in the order of their ids."""
    return np.lexsort((ids, -values))[:k]
