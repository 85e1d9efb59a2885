"""Blocks of voxels that a parent lends to its child again: their pages are there already, and are mapped already.

Fresh shared memory costs as much as a quarter of reading a compressed scan: pages are cleared, mapped twice and freed.
So a parent keeps the blocks that a child handed over. While an array lies in one, the child has neither a descriptor
nor a mapping of it, and cannot change what it once gave. When the last array is gone, the block goes along with the
next request to the same child, which fills it with another scan.
"""

import fcntl
import mmap
import os
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from raptor_search.readers.memory import LARGE, identity_of

__all__ = ["Lease", "Shelf"]

KEPT_BYTES = 2**29
"""Of blocks that a shelf keeps or will get back: a CT of 512 slices in float32, or two in int16."""

KEPT_BLOCKS = 8

UNUSED = 8
"""Requests in a row that a child may leave a block unused: then it is freed."""


class _Block:
    """Pages of another process, mapped read-only."""

    def __init__(self, fd: int, largest: int) -> None:
        self.unused = 0
        self.size = os.fstat(fd).st_size
        if self.size > largest:
            raise ValueError("a block larger than its process may be")
        if hasattr(fcntl, "F_ADD_SEALS"):  # else the process that made it could cut it short, and reading would kill
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        pages = mmap.mmap(fd, self.size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        self.content = np.frombuffer(pages, np.uint8)
        self.identity = identity_of(fd)
        self.fd = os.dup(fd)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)


class Lease:
    """What all arrays in a block hold on to; with the last of them the block goes back to its shelf, or is freed."""

    def __init__(self, block: _Block, shelf: "Shelf", *, returns: bool) -> None:
        self._block = block
        self._shelf = shelf
        self._returns = returns
        # NumPy makes the object that it has this from the end of every array's chain of bases.
        self.__array_interface__ = block.content.__array_interface__

    def array(
        self, shape: tuple[int, ...], dtype: np.dtype[np.generic], strides: tuple[int, ...], offset: int
    ) -> NDArray[np.generic]:
        """The array in the block, read-only.

        Raises:
            ValueError: an array that does not lie within the block.
        """
        content = np.asarray(self)
        return np.ndarray(shape, dtype, buffer=content, offset=offset, strides=strides)

    def __del__(self) -> None:
        if hasattr(self, "_returns"):
            self._shelf._take_back(self._block.identity, self._block if self._returns else None)


class Shelf:
    """The blocks that came from one child. One thread at a time asks the child; arrays may end in any.

    Args:
        largest: bytes that a block may have; one that says more is no block.
        kept: bytes of the blocks that are kept or will come back, at most.
    """

    def __init__(self, *, largest: int = sys.maxsize, kept: int = KEPT_BYTES) -> None:
        self._largest = largest
        self._kept = kept
        self._free: list[_Block] = []  # the one that came back last is the last
        self._leased: dict[tuple[int, int], int] = {}  # bytes that will come back
        self._returned: deque[tuple[tuple[int, int], _Block | None]] = deque()
        self._closed = False

    def lend(self) -> list[int]:
        """Descriptors of the blocks that the next request may fill."""
        self._settle()
        for block in self._free:
            block.unused += 1
        self._free = [block for block in self._free if block.unused <= UNUSED]
        return [block.fd for block in self._free]

    def received(self, fds: Sequence[int]) -> list[Lease]:
        """What was handed over, lent blocks or new ones.

        Args:
            fds: of the blocks; they are copied, and stay the caller's to close.

        Raises:
            ValueError: a block in which arrays lie, one twice, or one that is too large.
            OSError: something else than a block.
        """
        self._settle()
        return [self._leased_out(fd) for fd in fds]

    def close(self) -> None:
        """Keep nothing from now on; arrays stay what they are."""
        self._closed = True
        self._free = []
        self._returned.clear()

    def _leased_out(self, fd: int) -> Lease:
        identity = identity_of(fd)
        if identity in self._leased:
            raise ValueError("a block in which arrays lie already")
        block = next((block for block in self._free if block.identity == identity), None)
        if block is not None:
            block.unused = 0
            self._free.remove(block)
            returns = True
        else:
            block = _Block(fd, self._largest)
            returns = self._makes_room(block.size)
        self._leased[identity] = block.size if returns else 0
        return Lease(block, self, returns=returns)

    def _makes_room(self, size: int) -> bool:
        """Whether one block more will be kept; free ones are given up for it, the one used longest ago first."""
        if self._closed or size < LARGE:
            return False
        leased = [held for held in self._leased.values() if held]
        if len(leased) >= KEPT_BLOCKS or sum(leased) + size > self._kept:
            return False
        while True:
            held = [*leased, *(block.size for block in self._free)]
            if len(held) < KEPT_BLOCKS and sum(held) + size <= self._kept:
                return True
            del self._free[0]

    def _settle(self) -> None:
        with suppress(IndexError):
            while True:
                identity, block = self._returned.popleft()
                self._leased.pop(identity, None)
                if block is not None:
                    self._free.append(block)

    def _take_back(self, identity: tuple[int, int], block: _Block | None) -> None:
        """Called as an array ends, in whatever thread and at whatever moment: so nothing but an atomic step."""
        self._returned.append((identity, block))
        if self._closed:
            self._returned.clear()
