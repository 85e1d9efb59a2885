"""Files made to hurt a reader, drawn by name: each is written into a folder, and says how it must be refused.

Nothing here is a real scan; the damage to real ones is in `test_hostile.py` and `fuzz.py`.
"""

import bz2
import gzip
import io
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

__all__ = ["BOMBS", "HOSTILE", "Hostile"]

SHAPE = (12, 10, 8)
MEGABYTE = 2**20


@dataclass(frozen=True)
class Hostile:
    """One hostile file or folder.

    Attributes:
        make: writes it into a folder, and returns what is to be read.
        codes: the codes that it may be refused with; "usage" where there is no scan to refuse, "read" where what is
            hostile in it is passed over.
    """

    make: Callable[[Path], Path]
    codes: frozenset[str]


HOSTILE: dict[str, Hostile] = {}
BOMBS: set[str] = set()
"""Those that would unpack to gigabytes."""


def hostile(name: str, *codes: str, bomb: bool = False) -> Callable[[Callable[[Path], Path]], None]:
    def add(make: Callable[[Path], Path]) -> None:
        assert name not in HOSTILE
        HOSTILE[name] = Hostile(make, frozenset(codes))
        if bomb:
            BOMBS.add(name)

    return add


def deflated_zeros(count: int, before: bytes = b"", after: bytes = b"") -> bytes:
    """Raw deflate of `count` megabytes of zeros between two texts: one block repeated, so that it is quickly drawn."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(bytes(MEGABYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    start, end = (zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS) for _ in range(2))
    head = start.compress(before) + start.flush(zlib.Z_FULL_FLUSH)
    return head + block * count + end.compress(after) + end.flush()


def checksum(count: int, before: bytes = b"") -> int:
    """CRC-32 of a text and `count` megabytes of zeros."""
    crc, block = zlib.crc32(before), bytes(MEGABYTE)
    for _ in range(count):
        crc = zlib.crc32(block, crc)
    return crc


def zeros(count: int) -> bytes:
    """`count` megabytes of zeros, gzipped."""
    end = struct.pack("<LL", checksum(count), count * MEGABYTE % 2**32)
    return b"\x1f\x8b\x08\0" + bytes(4) + b"\0\xff" + deflated_zeros(count) + end


def drawn(dtype: str = "<i2") -> np.ndarray:
    return np.random.default_rng(1).integers(0, 1000, SHAPE).astype(dtype)


# NIfTI


def nifti(voxels: np.ndarray | None = None, kind: type = nib.Nifti1Header, **fields: object) -> bytes:
    """A file whose header says what `fields` say, whatever the voxels are."""
    voxels = drawn() if voxels is None else voxels
    header = kind()
    header.set_data_dtype(voxels.dtype)
    header.set_data_shape(voxels.shape)
    header.set_sform(np.diag([1.0, 1, 1, 1]), code=1)
    header["magic"] = b"n+1" if kind is nib.Nifti1Header else b"n+2"
    header["vox_offset"] = 352 if kind is nib.Nifti1Header else 544
    for name, value in fields.items():
        header[name] = value
    start = 352 if kind is nib.Nifti1Header else 544
    return header.binaryblock.ljust(start, b"\0") + voxels.tobytes(order="F")


def plain(name: str, content: Callable[[], bytes], *codes: str, ending: str = ".nii", bomb: bool = False) -> None:
    @hostile(name, *codes, bomb=bomb)
    def make(folder: Path) -> Path:
        path = folder / f"{name}{ending}"
        path.write_bytes(content())
        return path


def dims(*sizes: int) -> list[int]:
    return [len(sizes), *sizes, *[1] * (7 - len(sizes))]


DAMAGED = "unreadable"
READ = "read"
"""Harmless where nobody looks at it."""

for label, sizes, code in (
    ("zero", dims(12, 0, 8), DAMAGED),
    ("negative", dims(12, -10, 8), DAMAGED),
    ("none", [0] * 8, DAMAGED),
    ("eight-axes", [8, *[2] * 7], DAMAGED),
    ("minus-one-axes", [-1, *[2] * 7], DAMAGED),
    ("largest", dims(32767, 32767, 32767), "too-large"),
    ("largest-7d", dims(*[32767] * 7), "not-3d"),
    ("flat", dims(12, 10), "not-3d"),
    ("one-slice", dims(12, 10, 1), "too-few-slices"),
):
    plain(f"nifti-sizes-{label}", lambda sizes=sizes: nifti(dim=sizes), code, "too-large", DAMAGED)  # type: ignore[misc]

for label, fields, code in (
    ("affine-nan", {"srow_x": [np.nan, 0, 0, 0]}, "bad-geometry"),
    ("affine-inf", {"srow_z": [0, 0, np.inf, 0]}, "bad-geometry"),
    ("affine-zero", {"srow_x": [0, 0, 0, 0]}, "bad-geometry"),
    ("affine-singular", {"srow_x": [1, 0, 0, 0], "srow_y": [1, 0, 0, 0]}, "bad-geometry"),
    ("quaternion", {"sform_code": 0, "qform_code": 1, "quatern_b": 3.0}, "bad-geometry"),
    ("pixdim-zero", {"sform_code": 0, "pixdim": [1, 1, 0, 1, 1, 1, 1, 1]}, "bad-geometry"),
    ("pixdim-nan", {"sform_code": 0, "pixdim": [1, 1, np.nan, 1, 1, 1, 1, 1]}, "bad-geometry"),
    ("unit", {"xyzt_units": 7}, "bad-geometry"),
    ("intercept-inf", {"scl_slope": 1, "scl_inter": np.inf}, DAMAGED),
    ("slope-inf", {"scl_slope": np.inf}, DAMAGED),
    ("slope-overflow", {"scl_slope": 3e38}, "not-finite"),
    ("type-unknown", {"datatype": 999}, DAMAGED),
    ("type-complex", {"datatype": 32}, "unsupported"),
    ("type-colour", {"datatype": 128}, "unsupported"),
    ("type-128-bit", {"datatype": 1536}, "unsupported"),
    ("offset-nan", {"vox_offset": np.nan}, DAMAGED),
    ("offset-negative", {"vox_offset": -1e9}, DAMAGED),
    ("offset-far", {"vox_offset": 1e9}, DAMAGED),
    ("pair", {"magic": b"ni1"}, "unsupported"),
):
    plain(f"nifti-{label}", lambda fields=fields: nifti(**fields), code)  # type: ignore[misc]

plain("nifti-nan-voxels", lambda: nifti(np.where(drawn("<f4") > 900, np.nan, drawn("<f4"))), "not-finite")
plain("nifti-inf-voxels", lambda: nifti(np.where(drawn("<f4") > 900, np.inf, drawn("<f4"))), "not-finite")
plain("nifti-constant", lambda: nifti(np.full(SHAPE, 7, "<i2")), "constant")
plain("nifti2-sizes-2-62", lambda: nifti(kind=nib.Nifti2Header, dim=dims(2**62, 2**62, 4)), "too-large")
plain("nifti2-sizes-negative", lambda: nifti(kind=nib.Nifti2Header, dim=dims(-4, -4, 4)), DAMAGED)
plain("nifti-truncated-header", lambda: nifti()[:347], DAMAGED, "not-a-volume")
plain("nifti-text", lambda: b"<html>" * 100, "not-a-volume", ending=".nii.gz")
plain("nifti-empty", lambda: b"", DAMAGED)
plain("nifti-png", lambda: b"\x89PNG\r\n\x1a\n" + bytes(400), "not-a-volume")


def packed(content: bytes, tail: bytes = b"") -> bytes:
    return gzip.compress(content, mtime=0) + tail


GZ = ".nii.gz"
# deflate's best is 1,032 to 1; several members make one stream.
plain(
    "gzip-bomb-2-gigabytes",
    lambda: packed(nifti(dim=dims(1024, 1024, 1024))) + zeros(64),
    "too-large",
    ending=GZ,
    bomb=True,
)
plain("gzip-bomb-behind-the-voxels", lambda: packed(nifti()) + zeros(1024), DAMAGED, ending=GZ, bomb=True)
plain(
    "gzip-bomb-before-the-voxels",
    lambda: packed(nifti(vox_offset=9e8)) + zeros(900),
    DAMAGED,
    ending=GZ,
    bomb=True,
)
plain("gzip-within-gzip", lambda: packed(packed(nifti())), "not-a-volume", ending=GZ)
plain("gzip-cut", lambda: packed(nifti())[:-900], DAMAGED, "not-a-volume", ending=GZ)
plain("gzip-wrong-checksum", lambda: packed(nifti())[:-8] + bytes(8), DAMAGED, "not-a-volume", ending=GZ)
plain("gzip-header-alone", lambda: b"\x1f\x8b\x08\0", "not-a-volume", ending=GZ)


# NRRD and MetaImage


def nrrd(data: bytes = drawn().tobytes(), /, **fields: str) -> bytes:
    header = {
        "type": "short",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": "12 10 8",
        "space directions": "(1,0,0) (0,1,0) (0,0,1)",
        "endian": "little",
        "encoding": "raw",
        "space origin": "(0,0,0)",
    } | {name.replace("_", " "): value for name, value in fields.items()}
    return b"NRRD0005\n" + "".join(f"{k}: {v}\n" for k, v in header.items() if v).encode() + b"\n" + data


NR = ".nrrd"
for label, given, code in (
    ("sizes-huge", {"sizes": "99999999 99999999 99999999"}, "too-large"),
    ("sizes-negative", {"sizes": "12 -10 8"}, DAMAGED),
    ("sizes-zero", {"sizes": "0 0 0"}, DAMAGED),
    ("sizes-words", {"sizes": "a b c"}, DAMAGED),
    ("sizes-absent", {"sizes": ""}, DAMAGED),
    ("directions-nan", {"space_directions": "(nan,0,0) (0,1,0) (0,0,1)"}, "bad-geometry"),
    ("directions-zero", {"space_directions": "(0,0,0) (0,0,0) (0,0,0)"}, "bad-geometry"),
    ("elsewhere", {"data_file": "/etc/passwd"}, "unsupported"),
    ("type", {"type": "block"}, "unsupported"),
    ("encoding", {"encoding": "txt"}, "unsupported"),
    ("skip", {"byte_skip": "-1"}, "unsupported"),
):
    plain(f"nrrd-{label}", lambda given=given: nrrd(**given), code, DAMAGED, ending=NR)  # type: ignore[misc]
plain("nrrd-truncated", lambda: nrrd()[:-10], DAMAGED, ending=NR)
plain("nrrd-endless-header", lambda: b"NRRD0005\n" + b"key:=value\n" * 200_000, DAMAGED, "too-large", ending=NR)
plain(
    "nrrd-gzip-bomb",
    lambda: nrrd(zeros(64), sizes="1024 1024 1024", encoding="gzip"),
    "too-large",
    ending=NR,
    bomb=True,
)
plain(
    "nrrd-bzip2-bomb",
    lambda: nrrd(bz2.compress(bytes(64 * MEGABYTE)), sizes="1024 1024 1024", encoding="bzip2"),
    "too-large",
    ending=NR,
    bomb=True,
)


def mha(data: bytes = drawn().tobytes(), /, **fields: str) -> bytes:
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "DimSize": "12 10 8",
        "ElementSpacing": "1 1 1",
        "ElementType": "MET_SHORT",
        "ElementDataFile": "LOCAL",
    } | fields
    last = header.pop("ElementDataFile")
    return "".join(f"{k} = {v}\n" for k, v in header.items()).encode() + f"ElementDataFile = {last}\n".encode() + data


MH = ".mha"
for label, given, code in (
    ("sizes-huge", {"DimSize": "99999999 99999999 99999999"}, "too-large"),
    ("sizes-negative", {"DimSize": "12 -10 8"}, DAMAGED),
    ("spacing-zero", {"ElementSpacing": "0 1 1"}, "bad-geometry"),
    ("spacing-nan", {"ElementSpacing": "nan 1 1"}, "bad-geometry"),
    ("elsewhere", {"ElementDataFile": "/etc/passwd"}, "unsupported"),
    ("outside", {"ElementDataFile": "../../../../etc/passwd"}, "unsupported"),
):
    plain(f"mha-{label}", lambda given=given: mha(**given), code, DAMAGED, "bad-geometry", ending=MH)  # type: ignore[misc]
plain(
    "mha-deflate-bomb",
    lambda: mha(zlib.compress(bytes(64 * MEGABYTE)), DimSize="1024 1024 1024", CompressedData="True"),
    "too-large",
    ending=MH,
    bomb=True,
)


# DICOM


def slice_of(number: int) -> Dataset:
    one = Dataset()
    one.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    one.SOPInstanceUID = generate_uid(entropy_srcs=["hostile", str(number)])
    one.SeriesInstanceUID = generate_uid(entropy_srcs=["hostile"])
    one.Modality = "CT"
    one.ImagePositionPatient = [0, 0, 2 * number]
    one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    one.PixelSpacing = [1, 1]
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.Rows, one.Columns = SHAPE[1], SHAPE[0]
    one.BitsAllocated = one.BitsStored = 16
    one.HighBit, one.PixelRepresentation = 15, 1
    one.PixelData = drawn()[:, :, number].T.tobytes()
    one.file_meta = FileMetaDataset()
    one.file_meta.MediaStorageSOPClassUID, one.file_meta.MediaStorageSOPInstanceUID = (
        one.SOPClassUID,
        one.SOPInstanceUID,
    )
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return one


def content_of(dataset: Dataset) -> bytes:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def series(name: str, *codes: str, bomb: bool = False) -> Callable[[Callable[[Dataset], bytes | None]], None]:
    """A series of `SHAPE[2]` slices whose fourth is as the function makes it (its bytes, or the dataset changed)."""

    def add(change: Callable[[Dataset], bytes | None]) -> None:
        @hostile(name, *codes, bomb=bomb)
        def make(folder: Path) -> Path:
            target = folder / name
            target.mkdir()
            for number in range(SHAPE[2]):
                one = slice_of(number)
                content = change(one) if number == 3 else None
                (target / f"IM{number}.dcm").write_bytes(content_of(one) if content is None else content)
            return target

    return add


def changed(name: str, *codes: str, **attributes: object) -> None:
    @series(name, *codes)
    def _(one: Dataset) -> None:
        for keyword, value in attributes.items():
            if value is None:
                delattr(one, keyword)
            else:
                setattr(one, keyword, value)


SPLIT = ("bad-geometry", "mixed-geometry", "missing-slice")
"""A slice unlike the others is no part of their stack, which then lacks it."""

changed("dicom-frames-2-31", "too-large", NumberOfFrames=str(2**31 - 1))
changed("dicom-frames-beyond-2-31", "too-large", DAMAGED, "unsupported", NumberOfFrames="2147483648")
changed("dicom-frames-negative", "unsupported", DAMAGED, NumberOfFrames="-5")
changed("dicom-no-rows", DAMAGED, Rows=0)
changed("dicom-rows-largest", DAMAGED, "mixed-geometry", "too-large", Rows=65535, Columns=65535)
changed("dicom-spacing-zero", *SPLIT, PixelSpacing=[0, 0])
changed("dicom-spacing-negative", *SPLIT, PixelSpacing=[-1, 1])
changed("dicom-orientation-zero", *SPLIT, ImageOrientationPatient=[0, 0, 0, 0, 0, 0])
changed("dicom-position-absent", "bad-geometry", DAMAGED, "unsupported", ImagePositionPatient=None)
changed("dicom-bits-64", "unsupported", BitsAllocated=64)
changed("dicom-bits-0", "unsupported", DAMAGED, BitsAllocated=0)
changed("dicom-stored-beyond-allocated", "unsupported", DAMAGED, BitsStored=400)
changed("dicom-pixels-too-few", DAMAGED, PixelData=bytes(10))
changed("dicom-colour", "unsupported", "mixed-geometry", SamplesPerPixel=3, PhotometricInterpretation="RGB")


def replaced(one: Dataset, old: bytes, new: bytes) -> bytes:
    content = content_of(one)
    assert content.count(old) == 1
    return content.replace(old, new)


@series("dicom-position-nan", "bad-geometry", DAMAGED)
def _(one: Dataset) -> bytes:
    one.ImagePositionPatient = [0, 0, 77777]
    return replaced(one, b"77777", b"nan  ")


@series("dicom-slope-nan", DAMAGED, "bad-geometry", "not-finite")
def _(one: Dataset) -> bytes:
    one.RescaleIntercept, one.RescaleSlope = "0", "77777"
    return replaced(one, b"77777 ", b"nan   ")


@series("dicom-slope-huge", "not-finite", DAMAGED)
def _(one: Dataset) -> None:
    one.RescaleIntercept, one.RescaleSlope = "0", "1e300"


def nested(depth: int, *, defined: bool) -> bytes:
    """Sequences within sequences, of undefined or of defined length, as explicit little-endian bytes."""
    tag, item = b"\x40\x00\x30\xa7SQ\0\0", b"\xfe\xff\x00\xe0"
    if not defined:
        end = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
        return (tag + b"\xff" * 4 + item + b"\xff" * 4) * depth + end * depth
    content = b""
    for _ in range(depth):
        content = item + struct.pack("<L", len(content)) + content
        content = tag + struct.pack("<L", len(content)) + content
    return content


@series("dicom-nested-10000", DAMAGED)
def _(one: Dataset) -> bytes:
    content = content_of(one)
    place = content.index(b"\xe0\x7f\x10\0")
    return content[:place] + nested(10_000, defined=False) + content[place:]


def with_shared_groups(one: Dataset, groups: bytes) -> bytes:
    """Functional groups of the given bytes, in the sequence that a reader must look into."""
    one.NumberOfFrames = "1"
    content = content_of(one)
    place = content.index(b"\xe0\x7f\x10\0")
    described = b"\x00\x52\x30\x92SQ\0\0" + struct.pack("<L", len(groups)) + groups
    return content[:place] + described + content[place:]


@series("dicom-nested-10000-defined", READ, DAMAGED)
def _(one: Dataset) -> bytes:
    groups = nested(10_000, defined=True)
    return with_shared_groups(one, b"\xfe\xff\x00\xe0" + struct.pack("<L", len(groups)) + groups)


for kind, start in (("pe", b"MZ\x90\0"), ("elf", b"\x7fELF\x02\x01"), ("script", b"#!/bin/sh\n")):

    @series(f"dicom-behind-a-{kind}-program", "not-a-volume")
    def _(one: Dataset, start: bytes = start) -> bytes:
        content = content_of(one)
        return start + content[len(start) :]


@series("dicom-length-beyond-the-file", DAMAGED, "too-large")
def _(one: Dataset) -> bytes:
    return replaced(one, b"\x20\x00\x32\x00DS", b"\x20\x00\x32\x00UT\0\0\xfe\xff\xff\xff")


@series("dicom-private-4-gigabytes", DAMAGED, "too-large")
def _(one: Dataset) -> bytes:
    return replaced(one, b"\x20\x00\x32\x00DS", b"\x09\x00\x01\x10OB\0\0\xfe\xff\xff\xff")


@series("dicom-syntax-unknown", "unsupported", DAMAGED)
def _(one: Dataset) -> bytes:
    return replaced(one, b"1.2.840.10008.1.2.1\0", b"1.2.840.99999.9.9.9\0")


@series("dicom-syntax-absent-and-cut", DAMAGED, "not-a-volume")
def _(one: Dataset) -> bytes:
    one.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return content_of(one)[132:400]


@series("dicom-noise", DAMAGED, "not-a-volume")
def _(one: Dataset) -> bytes:
    return bytes(128) + b"DICM" + np.random.default_rng(5).bytes(4000)


@series("dicom-empty", DAMAGED)
def _(one: Dataset) -> bytes:
    return b""


def deflated(one: Dataset, count: int, place: bytes) -> bytes:
    """The dataset deflated, with megabytes of zeros in a private element before `place`."""
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    body = content_of(one)
    start = body.index(b"\x08\0\x16\0")
    one.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    meta = content_of(one)
    meta = meta[: 132 + 12 + struct.unpack_from("<L", meta, 140)[0]]
    here = body.index(place, start)
    private = b"\x09\x00\x01\x10OB\0\0" + struct.pack("<L", count * MEGABYTE)
    content = deflated_zeros(count, body[start:here] + private, body[here:])
    return meta + content + b"\0" * (len(content) % 2)


@series("dicom-deflate-bomb", "too-large", bomb=True)
def _(one: Dataset) -> bytes:
    return deflated(one, 1500, b"\x20\x00\x32\x00DS")


@series("dicom-deflate-bomb-before-the-pixels", "too-large", bomb=True)
def _(one: Dataset) -> bytes:
    return deflated(one, 1500, b"\xe0\x7f\x10\0")


def compressed(one: Dataset, syntax: str, *frames: bytes) -> bytes:
    one.file_meta.TransferSyntaxUID = syntax
    one.PixelData = encapsulate(list(frames))
    one["PixelData"].VR = "OB"
    one["PixelData"].is_undefined_length = True
    return content_of(one)


@series("dicom-jpeg2000-of-another-size", DAMAGED, bomb=True)
def _(one: Dataset) -> bytes:
    size = struct.pack(">HHLLLLLLLLHBBB", 41, 0, 60000, 60000, 0, 0, 60000, 60000, 0, 0, 1, 15, 1, 1)
    return compressed(one, JPEG2000Lossless, b"\xff\x4f\xff\x51" + size + bytes(200))


@series("dicom-jpeg-ls-of-another-size", DAMAGED, bomb=True)
def _(one: Dataset) -> bytes:
    frame = struct.pack(">HBHHBBBB", 11, 16, 60000, 60000, 1, 1, 0x11, 0)
    return compressed(one, JPEGLSLossless, b"\xff\xd8\xff\xf7" + frame + bytes(200) + b"\xff\xd9")


@series("dicom-jpeg-ls-without-an-end", DAMAGED)
def _(one: Dataset) -> bytes:
    frame = struct.pack(">HBHHBBBB", 11, 16, SHAPE[1], SHAPE[0], 1, 1, 0x11, 0)
    scan = struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 0, 0)
    return compressed(one, JPEGLSLossless, b"\xff\xd8\xff\xf7" + frame + b"\xff\xda" + scan + b"\xa5" * 500)


@series("dicom-rle-offsets-beyond", DAMAGED)
def _(one: Dataset) -> bytes:
    return compressed(one, RLELossless, struct.pack("<16L", 2, 64, 2**31, *[0] * 13) + bytes(64))


@series("dicom-rle-segments", DAMAGED)
def _(one: Dataset) -> bytes:
    return compressed(one, RLELossless, struct.pack("<16L", 2**32 - 1, *[64] * 15) + bytes(64))


@series("dicom-fragment-beyond-the-file", DAMAGED)
def _(one: Dataset) -> bytes:
    content = compressed(one, RLELossless, struct.pack("<16L", 2, 64, 96, *[0] * 13) + bytes(64))
    place = content.rindex(b"\xfe\xff\x00\xe0")
    return content[: place + 4] + b"\xfe\xff\xff\xff" + content[place + 8 :]


@hostile("dicom-half-of-a-series-gone", "missing-slice")
def _(folder: Path) -> Path:
    target = folder / "dicom-half-of-a-series-gone"
    target.mkdir()
    for number in (0, 1, 2, 6, 7):
        (target / f"IM{number}.dcm").write_bytes(content_of(slice_of(number)))
    return target


def directory(folder: Path, *parts: str) -> Path:
    """A DICOMDIR that names one file, which lies outside of its folder."""
    outside = folder / "outside"
    outside.mkdir()
    for number in range(SHAPE[2]):
        (outside / f"IM{number}").write_bytes(content_of(slice_of(number)))
    inside = folder / "disc"
    inside.mkdir()
    whole, record = Dataset(), Dataset()
    record.DirectoryRecordType = "IMAGE"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
        record.ReferencedFileID = list(parts)
    whole.DirectoryRecordSequence = [record]
    whole.file_meta = FileMetaDataset()
    whole.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    whole.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["directory"])
    whole.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
        (inside / "DICOMDIR").write_bytes(content_of(whole))
    return inside / "DICOMDIR"


@hostile("dicomdir-leads-outside", "usage")
def _(folder: Path) -> Path:
    return directory(folder, "..", "outside", "IM3")


@hostile("dicomdir-is-absolute", "usage")
def _(folder: Path) -> Path:
    return directory(folder, str(folder / "outside" / "IM3"))


# Zip and npz


def zipped(folder: Path, name: str, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in entries:
            archive.writestr(entry, content)
    return path


@hostile("zip-within-zip", "usage", "unsupported")
def _(folder: Path) -> Path:
    inner = zipped(folder, "inner.bin", ("scan.nii", nifti()))
    path = zipped(folder, "zip-within-zip.zip", ("inner.zip", inner.read_bytes()))
    inner.unlink()
    return path


@hostile("zip-of-a-link", "usage")
def _(folder: Path) -> Path:
    link = zipfile.ZipInfo("scan.nii")
    link.external_attr = 0o120777 << 16
    return zipped(folder, "zip-of-a-link.zip", (link, b"/etc/passwd"))


@hostile("zip-of-nothing", "usage")
def _(folder: Path) -> Path:
    return zipped(folder, "zip-of-nothing.zip")


def packed_zip(
    path: Path, name: str, data: bytes, crc: int, size: int, *, entries: int = 1, said: int | None = None
) -> Path:
    """A zip whose directory points `entries` times to one deflated member, and may lie about its size."""
    said = size if said is None else said
    local_sizes, sizes = struct.pack("<LLL", crc, len(data), said), struct.pack("<LLL", crc, len(data), said)
    text = name.encode()
    local = (
        b"PK\x03\x04" + struct.pack("<HHHHH", 20, 0, 8, 0, 0x21) + local_sizes + struct.pack("<HH", len(text), 0) + text
    )
    one = b"PK\x01\x02" + struct.pack("<HHHHHH", 20, 20, 0, 8, 0, 0x21) + sizes
    one += struct.pack("<HHHHHLL", len(text), 0, 0, 0, 0, 0, 0) + text
    start = len(local) + len(data)
    end = b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, entries, entries, len(one) * entries, start, 0)
    path.write_bytes(local + data + one * entries + end)
    return path


@hostile("zip-bomb", "too-large", bomb=True)
def _(folder: Path) -> Path:
    return packed_zip(folder / "bomb.zip", "scan.nii", deflated_zeros(2000), checksum(2000), 2000 * MEGABYTE)


@hostile("zip-that-lies-about-its-size", DAMAGED, "too-large", bomb=True)
def _(folder: Path) -> Path:
    data, crc = deflated_zeros(2000), checksum(2000)
    return packed_zip(folder / "lies.zip", "scan.nii", data, crc, 5000)


@hostile("zip-of-overlapping-entries", "too-large", DAMAGED, bomb=True)
def _(folder: Path) -> Path:
    """One kernel that 400 entries of the directory point to (Fifield 2019, in its simplest form)."""
    path = folder / "overlap.zip"
    return packed_zip(path, "a", deflated_zeros(20), checksum(20), 20 * MEGABYTE, entries=400)


@hostile("zip-of-20001-entries", "too-large")
def _(folder: Path) -> Path:
    return zipped(folder, "zip-many.zip", *((f"{number}.dcm", b"") for number in range(20_001)))


@hostile("zip-encrypted", "unsupported", DAMAGED)
def _(folder: Path) -> Path:
    path = zipped(folder, "zip-encrypted.zip", ("scan.nii", nifti()))
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    return path


@hostile("zip-cut", DAMAGED)
def _(folder: Path) -> Path:
    path = zipped(folder, "zip-cut.zip", ("scan.nii", nifti()))
    path.write_bytes(path.read_bytes()[:-30])
    return path


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def npy_header(text: str, data: bytes = b"") -> bytes:
    padded = text.ljust(118) + "\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(padded)) + padded.encode() + data


class _Runs:
    """Leaves a trace where it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("/tmp/raptor-npz-ran"),)


