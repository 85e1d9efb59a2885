"""The stored numbers of a DICOM file, frame by frame: plain ones straight from the disk, the others decoded.

Frames come one at a time, so that no more than one is held beside the volume that they are put into.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, JPEGLSTransferSyntaxes

from raptor_search.errors import ReadError
from raptor_search.readers.codestreams import check_codestream
from raptor_search.readers.dicom_elements import Elements, PixelPlace, Unusual, walk
from raptor_search.readers.dicom_files import open_elements, parse_dicom, pydicom_failures
from raptor_search.readers.inflating import Stream, read_array

__all__ = ["stored_frames"]

ROWS, COLUMNS, FRAMES = Tag("Rows"), Tag("Columns"), Tag("NumberOfFrames")
SAMPLES, ALLOCATED = Tag("SamplesPerPixel"), Tag("BitsAllocated")
STORED, SIGN = Tag("BitsStored"), Tag("PixelRepresentation")
OFFSETS, LENGTHS = Tag("ExtendedOffsetTable"), Tag("ExtendedOffsetTableLengths")

WANTED = frozenset(map(int, (ROWS, COLUMNS, FRAMES, SAMPLES, ALLOCATED, STORED, SIGN, OFFSETS, LENGTHS)))

BEFORE_PIXELS = 0x7FE0000F

BLOCK = 2**22


def stored_frames(path: Path) -> Iterator[NDArray[np.generic]]:
    """Each frame of one grey image file as [row, column], in the order of the file.

    All allocated bits of plain and RLE pixels are kept, those above or below BitsStored too. The caller may write to
    the arrays.

    Raises:
        ReadError: damaged, truncated or undecodable pixels, or compressed ones of another size than the header's.
    """
    with pydicom_failures("pixel data"), path.open("rb", buffering=0) as file:
        try:
            opened = open_elements(file)
            found, place, _ = walk(opened.window, opened.position, opened.encoding, wanted=WANTED, last=BEFORE_PIXELS)
            if place is None:
                raise ReadError("unreadable", "no pixels in the file: it is truncated, or holds no image")
            image = _Image(found, little=opened.encoding.little)
            rest = opened.window.rest(place.start)
            if opened.syntax.is_encapsulated:
                frames = _decompressed(b"".join(iter(partial(rest.read, BLOCK), b"")), opened.syntax, image)
            elif image.dtype.itemsize == 1 and not opened.encoding.little:
                raise Unusual  # bytes may come in swapped pairs (PS3.5 D.2)
            else:
                frames = _plain(rest, place, image)
        except Unusual:
            decoded = pixel_array(parse_dicom(path, pixels=True))
            frames = iter(decoded if decoded.ndim == 3 else decoded[None])
        yield from frames


class _Image:
    """What the header says about the pixels, without the detour over a pydicom dataset.

    Raises:
        ReadError: where it says what cannot be.
    """

    def __init__(self, found: Elements, *, little: bool) -> None:
        self._found = found
        self._order = "little" if little else "big"
        self.rows, self.columns = self._number(ROWS, 0), self._number(COLUMNS, 0)
        self.frames = max(int((self._value(FRAMES)).strip(b"\0 ") or 1), 1)
        allocated = self._number(ALLOCATED, 0)
        self.bits = self._number(STORED, allocated)
        if self._number(SAMPLES, 1) != 1 or allocated not in {8, 16, 32} or not 0 < self.bits <= allocated:
            raise ReadError("unsupported", f"pixels of {allocated} bits; expected grey ones of 8, 16 or 32")
        if not (self.rows and self.columns):
            raise ReadError("unreadable", "no Rows or Columns in the header: the file holds no image")
        kind = np.dtype(f"{'i' if self._number(SIGN, 0) else 'u'}{allocated // 8}")
        self.dtype: np.dtype[np.generic] = kind.newbyteorder("<" if little else ">")

    @property
    def offsets(self) -> tuple[bytes, bytes] | None:
        """The extended offset table (PS3.3 C.7.6.3.1.8), where there is one."""
        offsets, lengths = self._value(OFFSETS), self._value(LENGTHS)
        return (offsets, lengths) if offsets and lengths else None

    def _value(self, tag: BaseTag) -> bytes:
        return (self._found[tag].value if tag in self._found else None) or b""

    def _number(self, tag: BaseTag, absent: int) -> int:
        value = self._value(tag)
        return int.from_bytes(value[:2], "little" if self._order == "little" else "big") if value else absent


def _plain(rest: Stream, place: PixelPlace, image: _Image) -> Iterator[NDArray[np.generic]]:
    needed = image.rows * image.columns * image.dtype.itemsize * image.frames
    if place.length is None or place.length < needed:
        raise ReadError("unreadable", f"truncated: {place.length or 0} bytes of pixels; expected {needed}")
    for _ in range(image.frames):
        yield read_array(rest, image.dtype, (image.columns, image.rows), to_end=False).T


def _decompressed(content: bytes, syntax: UID, image: _Image) -> Iterator[NDArray[np.generic]]:
    decoder, size = _decoder(syntax), (image.rows, image.columns)
    for codestream in generate_frames(content, number_of_frames=image.frames, extended_offsets=image.offsets):
        check_codestream(codestream, size)
    options: dict[str, Any] = {
        "rows": image.rows,
        "columns": image.columns,
        "number_of_frames": image.frames,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": 8 * image.dtype.itemsize,
        "bits_stored": image.bits,
        "pixel_representation": int(image.dtype.kind == "i"),
        "pixel_keyword": "PixelData",
        "correct_unused_bits": False,
        # libjpeg reads JPEG-LS too, at four times the cost.
        "decoding_plugin": "pyjpegls" if syntax in JPEGLSTransferSyntaxes else "",
    }
    if image.offsets:
        options["extended_offsets"] = image.offsets
    decoded = 0
    for frame, _ in decoder.iter_array(content, **options):
        decoded += 1
        yield frame.reshape(size)
    if decoded != image.frames:
        raise ReadError("unreadable", f"truncated: {decoded} compressed frames; expected {image.frames}")


def _decoder(syntax: UID) -> Decoder:
    """Who reads a compression. Without pylibjpeg-libjpeg, which is GPL-3, nobody reads JPEG lossless and 12 bits."""
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise ReadError("unsupported", "an unknown compression; expected one of DICOM's for images") from error
    if not decoder.is_available:
        raise ReadError("unsupported", f"no decoder for {syntax.name} is installed; `pip install pylibjpeg-libjpeg`")
    return decoder
