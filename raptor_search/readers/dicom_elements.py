"""The elements of one DICOM file, walked once up to its pixels: quickly, and without trusting a length.

pydicom parses a header of a hundred elements in a millisecond, several times over for a series. Here the same
elements are found in a tenth of that and handed to pydicom unconverted, so that it converts only what is asked for.
Sequences are stepped over without recursion. What is not plain is `Unusual`, and pydicom reads it.

Source: DICOM PS3.5, section 7 (the data set) and A.4 (encapsulated pixels).
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from pydicom.dataelem import RawDataElement

from raptor_search.errors import ReadError
from raptor_search.readers.dicom_values import Elements, interned
from raptor_search.readers.inflating import Stream

__all__ = ["Elements", "Encoding", "PixelPlace", "Unusual", "Window", "walk", "walk_meta"]

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010
META_GROUP = b"\x02\0"

LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
SHORT_VRS = frozenset(
    (
        *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL"),
        *(b"SS", b"ST", b"TM", b"UI", b"UL", b"US"),
    )
)
"""Value representations with a length of 4 and of 2 bytes (PS3.5 7.1.2)."""

VR_NAMES = {vr: vr.decode() for vr in LONG_VRS | SHORT_VRS}
SHORT_NAMES = {vr: vr.decode() for vr in SHORT_VRS}

PLAIN = struct.Struct("<HHxxH").unpack_from

MAX_DEPTH = 64
"""Sequences within sequences; structured reports, the deepest objects, stay below 20."""

MAX_HEADER = 96 * 2**20
"""Bytes before the pixels; an enhanced file of 10,000 frames has some 20 MB."""

FIRST_BLOCK = 16 * 2**10
"""Bytes asked for at first: most headers of one slice lie within."""


class Unusual(Exception):  # noqa: N818 - no error: the slow way is taken
    """An encoding that is left to pydicom."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the elements are written (PS3.5 section 10)."""

    implicit: bool
    little: bool


@dataclass(frozen=True, slots=True)
class PixelPlace:
    """Where the pixel data lie.

    Attributes:
        start: offset of the first byte of the value.
        length: of the value in bytes; None where it is encapsulated (undefined).
        vr: OB or OW; None where the encoding does not say.
    """

    start: int
    length: int | None
    vr: str | None


class Window:
    """The first bytes of a stream, of which more are read as they are asked for."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.data = b""
        self._ended = False

    def reach(self, end: int) -> bool:
        """Whether the stream has `end` bytes, which are then in `data`."""
        if end > MAX_HEADER:
            raise ReadError("too-large", f"a DICOM header of more than {MAX_HEADER} bytes")
        while len(self.data) < end and not self._ended:
            block = self._stream.read(max(end - len(self.data), len(self.data), FIRST_BLOCK))
            self._ended = not block
            self.data += block
        return len(self.data) >= end

    def need(self, end: int) -> None:
        """As `reach`, where the bytes must be there.

        Raises:
            ReadError: the stream ends before.
        """
        if not self.reach(end):
            raise ReadError("unreadable", "truncated: the DICOM header ends within an element")

    def rest(self, start: int) -> Stream:
        """What follows from `start` on, whether it was read already or not."""
        return Rest(self.data[start:], self._stream)


class Rest:
    """A stream, with bytes before it that were read already."""

    def __init__(self, head: bytes, stream: Stream) -> None:
        self._head = head
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        if not self._head:
            return self._stream.read(size)
        block, self._head = self._head[:size], self._head[size:]
        return block

    def readinto(self, target: memoryview, /) -> int:
        """As `read`, into memory; how many bytes came."""
        into = getattr(self._stream, "readinto", None)
        if into is not None and not self._head:
            return int(into(target))
        block = self.read(len(target))
        target[: len(block)] = block
        return len(block)


def walk(
    window: Window,
    position: int,
    encoding: Encoding,
    *,
    wanted: frozenset[int] | None = None,
    last: int = PIXEL_DATA - 1,
) -> tuple[Elements, PixelPlace | None, int]:
    """The top-level elements up to the pixels, where these are, and where the walk ended.

    Args:
        window: over the file.
        position: of the first element.
        encoding: of the elements.
        wanted: tags to keep, all where None.
        last: the walk ends before the first tag above this one.

    Raises:
        ReadError: an element that ends after the file, or sequences nested beyond `MAX_DEPTH`.
        Unusual: an encoding that is left to pydicom.
    """
    found: Elements = {}
    read_element = _implicit(encoding.little) if encoding.implicit else _explicit(encoding.little)
    is_plain = not encoding.implicit and encoding.little
    data, safe = window.data, -1
    while True:
        if position > safe:  # the block ends within the next header: read on
            if not window.reach(position + 8):
                break
            data, safe = window.data, len(window.data) - 12
        if is_plain and position <= safe and (vr := SHORT_NAMES.get(data[position + 4 : position + 6])):
            # What nearly all elements are, without a call.
            group, element, length = PLAIN(data, position)
            tag, start = group << 16 | element, position + 8
        else:
            tag, vr, start, length = read_element(window, position)
        if tag > last:
            place = PixelPlace(start, None if length == UNDEFINED else length, vr) if tag == PIXEL_DATA else None
            return found, place, position
        implicit = encoding.implicit
        if length == UNDEFINED:
            implicit = implicit or vr == "UN"  # PS3.5 6.2.2, note 4
            if vr not in {"SQ", "UN", None}:
                raise Unusual
            position, vr = _after_sequence(window, start, Encoding(implicit, encoding.little)), "SQ"
        else:
            position = start + length
        if wanted is None or tag in wanted:
            if position > len(window.data):
                window.need(position)
            key, value = interned(tag), window.data[start:position]
            found[key] = RawDataElement(key, vr, len(value), value, start, implicit, encoding.little)
    if len(window.data) < position:
        raise ReadError("unreadable", "truncated: the DICOM header ends within an element")
    return found, None, position


def walk_meta(window: Window, position: int) -> tuple[Elements, int]:
    """The elements of group 0002 (PS3.10 7.1), and where the dataset starts: in any encoding, even deflated.

    Raises:
        ReadError, Unusual: as `walk`.
    """
    found: Elements = {}
    read_element = _explicit(little=True)
    while window.reach(position + 8) and window.data[position : position + 2] == META_GROUP:
        tag, vr, start, length = read_element(window, position)
        position = start + length
        window.need(position)
        key = interned(tag)
        found[key] = RawDataElement(key, vr, length, window.data[start:position], start, False, True)
    return found, position


ReadElement = Callable[[Window, int], tuple[int, str | None, int, int]]
"""From the offset of an element: its tag, its VR, where its value starts, and how long that is."""


def _explicit(little: bool) -> ReadElement:
    order = "<" if little else ">"
    short, long = struct.Struct(order + "HH2sH").unpack_from, struct.Struct(order + "L").unpack_from

    def read(window: Window, position: int) -> tuple[int, str | None, int, int]:
        group, element, vr, length = short(window.data, position)
        if vr in SHORT_VRS:
            return group << 16 | element, VR_NAMES[vr], position + 8, length
        if vr not in LONG_VRS:
            raise Unusual
        if position + 12 > len(window.data):
            window.need(position + 12)
        return group << 16 | element, VR_NAMES[vr], position + 12, long(window.data, position + 8)[0]

    return read


def _implicit(little: bool) -> ReadElement:
    unpack = struct.Struct("<HHL" if little else ">HHL").unpack_from

    def read(window: Window, position: int) -> tuple[int, str | None, int, int]:
        group, element, length = unpack(window.data, position)
        return group << 16 | element, None, position + 8, length

    return read


def _after_sequence(window: Window, position: int, encoding: Encoding) -> int:
    """Where a sequence of undefined length ends; items within may be of undefined length too."""
    read_tag = _implicit(encoding.little)
    read_element = read_tag if encoding.implicit else _explicit(encoding.little)
    is_item = [False]  # of each level that is open, outermost first
    while is_item:
        window.need(position + 8)
        tag, _, start, length = read_tag(window, position)
        if tag == (ITEM_END if is_item[-1] else SEQUENCE_END):
            is_item.pop()
            position = start
        elif is_item[-1]:
            _, vr, start, length = read_element(window, position)
            if length == UNDEFINED and vr == "UN":
                raise Unusual
            if length == UNDEFINED:
                is_item.append(False)
            position = start if length == UNDEFINED else start + length
        elif tag == ITEM:
            if length == UNDEFINED:
                is_item.append(True)
            position = start if length == UNDEFINED else start + length
        else:
            raise Unusual
        if len(is_item) > 2 * MAX_DEPTH:
            raise ReadError("unreadable", f"sequences nested deeper than {MAX_DEPTH}; the file is damaged")
    return position
