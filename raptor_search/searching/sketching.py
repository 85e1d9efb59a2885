"""From stored vectors to what an index is asked with, block by block: unit sketches, or the first components alone.

An index has a map of its own from the first components to the numbers that it holds (`narrowing`), or it holds
sketches. Which it is, is told by how many numbers it takes.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float16, Float32, Float64
from numpy.typing import NDArray

from raptor_search.catalog import PREFIX_COMPONENTS, Catalog, Centring, Ids, StoredSpec
from raptor_search.reference import reference_mean
from raptor_search.scoring import centred
from raptor_search.sketch import SKETCH_LENGTH, sketch
from raptor_search.specs import EmbeddingSpec

__all__ = [
    "BLOCK",
    "Mean",
    "Sketches",
    "centre_all",
    "centred_sketches",
    "initial_mean",
    "input_lengths",
    "input_mean",
    "inputs",
    "prefix_blocks",
    "prefixes_of",
    "sketch_all",
    "sketched_mean",
    "stored_blocks",
    "sum_all",
    "unit_inputs",
    "unit_sketches",
]

BLOCK = 256
"""Vectors read at a time: 40 MB."""

Sketches = Float32[np.ndarray, "n 1024"]
Mean = Float32[np.ndarray, " m"]
"""Of `spec.length`, or without entries where nothing is subtracted."""


def initial_mean(spec: EmbeddingSpec) -> tuple[Centring, Mean]:
    """What scores are centred on while an archive has no mean of its own: the shipped mean, else nothing."""
    mean = reference_mean(spec)
    return ("none", np.empty(0, np.float32)) if mean is None else ("reference", mean)


def unit_sketches(vectors: Float[np.ndarray, "n length"], mean: Mean) -> Sketches:
    """Sketches of raw embeddings after centring, at unit length: what the index holds and is asked with."""
    return centred_sketches(sketch(vectors), mean)


def centred_sketches(sketches: Sketches, mean: Mean) -> Sketches:
    """Unit sketches of centred vectors from the sketches of raw ones."""
    # The sketch is linear: centring it by the sketched mean is sketching the centred vector.
    return centred(sketches, sketched_mean(mean))


def prefixes_of(vectors: NDArray[np.floating], spec: EmbeddingSpec) -> NDArray[np.floating]:
    """The first components of embeddings, one a row: themselves valid, smaller embeddings."""
    if spec.components_kept <= PREFIX_COMPONENTS:
        return vectors
    first = vectors.reshape(-1, *spec.shape)[:, :, :PREFIX_COMPONENTS]
    return np.ascontiguousarray(first).reshape(len(vectors), -1)


def input_lengths(spec: EmbeddingSpec) -> set[int]:
    """How many numbers an index of a spec may take: those of a sketch, or of the first components."""
    planes, components, tokens = spec.shape
    return {SKETCH_LENGTH, planes * min(components, PREFIX_COMPONENTS) * tokens}


def inputs(vectors: NDArray[np.floating], spec: EmbeddingSpec, dim: int) -> NDArray[np.floating]:
    """What an index of `dim` numbers takes of raw embeddings, before it is centred."""
    return sketch(vectors) if dim == SKETCH_LENGTH else prefixes_of(vectors, spec)


def input_mean(mean: Mean, spec: EmbeddingSpec, dim: int) -> Mean:
    """What these are centred by; without entries where nothing is subtracted."""
    return inputs(mean[np.newaxis], spec, dim)[0] if mean.size else mean


def unit_inputs(
    vectors: NDArray[np.floating], mean: Mean, spec: EmbeddingSpec, dim: int
) -> Float32[np.ndarray, "n dim"]:
    """What an index of `dim` numbers is asked with and holds: of raw embeddings, centred and at unit length."""
    return centred(inputs(vectors, spec, dim), input_mean(mean, spec, dim))


def sketched_mean(mean: Mean) -> Mean:
    """The sketch of the mean; without entries where nothing is subtracted."""
    return sketch(mean[np.newaxis])[0] if mean.size else mean


def centre_all(sketches: Sketches, mean: Mean) -> None:
    """`centred_sketches` in place, block by block: an archive's sketches need no second copy."""
    small = sketched_mean(mean)
    for start in range(0, len(sketches), BLOCK):
        sketches[start : start + BLOCK] = centred(sketches[start : start + BLOCK], small)


def sketch_all(catalog: Catalog, stored: StoredSpec, ids: Ids) -> tuple[Ids, Sketches, Float64[np.ndarray, " length"]]:
    """One pass over the vectors: the ids that are there, their raw sketches, and the sum of the vectors.

    The sketches take 4 KB of memory a volume.
    """
    found, sketches = np.empty(ids.size, np.int64), np.empty((ids.size, SKETCH_LENGTH), np.float32)
    total, n = np.zeros(stored.spec.length), 0
    for there, vectors in stored_blocks(catalog, stored, ids):
        found[n : n + there.size], sketches[n : n + there.size] = there, sketch(vectors)
        total += vectors.sum(axis=0, dtype=np.float64)
        n += there.size
    return found[:n], sketches[:n], total


def sum_all(catalog: Catalog, stored: StoredSpec, ids: Ids) -> tuple[int, Float64[np.ndarray, " length"]]:
    """One pass over the vectors: how many are there, and their sum."""
    volumes, total = 0, np.zeros(stored.spec.length)
    for there, vectors in stored_blocks(catalog, stored, ids):
        volumes += there.size
        total += vectors.sum(axis=0, dtype=np.float64)
    return volumes, total


def prefix_blocks(
    catalog: Catalog, stored: StoredSpec, ids: Ids
) -> Iterator[tuple[Ids, Float16[np.ndarray, "b prefix"]]]:
    """The volumes that are still there and the first components of their vectors, `BLOCK` at a time."""
    return (catalog.found_prefixes(ids[i : i + BLOCK], stored.id) for i in range(0, ids.size, BLOCK))


def stored_blocks(
    catalog: Catalog, stored: StoredSpec, ids: Ids
) -> Iterator[tuple[Ids, Float16[np.ndarray, "b length"]]]:
    """The volumes that are still there and their vectors, `BLOCK` at a time."""
    return (catalog.found_vectors(ids[i : i + BLOCK], stored.id) for i in range(0, ids.size, BLOCK))
