"""What a file is, told from its first bytes; its name is only asked what it claims to be."""

import gzip
import os
import re
import zlib
from pathlib import Path
from typing import Literal

__all__ = ["Kind", "claimed_kind", "sniff"]

Kind = Literal["nifti", "nifti-pair", "nrrd", "mha", "segmentation", "zip", "dicom", "dicom-bare"]

HEAD = 4096
"""Bytes looked at: past the NIfTI magic (348), the DICOM one (132) and the fields that Slicer's segmentations carry."""

NIFTI1_MAGIC = slice(344, 348)
NIFTI2_MAGIC = slice(4, 12)

BARE_DICOM_STARTS = tuple(bytes((8, 0, element, 0)) for element in (0, 1, 5, 8, 22, 24))
"""First tags, little-endian, of datasets without the preamble: (0008,00xx)."""

METAIMAGE_START = re.compile(rb"(ObjectType|NDims|Comment)[ \t]*=[^\n]*\n")
"""What MHA and MHD files begin with: their header is text."""

ENDINGS = {
    **{".nii": "NIfTI", ".nii.gz": "NIfTI", ".nrrd": "NRRD", ".dcm": "DICOM", ".npz": "npz"},
    **{".mha": "MHA", ".mhd": "MHA"},
}


def sniff(path: Path) -> Kind | None:
    """The kind of file that the content is, or None where it is no kind that holds scans.

    Raises:
        OSError: where the file cannot be opened.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # a fifth of what a file object costs
    try:
        head = os.read(file, HEAD)
    finally:
        os.close(file)
    if head.startswith(b"\x1f\x8b"):
        return _nifti_kind(_gzip_head(path))
    if head[128:132] == b"DICM":
        return "dicom"
    if head.startswith(b"NRRD000"):
        return "segmentation" if b"\nSegment0_" in head else "nrrd"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if METAIMAGE_START.match(head):
        return "mha"
    return _nifti_kind(head) or ("dicom-bare" if head.startswith(BARE_DICOM_STARTS) else None)


def claimed_kind(path: Path) -> str | None:
    """What the file's ending says that it is, for messages: "NIfTI", "NRRD", "DICOM", "MHA", "npz" or None."""
    name = path.name.lower()
    return next((kind for ending, kind in ENDINGS.items() if name.endswith(ending)), None)


def _nifti_kind(head: bytes) -> Kind | None:
    if head[NIFTI1_MAGIC] == b"n+1\0" or head[NIFTI2_MAGIC] == b"n+2\0\r\n\x1a\n":
        return "nifti"
    if head[NIFTI1_MAGIC] == b"ni1\0" or head[NIFTI2_MAGIC] == b"ni2\0\r\n\x1a\n":
        return "nifti-pair"
    return None


def _gzip_head(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            return file.read(HEAD)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        # Damaged from the start: the reader says so if the name claims to be a scan.
        return b""
