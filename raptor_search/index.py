"""The only module that knows FAISS: sketches in, bytes out; bytes in, candidate ids out.

An index is a cache of the catalog: whatever it forgets or blurs is mended above it by an exact re-rank. It
holds unit sketches under inner product (of larger archives the fewer numbers that a map of its own makes of the first
components), and its ids are the primary keys of the volumes. What FAISS gets
wrong by itself stops here: index files carry no checksum, so `load` demands one; short results are padded
with -1, which never leaves this module; a wrong dimension is a bare AssertionError; search settings belong
to a query, never to the shared index; one-bit codes are compared with a query of full precision unless told
otherwise, which is sixty times slower.

With the `gpu` extra and a card at hand, the k-means of training runs there, and so do searches without a selection in
the kinds of index that FAISS has for it (`Flat`, `IVF,Flat`, `IVF,SQ`); one-bit codes stay on the CPU.
"""

import hashlib
import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import faiss
import numpy as np
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

from raptor_search.errors import IndexFileError, UsageError

__all__ = ["Selection", "SketchIndex", "build", "check_factory", "default_factory", "is_narrowed", "load"]

FLAT_BELOW = 10_000
"""Volumes up to which every sketch is compared: 40 MB of sketches, about a millisecond."""

FIXED_FROM = 200_000
"""Volumes from which more lists are not worth their training."""

MORE_LISTS_FROM = 2_000_000
"""Volumes from which 16,384 lists pay for their centroids of 8 MB."""

HNSW_FROM = 5_000_000
"""Volumes from which even the centroids are searched by a graph."""

TRAINING_ROWS = 40
"""Sketches for each list to train on: what FAISS calls enough (39), the rest of a large archive changes little."""

SHARED_OUT_FROM = 128
"""Lists that one query visits from which the cores take a part of them each; fewer are quicker than their start."""

QUERY_BITS = 8
"""Bits of a query's numbers where it meets one-bit codes."""


def default_factory(volumes: int) -> str:
    """The FAISS factory string for an archive of this size: exhaustive, then inverted lists of 128 bytes a scan.

    The design has one-bit codes of the sketch (RaBitQ) from 200,000 on. They take as many bytes, and under filters they
    find .92 to .97 of the ten nearest among a million where these find .99 and more; `--index` has them still.
    """
    if volumes < FLAT_BELOW:
        return "Flat"
    if volumes < FIXED_FROM:
        return f"IVF{round(4 * volumes**0.5)},SQ8"
    if volumes < HNSW_FROM:
        return f"IVF{4096 if volumes < MORE_LISTS_FROM else 16384},SQ8"
    return "IVF65536_HNSW32,SQ8"


def is_narrowed(factory: str) -> bool:
    """Whether an index of this kind does better with fewer numbers than a sketch has: each of its numbers is a byte.

    A list of all sketches is exact as it is, and one bit a number needs many of them.
    """
    return factory.startswith("IVF") and factory.endswith(",SQ8")


NOTHING: Int64[np.ndarray, " none"] = np.empty(0, np.int64)


def check_factory(factory: str) -> None:
    """Refuse a factory string that FAISS cannot read, before hours of work that end in an index.

    Raises:
        UsageError: it cannot.
    """
    try:
        faiss.index_factory(8, factory, faiss.METRIC_INNER_PRODUCT)
    except (RuntimeError, AssertionError) as error:
        expected = "expected a FAISS factory string such as Flat, IVF1024,SQ8 or IVF4096,RaBitQ"
        raise UsageError(f"--index {factory[:64]!r}: {expected}") from error


