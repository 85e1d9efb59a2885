"""NIfTI-1 and -2, plain or gzipped, one file: header by nibabel, voxels read within the header's arithmetic."""

import io
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from raptor_search.errors import ReadError
from raptor_search.readers.inflating import Stream, check_inflation, damage_as_read_error, gunzipped, read_array, skip
from raptor_search.readers.memory import empty
from raptor_search.readers.orientation import to_volume
from raptor_search.readers.scaling import rescale, scaled_dtype
from raptor_search.readers.volumes4d import number_of
from raptor_search.volume import Volume, check_shape

__all__ = ["nifti_volumes", "read_nifti"]

HEADER_BYTES = 540
"""The longer of the two headers; NIfTI-1's 348 lie within."""

MAX_OFFSET = 64 * 2**20
"""Bytes before the voxels: header and extensions."""

MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Spatial codes of xyzt_units (nifti1.h): unknown, metre, millimetre, micron."""


def read_nifti(path: Path, member: str = "") -> Volume:
    """One volume of a NIfTI file, in RAS+ and real-world values.

    A file that says nothing about space (neither sform nor qform) keeps its axes and is marked as not oriented.

    Args:
        path: of the file.
        member: "t3" for volume 3 of a 4D file, "" for the only one.

    Raises:
        ReadError: a damaged or truncated file, another number of volumes, or geometry that cannot be.
    """
    with damage_as_read_error(), path.open("rb") as raw:
        if raw.read(2) == b"\x1f\x8b":
            raw.seek(0)
            with gunzipped(raw) as inflated:
                return _read(inflated, path.stat().st_size, member, compressed=True)
        raw.seek(0)
        return _read(raw, path.stat().st_size, member, compressed=False)


def nifti_volumes(path: Path) -> int:
    """How many volumes the file holds, from its header alone.

    Raises:
        ReadError: a damaged header.
    """
    with damage_as_read_error(), path.open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream: Stream = gunzipped(raw) if compressed else raw
        return _sizes(_header(stream)[0])[1]


def _read(stream: Stream, size: int, member: str, *, compressed: bool) -> Volume:
    header, consumed = _header(stream)
    (shape, count), dtype, offset = _sizes(header), _dtype(header), float(header["vox_offset"])
    number = number_of(member, count)
    check_shape(shape)
    if not 0 <= offset <= MAX_OFFSET:
        raise ReadError("unreadable", f"voxels at byte {offset:g}; expected at most {MAX_OFFSET}")
    voxel_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if compressed:
        check_inflation((number + 1) * voxel_bytes, size)
    elif offset + count * voxel_bytes > size:
        raise ReadError("unreadable", f"truncated: {size} of {offset + count * voxel_bytes:.0f} bytes")
    affine, oriented = _affine(header)
    skip(stream, max(int(offset), int(header["sizeof_hdr"])) - consumed + number * voxel_bytes)
    stored = read_array(stream, dtype, shape, to_end=compressed and number == count - 1)
    return to_volume(_real_world(stored, header), affine, kind="nifti", oriented=oriented)


def _header(stream: Stream) -> tuple[nib.Nifti1Header, int]:
    """The header, and how many bytes were consumed for it."""
    head = stream.read(348)
    kind = nib.Nifti1Header
    if head[4:7] == b"n+2":
        head += stream.read(HEADER_BYTES - len(head))
        kind = nib.Nifti2Header
    if len(head) < kind.sizeof_hdr:
        raise ReadError("unreadable", f"truncated: {len(head)} of {kind.sizeof_hdr} bytes of header")
    try:
        return kind.from_fileobj(io.BytesIO(head), check=False), len(head)
    except HeaderDataError as error:
        raise ReadError("unreadable", "the NIfTI header is damaged") from error


def _sizes(header: nib.Nifti1Header) -> tuple[tuple[int, ...], int]:
    """The sizes of one volume, and how many the file holds; further axes of one are dropped."""
    count = int(header["dim"][0])
    if not 1 <= count <= 7 or any(int(n) < 1 for n in header["dim"][1 : count + 1]):
        raise ReadError("unreadable", "the NIfTI header's sizes cannot be; the file is damaged")
    shape = [int(n) for n in header["dim"][1 : count + 1]]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    return tuple(shape[:3]), int(np.prod(shape[3:], dtype=object))


def _dtype(header: nib.Nifti1Header) -> np.dtype[np.generic]:
    try:
        dtype: np.dtype[np.generic] = np.dtype(header.get_data_dtype())
    except (HeaderDataError, KeyError) as error:
        raise ReadError("unreadable", f"unknown NIfTI datatype {int(header['datatype'])}") from error
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise ReadError("unsupported", "colour, complex or 128-bit voxels; expected plain numbers")
    return dtype


def _affine(header: nib.Nifti1Header) -> tuple[NDArray[np.float64], bool]:
    """Stored index to RAS+ mm, and whether the header says how the scan lies."""
    unit = MM_PER_UNIT.get(int(header["xyzt_units"]) & 7)
    if unit is None:
        raise ReadError("bad-geometry", "unknown spatial unit in the header; expected metre, millimetre or micron")
    oriented = True
    if int(header["sform_code"]) > 0:
        affine = np.asarray(header.get_sform(), np.float64)
    elif int(header["qform_code"]) > 0:
        try:
            affine = np.asarray(header.get_qform(), np.float64)
        except (HeaderDataError, ValueError) as error:
            raise ReadError("bad-geometry", "the header's quaternion is no rotation") from error
    else:
        affine, oriented = np.diag([*np.abs(header["pixdim"][1:4].astype(np.float64)), 1.0]), False
    return affine * np.array([[unit], [unit], [unit], [1.0]]), oriented


def _real_world(stored: NDArray[np.generic], header: nib.Nifti1Header) -> NDArray[np.generic]:
    """Values after scl_slope and scl_inter; a slope of 0 means none (nifti1.h)."""
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise ReadError("unreadable", "the header's scaling is not finite") from error
    if np.isinf(header["scl_slope"]):
        raise ReadError("unreadable", "the header's scaling is not finite")
    scaling = (1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept))
    dtype = scaled_dtype(stored.dtype, stored.dtype.itemsize * 8, [scaling])
    if scaling == (1.0, 0.0):
        return stored
    out = empty(stored.shape[::-1], dtype)
    rescale(stored.T, scaling, out)
    return out.T
