"""What a compressed image says of its own size, read before a decoder allocates for it.

A decoder believes the codestream and not the DICOM header: 60,000 x 60,000 pixels behind a header of 512 x 512 would
be allocated in full. Sources: ITU-T T.81 B.2.2 (JPEG), T.87 C.2.2 (JPEG-LS), T.800 A.5.1 (JPEG 2000).
"""

import struct

from raptor_search.errors import ReadError

__all__ = ["check_codestream"]

JPEG_START = b"\xff\xd8"
JPEG_END = b"\xff\xd9"
JPEG_2000_START = b"\xff\x4f\xff\x51"

FRAME_MARKERS = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}
"""Start of frame, of JPEG and of JPEG-LS; the three others among them are tables."""

JPEG_LS_FRAME = 0xF7

WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))

MAX_PADDING = 16
"""Bytes that may follow the end of an image: one by the standard, some more in practice."""


def check_codestream(frame: bytes, size: tuple[int, int]) -> None:
    """Refuse an image that is not of `size` (rows, columns) and one component; what is no JPEG passes.

    Raises:
        ReadError: another size, or a codestream that ends before it says one.
    """
    try:
        if frame.startswith(JPEG_START):
            found = _jpeg(frame)
        elif (start := frame.find(JPEG_2000_START, 0, 4096)) >= 0:
            found = _jpeg_2000(frame, start)
        else:
            return
    except (struct.error, IndexError) as error:
        raise ReadError("unreadable", "truncated: a compressed image without its header or its end") from error
    if found != (*size, 1):
        rows, columns, components = found
        raise ReadError(
            "unreadable",
            f"a compressed image of {rows}x{columns} pixels and {components} components; "
            f"expected {size[0]}x{size[1]} and one, as the header says",
        )


def _jpeg(frame: bytes) -> tuple[int, int, int]:
    """Rows, columns and components of the first frame header."""
    position = 2
    while True:
        if frame[position] != 0xFF:
            raise IndexError
        marker = frame[position + 1]
        if marker == 0xFF:  # fill bytes may come before a marker
            position += 1
        elif marker in WITHOUT_LENGTH:
            position += 2
        elif marker in FRAME_MARKERS:
            # CharLS looks for an end that is not there beyond the image, for minutes.
            if marker == JPEG_LS_FRAME and JPEG_END not in frame[-MAX_PADDING:]:
                raise IndexError
            rows, columns, components = struct.unpack_from(">HHB", frame, position + 5)
            return rows, columns, components
        else:
            position += 2 + struct.unpack_from(">H", frame, position + 2)[0]


def _jpeg_2000(frame: bytes, start: int) -> tuple[int, int, int]:
    """The same of the SIZ segment: the reference grid without its offset."""
    right, bottom, left, top = struct.unpack_from(">4L", frame, start + 8)
    (components,) = struct.unpack_from(">H", frame, start + 40)
    return bottom - top, right - left, components
