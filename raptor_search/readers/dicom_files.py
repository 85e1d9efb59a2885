"""The one door to pydicom's parser: its nine kinds of exception and its many warnings end here."""

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from raptor_search.errors import ReadError

__all__ = ["parse_dicom", "pydicom_failures"]

DATASET_GROUP = b"\x08\0"
"""What a dataset without preamble and meta group begins with: group 0008, little-endian."""

for _name in ("pydicom", "pylibjpeg", "openjpeg", "libjpeg", "rle"):
    # Their log lines quote tag values, which must reach no log of ours.
    logging.getLogger(_name).propagate = False

FAILURES = (
    AttributeError,
    BytesLengthException,
    EOFError,
    IndexError,
    InvalidDicomError,
    KeyError,
    LookupError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom and its decoders raise on malformed files, found by mutating files."""


@contextmanager
def pydicom_failures(what: str) -> Iterator[None]:
    """Silence pydicom's warnings, and turn what it raises into one error that holds no tag values.

    Args:
        what: the part that is read, such as "header" or "pixel data".
    """
    with warnings.catch_warnings():
        # By module and not for all: a filter that leaks between threads then hides nothing else.
        warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
        warnings.filterwarnings("ignore", module=r"(pylibjpeg|openjpeg|libjpeg|rle|jpeg_ls)(\.|$)")
        try:
            yield
        except MemoryError as error:
            raise ReadError("too-large", f"not enough memory for the DICOM {what}") from error
        except OSError as error:
            raise ReadError("unreadable", f"cannot be read: {error.strerror or 'input/output error'}") from error
        except FAILURES as error:
            raise ReadError("unreadable", f"the DICOM {what} is damaged, truncated or not decodable") from error


def parse_dicom(path: Path, *, pixels: bool, tags: Sequence[str] | None = None) -> Dataset:
    """One file's dataset.

    Args:
        path: with or without the preamble of PS3.10.
        pixels: whether to read on into the pixel data.
        tags: the only keywords wanted, all where None.

    Raises:
        ReadError: a malformed file, or one whose dataset is deflated.
    """
    with pydicom_failures("header"):
        # Deflated datasets inflate without bound inside pydicom, so they are turned away before it parses them.
        with path.open("rb") as file:
            head = file.read(132)
        if head[128:] == b"DICM":
            if read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
                raise ReadError("unsupported", "deflated DICOM; expected another transfer syntax: convert with dcmconv")
        elif not head.startswith(DATASET_GROUP):
            raise ReadError("not-a-volume", "no DICOM preamble and no dataset at the start")
        dataset = pydicom.dcmread(
            path, force=True, stop_before_pixels=not pixels, specific_tags=None if tags is None else list(tags)
        )
        if "TransferSyntaxUID" not in dataset.file_meta:
            dataset.file_meta.TransferSyntaxUID = _guessed_syntax(dataset)
        return dataset


def _guessed_syntax(dataset: Dataset) -> UID:
    """The encoding that pydicom found by trying, where the file does not name it."""
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian
