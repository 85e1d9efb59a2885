"""The mean embedding that scores are centred on while an archive is too small to have a mean of its own.

Kept as mean tokens of about a dozen real volumes, before the projection, so that one small file serves every K
and seed. NumPy only: search does not import torch. Written by `benchmarks/reference_means.py`.
"""

import io
import json
from functools import lru_cache
from importlib.resources import files

import numpy as np
from jaxtyping import Float

from raptor_search.projection import gaussian_matrix, project
from raptor_search.specs import EmbeddingSpec

__all__ = ["pack_reference", "reference_mean"]

FREE_FIELDS = {"components_drawn", "components_kept", "seed", "scale"}
"""Fields of a spec that come in after the tokens are averaged; all others must agree."""

FILE_VERSION = 1


@lru_cache(maxsize=4)
def reference_mean(spec: EmbeddingSpec) -> Float[np.ndarray, " length"] | None:
    """The reference mean under a spec, flat float32, read-only; None where none is shipped for encoder and recipe."""
    file = files("raptor_search").joinpath("encoders", "reference_means", f"{spec.encoder}.npz")
    if not file.is_file():
        return None
    with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as archive:
        if json.loads(str(archive["fields"])) != _fields(spec):
            return None
        means = archive["means"].astype(np.float32)
    mean = project(means, gaussian_matrix(means.shape[2], spec)).reshape(-1)
    mean.setflags(write=False)
    return mean


def pack_reference(means: Float[np.ndarray, "plane token d"], spec: EmbeddingSpec, volumes: list[str]) -> bytes:
    """The file that `reference_mean` reads: mean tokens in float16, the fields that must agree, the volumes' names."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        means=means.astype("<f2"),
        fields=np.array(json.dumps(_fields(spec), sort_keys=True)),
        volumes=np.array(volumes),
    )
    return buffer.getvalue()


def _fields(spec: EmbeddingSpec) -> dict[str, str | int]:
    return {"file_version": FILE_VERSION} | {k: v for k, v in spec.fields().items() if k not in FREE_FIELDS}
