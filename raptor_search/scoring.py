"""The score: the cosine of two embeddings after subtracting a mean.

Raw Raptor vectors are all alike (cosines of about 0.97), so a mean is subtracted first: what is left is how
two scans differ from the rest. All arithmetic is float32 and each row is computed alone, so that a scan has
the same score to the last bit whichever block it is read in.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float32, Int
from numpy.typing import NDArray

__all__ = ["best", "centred", "scores", "widened"]

CHUNK = 2**18
"""Numbers in work at once: 1 MB, so that they stay in the processor's cache from one step to the next."""

SIGN_AND_VALUE = np.int32(-0x70000001)
"""The bits of a float32 that a shifted float16 fills: all but three of the exponent's."""

EXPONENT_GAP = np.float32(2.0**112)
"""What a float16's bits, read as a float32's, are to be multiplied with: the exponents count from 15 and from 127."""


def widened(values: Float[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """Finite values as float32, always a copy. Exact, and several times faster on float16 than NumPy's own cast."""
    out = np.empty(values.shape, np.float32)
    _widen(values, out)
    return out


def centred(vectors: Float[np.ndarray, "n length"], mean: Float[np.ndarray, " m"]) -> Float32[np.ndarray, "n length"]:
    """Each row minus the mean, at unit length.

    Args:
        vectors: one embedding a row, any float dtype, finite; left as they are.
        mean: what is subtracted; without entries nothing is.

    Returns:
        Rows of norm 1. A row equal to the mean has no direction and is all zeros: its score is 0 with everything.
    """
    out = np.empty(vectors.shape, np.float32)
    for rows in _chunks(vectors):
        out[rows] /= _less(vectors[rows], mean, out[rows])[:, np.newaxis]
    return out


def scores(
    query: Float32[np.ndarray, " length"], vectors: Float[np.ndarray, "n length"], mean: Float[np.ndarray, " m"]
) -> Float32[np.ndarray, " n"]:
    """Score of every row against one query, in [-1, 1].

    Args:
        query: as `centred` gives it.
        vectors: raw embeddings, finite.
        mean: the one the query was centred with.
    """
    products = np.empty(len(vectors), np.float32)
    work: Float32[np.ndarray, "b length"] | None = None
    for rows in _chunks(vectors):
        block = vectors[rows]
        work = np.empty(block.shape, np.float32) if work is None else work[: len(block)]
        norms = _less(block, mean, work)
        # Not a matrix product: BLAS sums in an order that depends on the number of rows, and so does einsum.
        products[rows] = np.vecdot(work, query) / norms
    np.clip(products, -1, 1, out=products)
    return products


def best(ids: Int[np.ndarray, " n"], values: Float[np.ndarray, " n"], k: int) -> NDArray[np.intp]:
    """Positions of the k highest values, highest first; equal ones in the order of their ids."""
    return np.lexsort((ids, -values))[:k]


def _chunks(vectors: Float[np.ndarray, "n length"]) -> Iterator[slice]:
    step = max(1, CHUNK // max(1, vectors.shape[1]))
    return (slice(start, start + step) for start in range(0, len(vectors), step))


def _less(
    vectors: Float[np.ndarray, "n length"], mean: Float[np.ndarray, " m"], out: Float32[np.ndarray, "n length"]
) -> Float32[np.ndarray, " n"]:
    """Write the rows less the mean to `out`; returns their norms, 1 for a row without length."""
    _widen(vectors, out)
    if mean.size:
        out -= mean.astype(np.float32, copy=False)
    norms: Float32[np.ndarray, " n"] = np.sqrt(np.vecdot(out, out))
    norms[norms == 0] = 1
    return norms


def _widen(values: Float[np.ndarray, "..."], out: Float32[np.ndarray, "..."]) -> None:
    if values.dtype != np.float16:
        np.copyto(out, values, casting="same_kind")
        return
    bits = out.view(np.int32)
    np.copyto(bits, values.view(np.int16))  # extends the sign
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, SIGN_AND_VALUE, out=bits)
    np.multiply(out, EXPONENT_GAP, out=out)
