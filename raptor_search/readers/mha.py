"""MetaImage: MHA with its data inside, MHD with them in a file beside it; header as text, voxels plain or deflated.

Source: ITK's MetaIO (metaImage.cxx): `TransformMatrix` holds the direction of each axis in turn, in LPS.
"""

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from raptor_search.errors import ReadError
from raptor_search.readers.inflating import Stream, check_inflation, damage_as_read_error, read_array, skip
from raptor_search.readers.orientation import LPS_TO_RAS, to_volume
from raptor_search.readers.volumes4d import number_of
from raptor_search.volume import Volume, check_shape

__all__ = ["mha_files", "mha_volumes", "read_mha"]

MAX_HEADER = 64 * 2**10
MAX_LINES = 500
CHUNK = 2**20

DTYPES = {
    **{"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4"},
    **{"MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8"},
    **{"MET_FLOAT": "f4", "MET_DOUBLE": "f8"},
}
"""Types of an element; MET_LONG has four bytes in a file, whatever the machine (metaTypes.h)."""

Header = Mapping[str, str]


def read_mha(path: Path, member: str = "") -> Volume:
    """One volume of a MetaImage, in RAS+ mm.

    Args:
        path: of the .mha or .mhd file.
        member: "t3" for volume 3 of a 4D file, "" for the only one.

    Raises:
        ReadError: a damaged file, data elsewhere than in it or beside it, another number of volumes, or geometry that
            cannot be.
    """
    with damage_as_read_error():
        header, end = _header(path)
        (shape, count), dtype = _sizes(header), _dtype(header)
        number = number_of(member, count)
        check_shape(shape)
        one = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        affine, oriented = _affine(header)
        data = _data_file(path, header)
        with data.open("rb") as file, _voxels(file, header, end if data == path else 0, one * count) as stream:
            skip(stream, number * one)
            stored = read_array(stream, dtype, shape, to_end=False)
        return to_volume(stored, affine, kind="mha", oriented=oriented)


def mha_volumes(path: Path) -> int:
    """How many volumes the file holds, from its header alone.

    Raises:
        ReadError: a damaged header.
    """
    with damage_as_read_error():
        return _sizes(_header(path)[0])[1]


def mha_files(path: Path) -> tuple[Path, ...]:
    """The file and, of an MHD, the one beside it that holds the voxels.

    Raises:
        ReadError: a damaged header, or data that are not there or lie elsewhere.
    """
    with damage_as_read_error():
        data = _data_file(path, _header(path)[0])
        return (path,) if data == path else (path, data)


def _header(path: Path) -> tuple[dict[str, str], int]:
    """Keys in lower case with their text, and where the header ends."""
    with path.open("rb") as file:
        content = file.read(MAX_HEADER)
    found: dict[str, str] = {}
    place = 0
    for _ in range(MAX_LINES):
        end = content.find(b"\n", place)
        key, is_pair, value = content[place : end if end >= 0 else None].decode("latin-1").partition("=")
        if not is_pair:
            break
        found[key.strip().lower()] = value.strip()
        place = end + 1 if end >= 0 else len(content)
        if key.strip().lower() == "elementdatafile":
            return found, place
    raise ReadError("unreadable", "the MetaImage header is damaged: it names no ElementDataFile")


def _sizes(header: Header) -> tuple[tuple[int, ...], int]:
    """The sizes of one volume, and how many there are; further axes of one are dropped."""
    sizes = [int(number) for number in _numbers(header, "dimsize", None)]
    if not sizes or min(sizes) < 1 or str(len(sizes)) != header.get("ndims", str(len(sizes))):
        raise ReadError("unreadable", "the MetaImage header's sizes cannot be; the file is damaged")
    if header.get("elementnumberofchannels", "1") != "1":
        raise ReadError("unsupported", "several channels a voxel; expected one")
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    return tuple(sizes[:3]), int(np.prod(sizes[3:], dtype=object))


