"""The only module that knows FAISS: sketches in, bytes out; bytes in, candidate ids out.

An index is a cache of the catalog: whatever it forgets or blurs is mended above it by an exact re-rank. It
holds unit sketches under inner product, and its ids are the primary keys of the volumes. What FAISS gets
wrong by itself stops here: index files carry no checksum, so `load` demands one; short results are padded
with -1, which never leaves this module; a wrong dimension is a bare AssertionError; search settings belong
to a query, never to the shared index.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import faiss
import numpy as np
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

from raptor_search.errors import IndexFileError

__all__ = ["SketchIndex", "build", "default_factory", "load"]

FLAT_BELOW = 10_000
"""Volumes up to which every sketch is compared: 40 MB of sketches, about a millisecond."""

RABITQ_FROM = 200_000
"""Volumes from which sketches are kept at one bit a number instead of eight."""

HNSW_FROM = 5_000_000
"""Volumes from which even the centroids are searched by a graph."""


def default_factory(volumes: int) -> str:
    """The FAISS factory string for an archive of this size: exhaustive, then inverted lists, then one-bit codes."""
    if volumes < FLAT_BELOW:
        return "Flat"
    if volumes < RABITQ_FROM:
        return f"IVF{round(4 * volumes**0.5)},SQ8"
    if volumes < HNSW_FROM:
        return f"IVF{4096 if volumes < 1_000_000 else 16384},RaBitQ"
    return "IVF65536_HNSW32,RaBitQ"


class SketchIndex:
    """A loaded index. It never changes, so that threads may share it.

    Attributes:
        ids: the volumes in it, sorted.
        dim: numbers in a sketch.
        lists: inverted lists that a search may visit; 0 where every sketch is compared.
    """

    def __init__(self, index: faiss.IndexIDMap2) -> None:
        self._index = index
        self.ids: Int64[np.ndarray, " n"] = np.sort(faiss.vector_to_array(index.id_map))
        self.dim = int(index.d)
        ivf = faiss.try_extract_index_ivf(index)
        self.lists = int(ivf.nlist) if ivf else 0

    def search(
        self,
        queries: Float32[np.ndarray, "q dim"],
        k: int,
        *,
        nprobe: int = 0,
        allowed: Int64[np.ndarray, " a"] | None = None,
    ) -> list[NDArray[np.int64]]:
        """Ids of the nearest sketches of each query, nearest first.

        Args:
            queries: unit sketches.
            k: candidates a query; fewer come back where the lists visited hold fewer.
            nprobe: lists to visit, at most `lists`; without meaning where there are none.
            allowed: the only ids that may come back; None allows all.

        Raises:
            IndexFileError: sketches of another length.
        """
        if queries.shape[1] != self.dim:
            raise IndexFileError(
                f"a sketch of {queries.shape[1]} numbers for an index of {self.dim}: rebuild the index"
            )
        with _translated("search"):
            _, found = self._index.search(
                _contiguous(queries), min(k, self.ids.size), params=self._settings(nprobe, allowed)
            )
        return [row[row >= 0] for row in found]

    def _settings(self, nprobe: int, allowed: Int64[np.ndarray, " a"] | None) -> faiss.SearchParameters:
        # FAISS's stubs know the C++ constructors, not the Python ones.
        selector = None if allowed is None else faiss.IDSelectorBitmap(_bitmap(allowed))  # type: ignore[call-arg, arg-type]
        if not self.lists:
            return faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        return faiss.SearchParametersIVF(sel=selector, nprobe=max(1, min(nprobe, self.lists)))  # type: ignore[call-arg]

    def extended(self, sketches: Float32[np.ndarray, "n dim"], ids: Int64[np.ndarray, " n"]) -> bytes:
        """The bytes of an index that holds these volumes as well, trained as this one is.

        Raises:
            IndexFileError: sketches of another length.
        """
        with _translated("extend"):
            copy = faiss.deserialize_index(faiss.serialize_index(self._index))
            copy.add_with_ids(_contiguous(sketches), np.ascontiguousarray(ids, np.int64))
            return bytes(faiss.serialize_index(copy))


def build(
    sketches: Float32[np.ndarray, "n dim"],
    ids: Int64[np.ndarray, " n"],
    *,
    factory: str | None = None,
    held_out: Sequence[int] | NDArray[np.intp] = (),
) -> bytes:
    """An index over unit sketches, as bytes; equal input gives equal bytes.

    Args:
        sketches: one a volume, of norm 1.
        ids: primary keys of the volumes.
        factory: FAISS factory string; None chooses by size.
        held_out: rows that are indexed but not trained on, for an honest measure of recall.

    Raises:
        IndexFileError: a factory that FAISS refuses, or fewer rows to train on than it needs.
    """
    factory = factory or default_factory(len(ids))
    data = _contiguous(sketches)
    with _translated(f"build {factory!r}"):
        index = faiss.index_factory(data.shape[1], f"IDMap2,{factory}", faiss.METRIC_INNER_PRODUCT)
        ivf = faiss.try_extract_index_ivf(index)
        if ivf:
            ivf.cp.spherical = True  # centroids of unit vectors under inner product
            ivf.cp.min_points_per_centroid = 1  # a warning on standard error otherwise
        index.train(np.delete(data, held_out, axis=0) if len(held_out) else data)
        index.add_with_ids(data, np.ascontiguousarray(ids, np.int64))
        return bytes(faiss.serialize_index(index))


def load(data: bytes, *, sha256: str) -> SketchIndex:
    """The index whose bytes these are.

    Raises:
        IndexFileError: the bytes are not the ones that were published, or no index.
    """
    if hashlib.sha256(data).hexdigest() != sha256:
        raise IndexFileError("its bytes are not the ones that were published (SHA-256 differs)")
    with _translated("load"):
        index = faiss.deserialize_index(np.frombuffer(data, np.uint8))
    if not isinstance(index, faiss.IndexIDMap2):
        raise IndexFileError("it is no index of this program: it keeps no volume ids")
    return SketchIndex(index)


@contextmanager
def _translated(action: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, AssertionError, AttributeError) as error:
        reason = str(error).rpartition("Error: ")[2] or "shapes that do not agree"
        raise IndexFileError(f"FAISS could not {action} this index: {reason}") from error


def _bitmap(ids: Int64[np.ndarray, " a"]) -> NDArray[np.uint8]:
    """One bit an id, lowest bit first, as `IDSelectorBitmap` reads it."""
    bits = np.zeros(int(ids.max()) + 1 if ids.size else 1, np.bool_)
    bits[ids] = True
    return np.packbits(bits, bitorder="little")


def _contiguous(sketches: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n dim"]:
    return np.ascontiguousarray(sketches, np.float32)
