"""NRRD with attached data: header by pynrrd, voxels read within the header's arithmetic."""

import bz2
import warnings
from collections.abc import Mapping
from gzip import GzipFile
from pathlib import Path
from typing import IO, Any

import nrrd as pynrrd
import numpy as np
from numpy.typing import NDArray

from raptor_search.errors import ReadError
from raptor_search.readers.inflating import check_inflation, damage_as_read_error, gunzipped, read_array
from raptor_search.readers.orientation import to_volume
from raptor_search.volume import Volume, check_shape

__all__ = ["read_nrrd"]

DTYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"),
    "float": "f4",
    "double": "f8",
}
"""Type names of the NRRD definition, section 4.3."""

RAS_SIGNS = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}
"""Signs that turn each anatomical space into RAS+; other spaces say nothing about the patient."""

MM_PER_UNIT = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 0.001, "\u00b5m": 0.001, "microns": 0.001}


def read_nrrd(path: Path) -> Volume:
    """The volume of one NRRD file, in RAS+ mm. Without an anatomical space it is marked as not oriented.

    Raises:
        ReadError: a damaged file, data in another file, not three dimensions, or geometry that cannot be.
    """
    with damage_as_read_error(), path.open("rb") as file:
        header = _header(file)
        shape, dtype = _shape(header), _dtype(header)
        check_inflation(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize, path.stat().st_size)
        affine, oriented = _affine(header)
        encoding = str(header.get("encoding", "")).lower()
        with _opened(file, encoding) as stream:
            stored = read_array(stream, dtype, shape, to_end=encoding != "raw")
        return to_volume(stored, affine, kind="nrrd", oriented=oriented)


def _header(file: IO[bytes]) -> Mapping[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"nrrd(\.|$)")
            header: Mapping[str, Any] = pynrrd.read_header(file)
    except (pynrrd.NRRDError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ReadError("unreadable", "the NRRD header is damaged") from error
    # A path in a header could point anywhere; it is never followed.
    if "data file" in header or "datafile" in header:
        raise ReadError("unsupported", "NRRD header and data in two files; expected one .nrrd: save it attached")
    if any(int(header.get(key, 0)) for key in ("line skip", "lineskip", "byte skip", "byteskip")):
        raise ReadError("unsupported", "NRRD with skipped lines or bytes; expected the data right after the header")
    return header


def _shape(header: Mapping[str, Any]) -> tuple[int, ...]:
    """The three sizes; further axes of one are dropped."""
    sizes = [int(n) for n in header.get("sizes", [])]
    if not sizes or min(sizes) < 1:
        raise ReadError("unreadable", "the NRRD header's sizes cannot be; the file is damaged")
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) > 3:
        raise ReadError(
            "not-3d", f"{len(sizes)}D ({'x'.join(map(str, sizes))}); expected 3D: split it into one file a volume first"
        )
    check_shape(tuple(sizes))
    return tuple(sizes)


def _dtype(header: Mapping[str, Any]) -> np.dtype[np.generic]:
    code = DTYPES.get(str(header.get("type", "")).lower())
    if code is None:
        raise ReadError("unsupported", "NRRD of an unknown or block type; expected plain numbers")
    return np.dtype(code).newbyteorder(">" if str(header.get("endian", "little")).lower() == "big" else "<")


def _opened(file: IO[bytes], encoding: str) -> IO[bytes] | GzipFile | bz2.BZ2File:
    match encoding:
        case "raw":
            return file
        case "gzip" | "gz":
            return gunzipped(file)
        case "bzip2" | "bz2":
            return bz2.BZ2File(file)
    raise ReadError("unsupported", "NRRD with data as text; expected raw, gzip or bzip2: save it again")


def _affine(header: Mapping[str, Any]) -> tuple[NDArray[np.float64], bool]:
    """Stored index to RAS+ mm, and whether the header names an anatomical space."""
    signs = RAS_SIGNS.get(str(header.get("space", "")).lower().removesuffix("-time"))
    affine = np.eye(4)
    directions = header.get("space directions")
    if directions is None:
        spacings = np.asarray(header.get("spacings", [1.0, 1.0, 1.0]), np.float64)[:3]
        affine[:3, :3] = np.diag(np.abs(spacings))
        return affine, False
    vectors = np.asarray(directions, np.float64)[:3]
    if vectors.shape != (3, 3):
        raise ReadError("bad-geometry", "space directions of another size; expected three vectors of three numbers")
    vectors = vectors * np.array([_mm(unit) for unit in header.get("space units", ["mm"] * 3)])
    if signs is None:
        affine[:3, :3] = np.diag(np.linalg.norm(vectors, axis=1))
        return affine, False
    affine[:3, :3] = vectors.T
    affine[:3, 3] = np.asarray(header.get("space origin", [0.0, 0.0, 0.0]), np.float64) * _mm_of_origin(header)
    return affine * np.array([*signs, 1.0])[:, None], True


def _mm_of_origin(header: Mapping[str, Any]) -> NDArray[np.float64]:
    return np.array([_mm(unit) for unit in header.get("space units", ["mm"] * 3)])


def _mm(unit: str) -> float:
    factor = MM_PER_UNIT.get(unit.strip('" ').lower())
    if factor is None:
        raise ReadError("bad-geometry", "an unknown unit of space; expected mm, cm, m or um")
    return factor