@dataclass(frozen=True, eq=False)
class Selection:
    """The only volumes that a search may return: one bit an id, made once and used by many searches.

    Attributes:
        bits: lowest bit first, as FAISS reads it; None allows every id.
        excluded: where it does, ids that may not come back all the same.
    """

    bits: NDArray[np.uint8] | None = None
    excluded: Int64[np.ndarray, " e"] = field(default_factory=lambda: NOTHING)

    @classmethod
    def of(cls, ids: Int64[np.ndarray, " a"]) -> "Selection":
        """The selection of these ids."""
        flags = np.zeros(int(ids.max()) + 1 if ids.size else 1, np.bool_)
        flags[ids] = True
        return cls(np.packbits(flags, bitorder="little"))

    def without(self, ids: Int64[np.ndarray, " e"]) -> "Selection":
        """The selection less some ids: their bits are cleared, since a second look at each scan costs as much again."""
        if self.bits is None:
            return Selection(excluded=np.union1d(self.excluded, ids))
        bits = self.bits.copy()
        held = ids[ids < 8 * bits.size]
        np.bitwise_and.at(bits, held >> 3, ~np.left_shift(1, held & 7).astype(np.uint8))
        return Selection(bits)

    @property
    def is_all(self) -> bool:
        """Whether it allows everything."""
        return self.bits is None and not self.excluded.size

    def _selector(self) -> faiss.IDSelector | None:
        if self.bits is not None:
            # FAISS's stubs know the C++ constructors, not the Python ones.
            return faiss.IDSelectorBitmap(self.bits)  # type: ignore[call-arg, arg-type]
        return faiss.IDSelectorNot(faiss.IDSelectorBatch(self.excluded)) if self.excluded.size else None


EVERYTHING = Selection()


class SketchIndex:
    """A loaded index. It never changes, so that threads may share it.

    Attributes:
        dim: numbers that it takes of a scan: those of a sketch, or what its own map makes fewer of.
        size: volumes in it.
        lists: inverted lists that a search may visit; 0 where every sketch is compared.
        code_bytes: what one sketch takes in it.
    """

    def __init__(self, index: faiss.Index) -> None:
        self._index = index
        self.dim = int(index.d)
        self.size = int(index.ntotal)
        self._ivf = faiss.try_extract_index_ivf(index)
        is_narrowed = isinstance(index, faiss.IndexPreTransform)
        self._map = faiss.downcast_VectorTransform(index.chain.at(0)) if is_narrowed else None  # type: ignore[attr-defined]
        self._inner = faiss.downcast_index(index.index) if is_narrowed else index  # type: ignore[attr-defined]
        self._is_one_bit = self._ivf is not None and isinstance(faiss.downcast_index(self._ivf), faiss.IndexIVFRaBitQ)
        self.lists = int(self._ivf.nlist) if self._ivf else 0
        self.code_bytes = int(self._ivf.code_size) if self._ivf else 4 * self.dim
        self._card = _on_card(self._inner)
        self._card_lock = threading.Lock()

    @classmethod
    def from_bytes(cls, data: bytes) -> "SketchIndex":
        """The index whose bytes these are, which this process has just made.

        Raises:
            IndexFileError: the bytes are no index of ours.
        """
        with _translated("load"):
            index = _read(data)
        if not isinstance(index, faiss.IndexIDMap2) and not faiss.try_extract_index_ivf(index):
            raise IndexFileError("it is no index of this program: it keeps no volume ids")
        return cls(index)

    @property
    def ids(self) -> Int64[np.ndarray, " n"]:
        """The volumes in it, sorted: gathered when asked for, a million take no memory meanwhile."""
        if not self._ivf:
            return np.sort(_numbers(self._index.id_map))  # type: ignore[attr-defined]
        lists = self._ivf.invlists
        assert lists is not None
        parts = [faiss.rev_swig_ptr(lists.get_ids(n), lists.list_size(n)).copy() for n in range(self.lists)]
        return np.sort(np.concatenate([np.empty(0, np.int64), *parts]))

    @property
    def imbalance(self) -> float:
        """How uneven the lists are: 1 where all are of one length; a search costs in proportion to it."""
        return float(self._ivf.invlists.imbalance_factor()) if self._ivf and self._ivf.invlists else 1.0

    def mapped(self, queries: Float32[np.ndarray, "q dim"]) -> Float32[np.ndarray, "q held"]:
        """The numbers that the index holds of a scan, by its own map where it has one: made once for several searches.

        Raises:
            IndexFileError: sketches of another length.
        """
        if queries.shape[1] == self._inner.d:
            return _contiguous(queries)
        if queries.shape[1] != self.dim or self._map is None:
            raise IndexFileError(f"{queries.shape[1]} numbers for an index that takes {self.dim}: rebuild the index")
        with _translated("search"):
            numbers: Float32[np.ndarray, "q held"] = self._map.apply(_contiguous(queries))
            return numbers

    def search(
        self,
        queries: Float32[np.ndarray, "q dim"],
        k: int,
        *,
        nprobe: int = 0,
        selection: Selection = EVERYTHING,
    ) -> list[NDArray[np.int64]]:
        """Ids of the nearest sketches of each query, nearest first.

        Args:
            queries: unit sketches, or what `mapped` makes of them.
            k: candidates a query; fewer come back where the lists visited hold fewer.
            nprobe: lists to visit, at most `lists`; without meaning where there are none.
            selection: the only ids that may come back.

        Raises:
            IndexFileError: sketches of another length.
        """
        data, wanted = self.mapped(queries), min(k, self.size)
        with _translated("search"):
            settings = self._settings(nprobe, selection)
            if self._card is not None and selection.is_all:
                with self._card_lock:  # a card's memory is for one search at a time
                    _, found = self._card.search(data, wanted, params=settings)
            else:
                if self._ivf:
                    # Of one query over many lists the lists are shared out. Whatever another thread sets meanwhile,
                    # the answer is the same.
                    self._ivf.parallel_mode = int(len(data) == 1 and nprobe >= SHARED_OUT_FROM)
                _, found = self._inner.search(data, wanted, params=settings)
        return [row[row >= 0] for row in found]

    def _settings(self, nprobe: int, selection: Selection) -> faiss.SearchParameters:
        selector = selection._selector()
        if not self._ivf:
            return faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        visited = max(1, min(nprobe, self.lists))
        if self._is_one_bit:
            return faiss.IVFRaBitQSearchParameters(sel=selector, nprobe=visited, qb=QUERY_BITS)  # type: ignore[call-arg]
        return faiss.SearchParametersIVF(sel=selector, nprobe=visited)  # type: ignore[call-arg]

    def extended(
        self,
        sketches: Float32[np.ndarray, "n dim"],
        ids: Int64[np.ndarray, " n"],
        *,
        removed: Int64[np.ndarray, " r"] = NOTHING,
    ) -> bytes:
        """The bytes of an index that holds these volumes as well, trained as this one is.

        Args:
            sketches: of the volumes to add.
            ids: likewise.
            removed: volumes to take out: found no more, though they helped to place the centroids.

        Raises:
            IndexFileError: sketches of another length.
        """
        with _translated("extend"):
            copy = _read(_written(self._index))
            if removed.size:
                copy.remove_ids(np.ascontiguousarray(removed, np.int64))  # type: ignore[arg-type]
            copy.add_with_ids(_contiguous(sketches), np.ascontiguousarray(ids, np.int64))
            return _written(copy)