def npz(name: str, content: Callable[[], bytes], *codes: str, bomb: bool = False) -> None:
    @hostile(name, *codes, bomb=bomb)
    def make(folder: Path) -> Path:
        return zipped(folder, f"{name}.npz", ("train_images.npy", content()))


HUGE = "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 4096, 4096, 4096), }"
npz("npz-of-objects", lambda: npy(np.array([_Runs()] * 4)), "unsupported", DAMAGED, "not-3d")
npz("npz-shape-huge", lambda: npy_header(HUGE, bytes(1000)), "too-large", DAMAGED)
npz("npz-shape-negative", lambda: npy_header(HUGE.replace("4096", "-1")), DAMAGED, "too-few-slices")
npz("npz-header-that-runs", lambda: npy_header("__import__('os').abort()"), DAMAGED)
npz("npz-header-nested", lambda: npy_header("(" * 110), DAMAGED)
npz("npz-truncated", lambda: npy(np.zeros((1, 8, 8, 8), "u1"))[:-100], DAMAGED)


@hostile("npz-bomb", "too-large", bomb=True)
def _(folder: Path) -> Path:
    header = npy_header(HUGE.replace("4096, 4096, 4096", "1024, 1024, 1024"))
    data, crc = deflated_zeros(1024, header), checksum(1024, header)
    return packed_zip(folder / "bomb.npz", "train_images.npy", data, crc, 1024 * MEGABYTE + len(header))


# Other things than files


@hostile("a-link-that-leads-outside", "usage")
def _(folder: Path) -> Path:
    outside, inside = folder / "outside", folder / "tree"
    outside.mkdir()
    inside.mkdir()
    (outside / "scan.nii").write_bytes(nifti())
    (inside / "scan.nii").symlink_to(outside / "scan.nii")
    (inside / "folder").symlink_to(outside)
    return inside


@hostile("a-program-named-dcm", "not-a-volume")
def _(folder: Path) -> Path:
    path = folder / "scan.dcm"
    path.write_bytes(b"\x7fELF" + bytes(2000))
    return path


@hostile("a-folder-named-nii", "usage")
def _(folder: Path) -> Path:
    (folder / "scan.nii").mkdir()
    return folder / "scan.nii"
