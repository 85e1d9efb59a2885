"""MedMNIST-style npz: {train,val,test}_images as (n, D, H, W), one volume an entry, read one at a time.

A split of a thousand volumes is inflated as one stream and never held whole: entries are read in order,
each once, and the last few are kept for the reader that comes back (to hash, then to read).
"""

import atexit
import io
import threading
import tokenize
import warnings
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from raptor_search.errors import ReadError
from raptor_search.readers.inflating import check_inflation, read_array
from raptor_search.readers.orientation import to_volume
from raptor_search.volume import Volume, check_shape

__all__ = ["SPLITS", "npz_entry", "npz_labels", "npz_splits", "read_npz"]

SPLITS = ("train", "val", "test")

MAX_ENTRIES = 1_000_000

MAX_LABEL_BYTES = 64 * 2**20

KEPT_ENTRIES = 8
"""Entries remembered, more than the indexer reads ahead; this many are inflated rather than sought over."""


@dataclass(frozen=True)
class _Layout:
    """Header of one .npy member: where the numbers start and what they are."""

    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def entry_shape(self) -> tuple[int, ...]:
        """Sizes of one entry; a single channel at the end is dropped."""
        shape = self.shape[1:]
        return shape[:3] if len(shape) == 4 and shape[3] == 1 else shape

    @property
    def entry_bytes(self) -> int:
        return _product(self.entry_shape) * self.dtype.itemsize

    @property
    def total_bytes(self) -> int:
        return self.start + _product(self.shape) * self.dtype.itemsize


class _Cursor:
    """One open split and the last entries read from it."""

    def __init__(self, path: Path, split: str) -> None:
        with ExitStack() as opened:
            archive = opened.enter_context(zipfile.ZipFile(path))
            self.stream = opened.enter_context(archive.open(f"{split}_images.npy"))
            self.layout = _layout(self.stream)
            self.opened = opened.pop_all()
        self.kept: OrderedDict[int, NDArray[np.generic]] = OrderedDict()

    def entry(self, index: int) -> NDArray[np.generic]:
        layout = self.layout
        if not 0 <= index < layout.shape[0]:
            raise ReadError("unreadable", f"no entry {index}; the split has {layout.shape[0]}")
        while index not in self.kept:
            reached, beyond = divmod(self.stream.tell() - layout.start, layout.entry_bytes)
            # After a damaged entry the stream stands within one.
            if beyond or reached > index or index - reached > KEPT_ENTRIES:
                self.stream.seek(layout.start + index * layout.entry_bytes)
                reached = index
            # An npy in C order has its last axis fastest: the axes are read reversed and turned back.
            self.kept[reached] = read_array(self.stream, layout.dtype, layout.entry_shape[::-1], to_end=False).T
            while len(self.kept) > KEPT_ENTRIES:
                self.kept.popitem(last=False)
        return self.kept[index]


