"""The random projection of Raptor: a Gaussian matrix out of a frozen stream of numbers, and its use on mean tokens.

NumPy only, so that a reference mean can be projected where torch is not imported.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float

from raptor_search.errors import SpecError
from raptor_search.specs import EmbeddingSpec

__all__ = ["gaussian_matrix", "project", "reproject"]


def gaussian_matrix(d: int, spec: EmbeddingSpec) -> Float[np.ndarray, "d kept"]:
    """The matrix R of a spec for tokens of `d` numbers: float32, read-only.

    Drawn as the published script draws it, `np.random.seed(seed); np.random.randn(d, K)`: NumPy guarantees that this
    legacy stream never changes. With scale "1/K" the entries have variance 1/K, K being the columns drawn, so the
    first k of K kept components are the first k of the full embedding.

    Source: An et al., "Raptor", ICML 2025, section 3; Johnson-Lindenstrauss with N(0, 1/K).
    """
    return _matrix(d, spec.components_drawn, spec.components_kept, spec.seed, spec.recipe.scale)


def project(
    means: Float[np.ndarray, "plane token d"], matrix: Float[np.ndarray, "d k"]
) -> Float[np.ndarray, "plane k token"]:
    """Mean tokens times R, in the published order [plane, k, token]; float32, computed in float64."""
    projected = means.astype(np.float64) @ matrix.astype(np.float64)
    return np.ascontiguousarray(projected.transpose(0, 2, 1), dtype=np.float32)


def reproject(tokens: Float[np.ndarray, "plane token d"], spec: EmbeddingSpec) -> Float[np.ndarray, "plane k token"]:
    """The values of an embedding under another K, seed or scale, from the mean tokens that were kept of it.

    Args:
        tokens: `Embedding.tokens`, made under a spec that differs from `spec` in what follows the mean only.
        spec: the new one.

    Raises:
        SpecError: where the tokens are of another grid or token set.
    """
    planes, number, dim = tokens.shape
    if (planes, number) != (3, spec.tokens_per_plane):
        raise SpecError(
            f"the kept tokens are {planes} planes of {number}, the spec's 3 of {spec.tokens_per_plane}; "
            "embed the scans again under that spec"
        )
    return project(tokens, gaussian_matrix(dim, spec))


@lru_cache(maxsize=4)
def _matrix(d: int, drawn: int, kept: int, seed: int, scale: str) -> Float[np.ndarray, "d kept"]:
    entries = np.random.RandomState(seed).randn(d, drawn)[:, :kept]
    if scale == "1/K":
        entries = entries / np.sqrt(drawn)
    matrix = entries.astype(np.float32)
    matrix.setflags(write=False)
    return matrix
