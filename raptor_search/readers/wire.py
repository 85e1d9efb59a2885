"""What a parent and a child that reads say to each other: values of ours and arrays, nothing that could run.

A decoder that was taken over by a file writes what it likes to its parent. So a message is a pickle of which only
plain values and the frozen dataclasses of this library are accepted, and arrays travel beside it as memory.
"""

import dataclasses
import importlib
import io
import os
import pickle
import socket
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raptor_search.readers.lending import Lease, Shelf
from raptor_search.readers.memory import SharedBlock, shared_block

__all__ = ["Broken", "receive", "send"]

HEADER = struct.Struct("<QH")
"""Bytes of the message, and how many blocks of memory come with it."""

MAX_MESSAGE = 2**28
"""Bytes of one message without its voxels; the list of files of a large series has some megabytes."""

MAX_BLOCKS = 16

INLINE = 2**12
"""Bytes up to which an array travels within the message."""

KNOWN_MODULES = ("raptor_search.volume", "raptor_search.intensity", "raptor_search.readers.")
"""Where the classes of a message live."""


NONSENSE = (
    *(AttributeError, EOFError, ImportError, IndexError, KeyError, TypeError, ValueError),
    pickle.UnpicklingError,
)
"""What unpickling raises on bytes that are no message."""


class Broken(Exception):  # noqa: N818 - what it means is the caller's to say
    """The other side is gone, or says what is not of this protocol."""


class _Packer(pickle.Pickler):
    def __init__(self, file: io.BytesIO, blocks: list[SharedBlock]) -> None:
        super().__init__(file, protocol=5)
        self._blocks = blocks

    def persistent_id(self, value: object) -> object:
        """How values that are none of ours travel."""
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, np.generic):
            return "value", value.item()
        if isinstance(value, Path):
            return "path", str(value)
        return None

    def _array(self, array: NDArray[np.generic]) -> tuple[object, ...]:
        # A copy keeps the order of memory, as voxels keep that of their file.
        order = [int(axis) for axis in np.argsort([-abs(stride) for stride in array.strides], kind="stable")]
        lying = array.transpose(order)
        if array.nbytes <= INLINE:
            return (
                "inline",
                array.dtype.str,
                lying.shape,
                lying.tobytes(),
                [order.index(axis) for axis in range(array.ndim)],
            )
        found = shared_block(array)
        if found is None or found[0].is_handed_over:
            block = SharedBlock.of_bytes(array.nbytes)
            copy: NDArray[np.generic] = np.ndarray(lying.shape, array.dtype, buffer=block)
            copy[...] = lying
            array, found = copy.transpose(np.argsort(order)), (block, 0)
        block, offset = found
        if block not in self._blocks:
            self._blocks.append(block)
        return "shared", self._blocks.index(block), array.dtype.str, array.shape, array.strides, offset


class _Unpacker(pickle.Unpickler):
    def __init__(self, content: bytes, blocks: Sequence[Lease]) -> None:
        super().__init__(io.BytesIO(content))
        self._blocks = blocks

    def find_class(self, module: str, name: str) -> type:
        """A frozen dataclass of ours, or nothing."""
        if module.startswith(KNOWN_MODULES):
            found = getattr(importlib.import_module(module), name, None)
            if isinstance(found, type) and dataclasses.is_dataclass(found):
                return found
        raise pickle.UnpicklingError("a class that no message holds")

    def persistent_load(self, pid: Any) -> object:
        """The value behind what `_Packer.persistent_id` gave."""
        match pid:
            case ("value", value):
                return value
            case ("path", str(path)):
                return Path(path)
            case ("inline", str(dtype), shape, bytes(content), list(axes)):
                return np.frombuffer(content, _plain(dtype)).reshape(shape).transpose(axes)
            case ("shared", int(number), str(dtype), shape, strides, int(offset)):
                return self._blocks[number].array(shape, _plain(dtype), strides, offset)
        raise pickle.UnpicklingError("a value that no message holds")


def _plain(dtype: str) -> np.dtype[np.generic]:
    found = np.dtype(dtype)
    if found.kind not in "biuf":
        raise pickle.UnpicklingError("an array of something else than numbers")
    return found


def send(to: socket.socket, message: object, lent: Sequence[int] = ()) -> None:
    """Send plain values, dataclasses of ours, paths and arrays; arrays in shared blocks are not copied.

    Args:
        to: who listens.
        message: with its arrays, whose blocks are the other side's from now on.
        lent: files of further blocks that the other side may fill.

    Raises:
        Broken: nobody listens.
    """
    blocks: list[SharedBlock] = []
    packed = io.BytesIO()
    _Packer(packed, blocks).dump(message)
    content = packed.getvalue()
    try:
        fds = [*(block.fd for block in blocks), *lent]
        socket.send_fds(to, [HEADER.pack(len(content), len(fds))], fds)
        to.sendall(content)
    except OSError as error:
        raise Broken("the other side is gone") from error
    for block in blocks:
        block.is_handed_over = True


def receive(
    source: socket.socket,
    seconds: float | None = None,
    *,
    blocks: Callable[[Sequence[int]], Sequence[Lease]] | None = None,
) -> Any:
    """The next message.

    Args:
        source: where it comes from.
        blocks: makes of the files that come along the memory in which arrays lie; None lets them go with their arrays.
        seconds: to wait for all of it; None means for ever.

    Raises:
        Broken: the other side is gone, or sent what is no message.
        TimeoutError: it took too long.
    """
    until = None if seconds is None else time.monotonic() + seconds
    fds: list[int] = []
    try:
        _wait(source, until)
        head, fds, flags, _ = socket.recv_fds(source, HEADER.size, MAX_BLOCKS)
        head += _exactly(source, HEADER.size - len(head), until) if head else b""
        if not head or flags & socket.MSG_CTRUNC:
            raise Broken("the other side is gone")
        size, count = HEADER.unpack(head)
        if size > MAX_MESSAGE or count != len(fds):
            raise Broken("a message that cannot be")
        content = _exactly(source, size, until)
        return _Unpacker(content, (blocks or Shelf(kept=0).received)(fds)).load()
    except TimeoutError:
        raise
    except OSError as error:
        raise Broken("the other side is gone") from error
    except (
        pickle.UnpicklingError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        EOFError,
        AttributeError,
        ImportError,
    ) as error:
        raise Broken("a message that cannot be") from error
    finally:
        for fd in fds:  # whoever needs them has copies
            os.close(fd)


def _exactly(source: socket.socket, size: int, until: float | None) -> bytes:
    content = bytearray()
    while len(content) < size:
        _wait(source, until)
        block = source.recv(min(size - len(content), 2**20))
        if not block:
            raise Broken("the other side is gone")
        content += block
    return bytes(content)


def _wait(source: socket.socket, until: float | None) -> None:
    left = None if until is None else until - time.monotonic()
    if left is not None and left <= 0:
        raise TimeoutError
    source.settimeout(left)
