"""Reading no more than a header says: bounded inflation and truncation checks.

A file of 3 MB can inflate to gigabytes. Every reader here first works out from the header how many bytes there must
be, refuses what is out of proportion, and then reads exactly that many into memory that it allocated once.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol, cast

import numpy as np
from isal.igzip import IGzipFile
from isal.isal_zlib import IsalError
from jaxtyping import Shaped

from raptor_search.errors import ReadError
from raptor_search.readers.memory import SharedBlock, empty, shared_block

__all__ = ["Inflater", "Stream", "check_inflation", "damage_as_read_error", "gunzipped", "read_array", "set_limit"]

SMALL = 256 * 2**20
"""Bytes that may be inflated whatever the ratio: a label map of 512^3 zeros is no attack."""

MAX_RATIO = 200
"""Inflated over stored bytes, above `SMALL`. Scans reach 2-20; deflate's limit is 1,032."""

SLACK = 2**20
"""Bytes that may follow the voxels, such as padding."""

CHUNK = 2**20

ISAL_ERROR = cast(type[Exception], IsalError)
"""Its stub declares an instance."""

_limit = 8 * 2**30


class Stream(Protocol):
    """Anything that bytes are read from: a file, or one that inflates."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


def set_limit(inflated: int) -> None:
    """Take another absolute limit, for the whole process: that of a child that reads."""
    global _limit  # noqa: PLW0603 - set once at the start of a child
    _limit = inflated


def check_inflation(inflated: int, stored: int) -> None:
    """Refuse what would inflate out of proportion or beyond the limit, before it is inflated.

    Raises:
        ReadError: `inflated` bytes from `stored` bytes cannot be a scan.
    """
    if inflated > SMALL and inflated > MAX_RATIO * stored:
        raise ReadError(
            "too-large",
            f"{stored} bytes would unpack to {inflated}; expected at most {MAX_RATIO} times their size",
        )
    if inflated > _limit:
        raise ReadError("too-large", f"it would unpack to {inflated} bytes; expected at most {_limit}")


def read_array(
    stream: Stream, dtype: np.dtype[np.generic], shape: tuple[int, ...], *, to_end: bool
) -> Shaped[np.ndarray, "..."]:
    """The next `shape` numbers of the stream, first axis fastest, in native byte order.

    Args:
        stream: positioned at the first number.
        dtype: as stored.
        shape: checked by the caller.
        to_end: read on to the end of the stream, where a gzip checksum is verified.

    Raises:
        ReadError: fewer bytes than the shape needs, or far more.
    """
    flat = empty((int(np.prod(shape, dtype=np.int64)),), dtype)
    shared = shared_block(flat)
    if shared is None or shared[0].is_ready:
        _fill(stream, flat.view(np.uint8).data)
    else:
        _fill_block(stream, *shared, flat.nbytes)
    if to_end and len(stream.read(SLACK + 1)) > SLACK:
        raise ReadError("unreadable", "more bytes follow the voxels than the header says; expected the end")
    native = flat.astype(dtype.newbyteorder("="), copy=False)
    return native.reshape(shape, order="F")


def _fill_block(stream: Stream, target: SharedBlock, offset: int, size: int) -> None:
    done = 0
    while done < size:
        block = stream.read(min(CHUNK, size - done))
        if not block:
            raise ReadError("unreadable", f"truncated: {done} of {size} bytes of voxels")
        target.put(block, offset + done)
        done += len(block)


def skip(stream: Stream, count: int) -> None:
    """Read past `count` bytes, a block at a time.

    Raises:
        ReadError: the stream ends before.
    """
    while count > 0:
        block = stream.read(min(CHUNK, count))
        if not block:
            raise ReadError("unreadable", f"truncated: {count} bytes are lacking before the voxels")
        count -= len(block)


def _fill(stream: Stream, target: memoryview) -> None:
    into = getattr(stream, "readinto", None)  # plain files fill the voxels themselves
    done = 0
    while into is not None and done < len(target):
        count = into(target[done : done + CHUNK])
        if not count:
            raise ReadError("unreadable", f"truncated: {done} of {len(target)} bytes of voxels")
        done += count
    while done < len(target):
        block = stream.read(min(CHUNK, len(target) - done))
        if not block:
            raise ReadError("unreadable", f"truncated: {done} of {len(target)} bytes of voxels")
        target[done : done + len(block)] = block
        done += len(block)


class Inflater:
    """A raw deflate stream, inflated as far as it is read, and counted."""

    def __init__(self, blocks: Iterator[bytes], stored: int) -> None:
        self._blocks = blocks
        self._stored = stored
        self._engine = zlib.decompressobj(-zlib.MAX_WBITS)
        self._inflated = 0

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end.

        Raises:
            ReadError: more than `check_inflation` lets pass.
        """
        while not self._engine.eof:
            block = self._engine.unconsumed_tail or next(self._blocks, b"")
            inflated = self._engine.decompress(block, size)
            self._inflated += len(inflated)
            check_inflation(self._inflated, self._stored)
            if inflated or not block:
                return inflated
        return b""


def gunzipped(file: IO[bytes]) -> IGzipFile:
    """What a gzip file inflates to, by ISA-L: its own checksum checked, at half of zlib's time."""
    return IGzipFile(fileobj=file)


@contextmanager
def damage_as_read_error() -> Iterator[None]:
    """What the operating system, gzip, bz2 and zlib say about a damaged file, as one error of ours."""
    try:
        yield
    except EOFError as error:
        raise ReadError("unreadable", "truncated: the compressed data end too early") from error
    except (zlib.error, ISAL_ERROR, OSError) as error:
        # An OSError's text names the path, which must not be stored; its reason does not.
        reason = getattr(error, "strerror", None) or "the compressed data are damaged"
        raise ReadError("unreadable", f"cannot be read: {reason}") from error
    except MemoryError as error:
        raise ReadError("too-large", "not enough memory to hold the voxels") from error
