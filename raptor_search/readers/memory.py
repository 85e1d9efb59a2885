"""Voxels in memory that another process can be handed: a file without a name, mapped.

A child process that reads puts every large array into one (`memfd_create`; where that is absent, as on macOS, an
unlinked temporary file), so that its parent maps the same pages: nothing is copied, nothing is pickled. With a request
the parent lends blocks of earlier files that it is done with (`readers.lending`), whose pages need not be made again.
Everywhere else `empty` is NumPy's.
"""

import mmap
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LARGE",
    "SharedBlock",
    "borrow",
    "empty",
    "identity_of",
    "rounded",
    "share_large_arrays",
    "shared_block",
    "slab",
]

LARGE = 2**22
"""Bytes from which an array gets a block of its own."""

ROOMY = 1.5
"""A lent block holds an array that is up to so many times smaller: beyond it, memory would be kept for little. Below 2,
so that stored 16 bits do not take the block of the 32 that they become."""

STEPS = 8
"""Sizes that new blocks have between a power of two and the next: a scan of a few slices more fits in them too. What
is not filled takes no memory."""

Allocate = Callable[[tuple[int, ...], np.dtype[np.generic]], NDArray[np.generic]]


class SharedBlock(mmap.mmap):
    """Pages that a file descriptor can hand over; freed when the last array in them is gone.

    Attributes:
        fd: its file, which may be larger than what is mapped of it.
        is_ready: whether its pages are there already: to write into them costs no page fault.
        is_handed_over: whether another process has it, so that it is never to be written to again.
    """

    fd: int
    is_ready: bool
    is_handed_over = False

    @classmethod
    def of_bytes(cls, size: int) -> "SharedBlock":
        """A block of so many bytes, of undefined content: a lent one where one fits, else a new one.

        Raises:
            MemoryError: there is no room for it.
        """
        fd = _fitting(size)
        is_lent = fd is not None
        if fd is None:
            fd = _nameless_file()
        try:
            if not is_lent:
                os.ftruncate(fd, rounded(size))
            block = cls(fd, size, flags=mmap.MAP_SHARED | (POPULATE if is_lent else 0))
        except OSError as error:
            os.close(fd)
            raise MemoryError(f"no room for {size} bytes of shared memory") from error
        block.fd, block.is_ready = fd, is_lent
        _living.add(block)
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


POPULATE: int = getattr(mmap, "MAP_POPULATE", 0)
"""Maps all pages at once, where the system can: for half of what it costs to have them mapped as they are touched."""

_living: "weakref.WeakSet[SharedBlock]" = weakref.WeakSet()

_lent: list[int] = []


def borrow(fds: Sequence[int]) -> tuple[()]:
    """Use these files for the next arrays, instead of what was lent before and is closed now.

    Args:
        fds: blocks that nobody else reads or writes; they are copied, and stay the caller's to close.
    """
    while _lent:
        os.close(_lent.pop())
    own = {identity_of(block.fd) for block in _living}  # an array that is still in use here is not written over
    _lent.extend(os.dup(fd) for fd in fds if identity_of(fd) not in own)
    return ()


def identity_of(fd: int) -> tuple[int, int]:
    """By which two descriptors of one file are known as such."""
    stat = os.fstat(fd)
    return stat.st_dev, stat.st_ino


def _fitting(size: int) -> int | None:
    """The smallest lent file that holds so many bytes and is not much too large; it is the caller's from now on."""
    sizes = {fd: os.fstat(fd).st_size for fd in _lent}
    fits = [fd for fd in _lent if size <= sizes[fd] <= ROOMY * size]
    if not fits:
        return None
    best = min(fits, key=sizes.__getitem__)
    _lent.remove(best)
    return best


def rounded(size: int) -> int:
    """The next of the sizes that blocks have, which is at most an eighth more."""
    if size < LARGE:
        return size
    step: int = 2 ** (size.bit_length() - 1) // STEPS
    return -(-size // step) * step


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
    """An array to fill with what `array[place]` shall be: that itself or, in a new block, one that is then put there.

    Args:
        array: in C order, from `empty`.
        place: along its first axis.

    Raises:
        MemoryError: there is no room for it.
    """
    found = shared_block(array)
    if found is None or found[0].is_ready:
        yield array[place]
        return
    block, offset = found
    filled = np.empty(array.shape[1:], array.dtype)
    yield filled
    block.put(filled.reshape(-1).view(np.uint8).data, offset + place * filled.nbytes)