def _dtype(header: Header) -> np.dtype[np.generic]:
    code = DTYPES.get(header.get("elementtype", "").upper())
    if code is None:
        raise ReadError("unsupported", "a MetaImage of an unknown ElementType; expected plain numbers")
    if not _flag(header, "binarydata", default=True):
        raise ReadError("unsupported", "a MetaImage with data as text; expected binary data: save it again")
    is_big = _flag(header, "binarydatabyteordermsb") or _flag(header, "elementbyteordermsb")
    return np.dtype(code).newbyteorder(">" if is_big else "<")


def _affine(header: Header) -> tuple[NDArray[np.float64], bool]:
    """Stored index to RAS+ mm, and whether the header says how the scan lies."""
    spacing = np.array(_numbers(header, "elementspacing", None) or _numbers(header, "elementsize", [1.0] * 3))[:3]
    dimensions = len(_numbers(header, "dimsize", None))
    named = next((key for key in ("transformmatrix", "orientation", "rotation") if key in header), None)
    matrix = np.array(_numbers(header, named, None)) if named else np.eye(dimensions).reshape(-1)
    origin = next((key for key in ("offset", "position", "origin") if key in header), None)
    offset = np.array(_numbers(header, origin, None)) if origin else np.zeros(dimensions)
    if matrix.size != dimensions**2 or offset.size != dimensions or spacing.size != 3:
        raise ReadError("bad-geometry", "a matrix, an offset or a spacing of another size than the MetaImage has axes")
    affine = np.eye(4)
    affine[:3, :3] = matrix.reshape(dimensions, dimensions)[:3, :3].T * np.abs(spacing)
    affine[:3, 3] = offset[:3]
    return LPS_TO_RAS @ affine, named is not None


def _numbers(header: Header, key: str, default: list[float] | None) -> list[float]:
    try:
        return [float(text) for text in header[key].split()] if key in header else default or []
    except ValueError as error:
        raise ReadError("unreadable", f"the MetaImage header is damaged: no numbers in {key}") from error


def _flag(header: Header, key: str, *, default: bool = False) -> bool:
    text = header.get(key, "")
    return text[:1].upper() in {"T", "1", "Y"} if text else default


def _data_file(path: Path, header: Header) -> Path:
    """Where the voxels lie: in the file itself, or under a plain name in its folder."""
    name = header["elementdatafile"]
    if name.upper() == "LOCAL":
        return path
    if name.split(" ")[0].upper() == "LIST" or "%" in name:
        raise ReadError("unsupported", "a MetaImage of a file a slice; expected one file: save it again")
    # A path in a header could point anywhere; only a name in the same folder is followed, and no link out of it.
    beside = path.parent / name
    if not name or Path(name).name != name or "\\" in name or not beside.is_file():
        raise ReadError("unsupported", "a MetaImage whose data lie elsewhere; expected a file in the same folder")
    if beside.resolve().parent != path.parent.resolve():
        raise ReadError("unsupported", "a MetaImage whose data are a link out of its folder; expected a file there")
    return beside


@contextmanager
def _voxels(file: IO[bytes], header: Header, start: int, needed: int) -> Iterator[Stream]:
    """The stream of the voxels' bytes, after what there must be of them was checked."""
    size = file.seek(0, 2)
    if _flag(header, "compresseddata"):
        check_inflation(needed, size)
        file.seek(start)
        yield _Inflated(file)
        return
    skipped = int((_numbers(header, "headersize", None) or [0])[0])
    start = size - needed if skipped == -1 else start + max(skipped, 0)
    if start < 0 or start + needed > size:
        raise ReadError("unreadable", f"truncated: {max(size - start, 0)} of {needed} bytes of voxels")
    file.seek(start)
    yield file


class _Inflated:
    """A zlib stream within a file, inflated as far as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._blocks = iter(partial(file.read, CHUNK), b"")
        self._engine = zlib.decompressobj()

    def read(self, size: int, /) -> bytes:
        while not self._engine.eof:
            block = self._engine.unconsumed_tail or next(self._blocks, b"")
            inflated = self._engine.decompress(block, size)
            if inflated or not block:
                return inflated
        return b""