class _LastSplit:
    """The split that was read last, kept open so that its stream is inflated once. Safe between threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.key: tuple[Path, int, str] | None = None
        self.cursor: _Cursor | None = None

    def entry(self, path: Path, split: str, index: int) -> NDArray[np.generic]:
        with self.lock:
            key = (path, path.stat().st_mtime_ns, split)
            if self.cursor is None or self.key != key:
                if self.cursor is not None:
                    self.cursor.opened.close()
                self.cursor = None
                self.cursor, self.key = _Cursor(path, split), key
            return self.cursor.entry(index)

    def close(self) -> None:
        with self.lock:
            if self.cursor is not None:
                self.cursor.opened.close()
            self.cursor = None


_LAST_SPLIT = _LastSplit()
atexit.register(_LAST_SPLIT.close)


def npz_splits(path: Path) -> dict[str, int]:
    """The splits of the file and how many volumes each has, from the headers alone.

    Raises:
        ReadError: not MedMNIST's layout, volumes that are no scans, or labels of another length.
    """
    with _damage(), zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        splits = [split for split in SPLITS if f"{split}_images.npy" in names]
        if not splits:
            expected = ", ".join(f"{split}_images" for split in SPLITS)
            raise ReadError("not-a-volume", f"{len(names)} arrays, none of them volumes; expected {expected}")
        return {split: _checked_count(archive, split) for split in splits}


def npz_entry(path: Path, member: str) -> NDArray[np.generic]:
    """The voxels of one entry ("train_0"), as stored; shared, so never to be written to.

    Raises:
        ReadError: a damaged file, or no such entry.
    """
    split, _, index = member.rpartition("_")
    with _damage():
        return _LAST_SPLIT.entry(path, split, int(index))


def npz_labels(path: Path, member: str) -> dict[str, str]:
    """The entry's label where the file has any ("label_0", "label_1", ... where it has several).

    Raises:
        ReadError: a damaged file.
    """
    split, _, index = member.rpartition("_")
    with _damage(), zipfile.ZipFile(path) as archive:
        name = f"{split}_labels.npy"
        if name not in archive.namelist():
            return {}
        held = archive.getinfo(name).file_size
        if held > MAX_LABEL_BYTES:
            raise ReadError("too-large", f"labels of more than {MAX_LABEL_BYTES} bytes")
        # No more than `held` bytes come out of the stream, whatever the member inflates to.
        with archive.open(name) as stream:
            expected = _layout(stream).total_bytes
        if held != expected:
            raise ReadError("unreadable", f"truncated: {split}_labels has {held} of {expected} bytes")
        with archive.open(name) as stream:
            content = stream.read(held)
        values = np.load(io.BytesIO(content), allow_pickle=False)[int(index)].reshape(-1)
    if len(values) == 1:
        return {"label": str(values[0])}
    return {f"label_{n}": str(value) for n, value in enumerate(values)}


def read_npz(path: Path, member: str) -> Volume:
    """One entry as a volume: spacing 1 mm, its axes taken as RAS+ and marked as not oriented.

    Raises:
        ReadError: a damaged file, or voxels that cannot be a scan.
    """
    voxels = npz_entry(path, member)
    if voxels.dtype.kind == "b":
        voxels = voxels.view(np.uint8)
    return to_volume(voxels, np.eye(4), kind="npz", oriented=False)


def _checked_count(archive: zipfile.ZipFile, split: str) -> int:
    with archive.open(f"{split}_images.npy") as stream:
        layout = _layout(stream)
    check_shape(layout.entry_shape)
    if layout.dtype.kind not in "biuf" or layout.dtype.itemsize > 8:
        raise ReadError("unsupported", f"{split}_images holds no plain numbers")
    if layout.shape[0] > MAX_ENTRIES:
        raise ReadError("too-large", f"{layout.shape[0]} volumes in one file; expected at most {MAX_ENTRIES}")
    held = archive.getinfo(f"{split}_images.npy")
    if held.file_size != layout.total_bytes:
        raise ReadError("unreadable", f"truncated: {split}_images has {held.file_size} of {layout.total_bytes} bytes")
    check_inflation(layout.entry_bytes, held.compress_size)
    if f"{split}_labels.npy" in archive.namelist():
        with archive.open(f"{split}_labels.npy") as stream:
            labels = _layout(stream).shape
        if not labels or labels[0] != layout.shape[0]:
            raise ReadError("unreadable", f"{split}_labels and {split}_images have different numbers of entries")
    return layout.shape[0]


def _layout(stream: IO[bytes]) -> _Layout:
    """Parse the header of a .npy stream; the numbers follow."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ReadError("unsupported", "an npy version for structured arrays; expected plain numbers")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        # NumPy warns about headers of Python 2, and reads them.
        warnings.filterwarnings("ignore", message="Reading `.npy`")
        shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise ReadError("unsupported", "an array of objects, which could run code; expected plain numbers")
    if fortran and len(shape) > 1:
        raise ReadError("unsupported", "an array in Fortran order; expected C order")
    return _Layout(stream.tell(), tuple(int(n) for n in shape), dtype)


def _product(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=object)) if shape else 1


@contextmanager
def _damage() -> Iterator[None]:
    """What zipfile, zlib and NumPy say about a damaged file, as one error of ours."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, IndexError, tokenize.TokenError) as error:
        raise ReadError("unreadable", "the npz file is damaged or truncated") from error
    except (NotImplementedError, RuntimeError) as error:
        raise ReadError("unsupported", "an encrypted zip or one with a rare compression; expected np.savez") from error
    except OSError as error:
        raise ReadError("unreadable", f"cannot be read: {error.strerror or 'input/output error'}") from error
