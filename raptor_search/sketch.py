"""The short vector that the index holds: a seeded sparse-sign projection of an embedding to 1,024 numbers.

It is linear, so the sketch of a centred vector is the sketch of the vector minus that of the mean. NumPy and SciPy
only: search does not import torch.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy import sparse

__all__ = ["SKETCH_LENGTH", "sketch"]

SKETCH_LENGTH = 1024
"""Numbers in a sketch: a squared distance keeps a relative sd of sqrt(2/1024) = 4.4 %."""

NONZEROS = 8
"""Entries that each coordinate of the embedding touches; more cost time and hardly lower the distortion."""

MAX_BLOCK = 256
"""Vectors cast and multiplied at once, so that a large archive needs no float32 copy of itself."""


def sketch(vectors: Float[np.ndarray, "n length"], *, seed: int = 0) -> Float[np.ndarray, "n 1024"]:
    """Sketches of embeddings, float32; inner products are kept in expectation.

    Source: Kane and Nelson, "Sparser Johnson-Lindenstrauss transforms", J. ACM 61 (2014): the block construction,
    one sign at a random place in each of `NONZEROS` blocks, scaled by 1 / sqrt(NONZEROS).
    """
    matrix = _sparse_signs(vectors.shape[1], seed)
    out = np.empty((len(vectors), SKETCH_LENGTH), np.float32)
    for start in range(0, len(vectors), MAX_BLOCK):
        block = vectors[start : start + MAX_BLOCK].astype(np.float32, copy=False)
        out[start : start + MAX_BLOCK] = (matrix @ block.T).T
    return out


@lru_cache(maxsize=4)
def _sparse_signs(length: int, seed: int) -> sparse.csr_array:
    stream = np.random.RandomState(seed)  # the legacy generator's stream is frozen; Generator's is not
    width = SKETCH_LENGTH // NONZEROS
    rows = stream.randint(0, width, size=(length, NONZEROS)) + width * np.arange(NONZEROS)
    signs = (2 * stream.randint(0, 2, size=(length, NONZEROS)) - 1) / np.sqrt(NONZEROS)
    columns = np.repeat(np.arange(length), NONZEROS)
    entries = (signs.ravel().astype(np.float32), (rows.ravel(), columns))
    return sparse.csr_array(sparse.coo_array(entries, shape=(SKETCH_LENGTH, length)))
