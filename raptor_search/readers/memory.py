"""Voxels in memory that another process can be handed: a file without a name, mapped.

A child process that reads puts every large array into one (`memfd_create`; where that is absent, as on macOS, an
unlinked temporary file), so that its parent maps the same pages: nothing is copied, nothing is pickled. Everywhere
else `empty` is NumPy's.
"""

import fcntl
import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

__all__ = ["SharedBlock", "empty", "mapped", "share_large_arrays", "shared_block", "slab"]

LARGE = 2**22
"""Bytes from which an array gets a block of its own."""

Allocate = Callable[[tuple[int, ...], np.dtype[np.generic]], NDArray[np.generic]]


class SharedBlock(mmap.mmap):
    """Pages that a file descriptor can hand over; freed when the last array in them is gone."""

    fd: int

    @classmethod
    def of_bytes(cls, size: int) -> "SharedBlock":
        """A new block, zeros.

        Raises:
            MemoryError: there is no room for it.
        """
        fd = _nameless_file()
        try:
            os.ftruncate(fd, size)
            block = cls(fd, size)
        except OSError as error:
            os.close(fd)
            raise MemoryError(f"no room for {size} bytes of shared memory") from error
        block.fd = fd
        return block

    def put(self, content: bytes | memoryview, offset: int) -> None:
        """Write bytes into it: through the file, which saves the page faults of a first touch.

        Raises:
            MemoryError: there is no room for them.
        """
        try:
            while content:
                written = os.pwrite(self.fd, content, offset)
                content, offset = content[written:], offset + written
        except OSError as error:
            raise MemoryError("no room for more shared memory") from error

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("raptor-voxels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def empty(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """An array for the caller to fill, in C order; what is in it before is undefined."""
    return _allocate(shape, dtype)


def _private(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    return np.empty(shape, dtype)


def _shared(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, buffer=SharedBlock.of_bytes(size))


_allocate: Allocate = _private


def share_large_arrays() -> None:
    """From now on `empty` gives blocks that can be handed over. For a process that does nothing but read."""
    global _allocate  # noqa: PLW0603 - one switch, thrown once at the start of a child
    _allocate = _shared


def shared_block(array: NDArray[np.generic]) -> tuple[SharedBlock, int] | None:
    """The block that an array lies in, and the offset of its first element; None where it lies elsewhere."""
    base: object = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.obj if isinstance(base, memoryview) else base.base
    if not isinstance(base, SharedBlock):
        return None
    start = np.frombuffer(base, np.uint8).__array_interface__["data"][0]
    return base, array.__array_interface__["data"][0] - start


@contextmanager
def slab(array: NDArray[np.generic], place: int) -> Iterator[NDArray[np.generic]]:
    """An array to fill with what `array[place]` shall be: that itself or, in a block, one that is then put there.

    Args:
        array: in C order, from `empty`.
        place: along its first axis.

    Raises:
        MemoryError: there is no room for it.
    """
    found = shared_block(array)
    if found is None:
        yield array[place]
        return
    block, offset = found
    filled = np.empty(array.shape[1:], array.dtype)
    yield filled
    block.put(filled.reshape(-1).view(np.uint8).data, offset + place * filled.nbytes)


def mapped(
    fd: int, shape: tuple[int, ...], dtype: np.dtype[np.generic], strides: tuple[int, ...], offset: int
) -> NDArray[np.generic]:
    """The array in a block of another process, read-only; the block is freed when the array is gone.

    Raises:
        ValueError: an array that does not lie within the block.
    """
    if hasattr(fcntl, "F_ADD_SEALS"):  # else the process that made it could cut it short, and reading here would kill
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    pages = mmap.mmap(fd, os.fstat(fd).st_size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
    return np.ndarray(shape, dtype, buffer=pages, offset=offset, strides=strides)