def build(
    sketches: Float32[np.ndarray, "n dim"],
    ids: Int64[np.ndarray, " n"],
    *,
    factory: str | None = None,
    held_out: Sequence[int] | NDArray[np.intp] = (),
    narrowed: Float32[np.ndarray, "narrow dim"] | None = None,
) -> bytes:
    """An index over unit sketches, as bytes; equal input gives equal bytes.

    Args:
        sketches: one a volume, of norm 1.
        ids: primary keys of the volumes.
        factory: FAISS factory string; None chooses by size.
        held_out: rows that are indexed but not trained on, for an honest measure of recall.
        narrowed: the map that `sketches` are made by already, and that queries and what is added later are to go
            through (`raptor_search.searching.narrowing`).

    Raises:
        IndexFileError: a factory that FAISS refuses, or fewer rows to train on than it needs.
    """
    factory = factory or default_factory(len(ids))
    data = _contiguous(sketches)
    with _translated(f"build {factory!r}"):
        index = faiss.index_factory(data.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        ivf = faiss.try_extract_index_ivf(index)
        if ivf:
            ivf.cp.spherical = True  # centroids of unit vectors under inner product
            ivf.cp.min_points_per_centroid = 1  # a warning on standard error otherwise
        else:
            index = faiss.IndexIDMap2(index)  # inverted lists keep ids by themselves
        card = _for_training(ivf, data.shape[1])
        index.train(_sample(data, held_out, TRAINING_ROWS * int(ivf.nlist) if ivf else len(data)))
        index.add_with_ids(data, np.ascontiguousarray(ids, np.int64))
        if ivf and card is not None:
            ivf.clustering_index = None  # type: ignore[assignment]
        if narrowed is not None:
            index = faiss.IndexPreTransform(_linear(narrowed), index)
        return _written(index)


def _linear(matrix: Float32[np.ndarray, "narrow dim"]) -> faiss.LinearTransform:
    transform = faiss.LinearTransform(matrix.shape[1], matrix.shape[0], False)
    numbers = np.ascontiguousarray(matrix, np.float32).ravel()
    held: Any = transform.A
    if type(held).__module__.startswith("faiss"):
        faiss.copy_array_to_vector(numbers, held)
    else:  # the other package's class for the same C++ type (see `_written`)
        for number in numbers.tolist():
            held.append(number)
    transform.is_trained = True
    return transform


def load(data: bytes, *, sha256: str) -> SketchIndex:
    """The index whose bytes these are.

    Raises:
        IndexFileError: the bytes are not the ones that were published, or no index.
    """
    if hashlib.sha256(data).hexdigest() != sha256:
        raise IndexFileError("its bytes are not the ones that were published (SHA-256 differs)")
    return SketchIndex.from_bytes(data)


def _written(index: faiss.Index) -> bytes:
    """The index as FAISS writes it.

    Not through FAISS's own vectors of bytes: where SimpleITK is imported in the same process, both packages share
    one table of C++ types, and FAISS meets SimpleITK's class for them.
    """
    parts: list[bytes] = []
    faiss.write_index(index, faiss.PyCallbackIOWriter(parts.append))  # type: ignore[attr-defined]
    return b"".join(parts)


def _read(data: bytes) -> faiss.Index:
    """What `_written` wrote."""
    return faiss.read_index(faiss.PyCallbackIOReader(io.BytesIO(data).read))  # type: ignore[attr-defined]


def _numbers(vector: Any) -> NDArray[np.int64]:
    """A C++ vector of 64-bit integers, by whichever package's class it is met (see `_written`)."""
    if type(vector).__module__.startswith("faiss"):
        found: NDArray[np.int64] = faiss.vector_to_array(vector)
        return found
    return np.fromiter(vector, np.int64, len(vector))


def _sample(
    data: Float32[np.ndarray, "n dim"], held_out: Sequence[int] | NDArray[np.intp], rows: int
) -> Float32[np.ndarray, "m dim"]:
    """The rows to train on: without those held out, no more than are needed, drawn with a fixed seed."""
    if not len(held_out) and len(data) <= rows:
        return data
    kept = np.delete(np.arange(len(data)), held_out)
    if kept.size > rows:
        kept = np.sort(np.random.default_rng(0).choice(kept, rows, replace=False))
    return data[kept]


def _for_training(ivf: faiss.IndexIVF | None, dim: int) -> faiss.Index | None:
    """What does the k-means of training on the graphics cards, to be held until it is done; None without a card."""
    if not ivf or not faiss.get_num_gpus():
        return None
    card = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(dim))
    ivf.clustering_index = card
    return card


def _on_card(index: faiss.Index) -> faiss.Index | None:
    """A copy of the index on the graphics cards, or None: no card, or a kind of index that FAISS has not for them."""
    if not faiss.get_num_gpus():
        return None
    inner = faiss.downcast_index(index.index) if isinstance(index, faiss.IndexIDMap2) else index
    if not isinstance(inner, faiss.IndexFlat | faiss.IndexIVFFlat | faiss.IndexIVFScalarQuantizer):
        return None
    return faiss.index_cpu_to_all_gpus(index)


@contextmanager
def _translated(action: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, AssertionError, AttributeError) as error:
        reason = str(error).rpartition("Error: ")[2] or "shapes that do not agree"
        raise IndexFileError(f"FAISS could not {action} this index: {reason}") from error


def _contiguous(sketches: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n dim"]:
    return np.ascontiguousarray(sketches, np.float32)
