"""The one door to pydicom's parser: its nine kinds of exception and its many warnings end here."""

import logging
import os
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import IO

import pydicom
from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.values import convert_string

from raptor_search.errors import ReadError
from raptor_search.readers.dicom_elements import PIXEL_DATA, Elements, Encoding, Unusual, Window, walk, walk_meta
from raptor_search.readers.dicom_values import Header
from raptor_search.readers.inflating import Inflater

__all__ = ["OpenElements", "open_elements", "parse_dicom", "pydicom_failures"]

PREAMBLE = 128
"""Bytes that may hold anything, before "DICM" (PS3.10 7.1)."""

PROGRAMS = (b"MZ", b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"#!")
"""What programs begin with: a preamble of one makes a file that is a scan and runs (CVE-2019-11687)."""

CHARACTER_SET, TRANSFER_SYNTAX = Tag("SpecificCharacterSet"), Tag("TransferSyntaxUID")

CHUNK = 2**18

DATASET_GROUP = b"\x08\0"
"""What a dataset without preamble and meta group begins with: group 0008, little-endian."""

for _name in ("pydicom", "pylibjpeg", "openjpeg", "libjpeg", "rle"):
    # Their log lines quote tag values, which must reach no log of ours.
    logging.getLogger(_name).propagate = False

PANIC = "PanicException"
"""What decoders written in Rust raise on damage: no `Exception`, and no class that can be imported."""

NOISY = r"(pydicom|pylibjpeg|openjpeg|libjpeg|rle|jpeg_ls)(\.|$)"
"""Modules whose warnings quote what a file holds."""

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
        warnings.filterwarnings("ignore", module=NOISY)
        try:
            yield
        except MemoryError as error:
            raise ReadError("too-large", f"not enough memory for the DICOM {what}") from error
        except OSError as error:
            raise ReadError("unreadable", f"cannot be read: {error.strerror or 'input/output error'}") from error
        except FAILURES as error:
            raise ReadError("unreadable", f"the DICOM {what} is damaged, truncated or not decodable") from error
        except BaseException as error:
            if type(error).__name__ != PANIC:
                raise
            raise ReadError("unreadable", f"the DICOM {what} is damaged, truncated or not decodable") from error


def parse_dicom(path: Path, *, pixels: bool = False, tags: Sequence[str] | None = None) -> Dataset:
    """One file's dataset.

    Args:
        path: with or without the preamble of PS3.10.
        pixels: whether to read on into the pixel data.
        tags: the only keywords wanted, all where None.

    Raises:
        ReadError: a malformed file, one that is also a program, or one that inflates out of proportion.
    """
    with pydicom_failures("header"), path.open("rb", buffering=0) as file:
        try:
            opened = open_elements(file)
            if not pixels:
                return opened.dataset(tags)
        except Unusual:
            pass
        if read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            # pydicom would inflate it without bound.
            raise ReadError("unsupported", "deflated DICOM of a rare encoding; expected a plain one: use dcmconv")
        dataset = pydicom.dcmread(
            path, force=True, stop_before_pixels=not pixels, specific_tags=None if tags is None else list(tags)
        )
        if "TransferSyntaxUID" not in dataset.file_meta:
            dataset.file_meta.TransferSyntaxUID = _guessed_syntax(dataset)
        return dataset


@dataclass(frozen=True)
class OpenElements:
    """A file whose elements can be walked.

    Attributes:
        window: over the elements: the file, or what it inflates to.
        position: of the first one after the meta group.
        encoding: of these.
        syntax: the transfer syntax.
        meta: the meta group.
    """

    window: Window
    position: int
    encoding: Encoding
    syntax: UID
    meta: Elements

    def dataset(self, tags: Sequence[str] | None) -> Dataset:
        """The elements before the pixels, those of `tags` where given; pydicom converts each when it is asked for."""
        wanted, last = (None, PIXEL_DATA - 1) if tags is None else _tags(tuple(tags))
        found, _, _ = walk(self.window, self.position, self.encoding, wanted=wanted, last=last)
        dataset = Header(found, self.meta)
        charset = found.get(CHARACTER_SET)
        names = convert_encodings(convert_string(charset.value or b"", self.encoding.little)) if charset else None
        dataset.set_original_encoding(self.encoding.implicit, self.encoding.little, names)
        return dataset


def open_elements(file: IO[bytes]) -> OpenElements:
    """The start of a file, told apart by what it says of itself.

    Raises:
        ReadError: no DICOM file, or a program with one behind it.
        Unusual: a file that pydicom is to read.
    """
    window = Window(file)
    window.reach(PREAMBLE + 4)
    head = window.data
    if head[PREAMBLE : PREAMBLE + 4] != b"DICM":
        if not head.startswith(DATASET_GROUP):
            raise ReadError("not-a-volume", "no DICOM preamble and no dataset at the start")
        raise Unusual
    if head.startswith(PROGRAMS):
        raise ReadError("not-a-volume", "a program with DICOM data behind it; expected a preamble that cannot be run")
    meta, position = walk_meta(window, PREAMBLE + 4)
    named = meta.get(TRANSFER_SYNTAX)
    if named is None:
        raise Unusual
    syntax = UID((named.value or b"").rstrip(b"\0 ").decode("ascii", "replace"))
    if syntax == DeflatedExplicitVRLittleEndian:
        window, position = Window(_inflating(file, window.data[position:])), 0
    encoding = Encoding(implicit=syntax == ImplicitVRLittleEndian, little=syntax != ExplicitVRBigEndian)
    if encoding.implicit and window.reach(position + 8) and window.data[position + 4 : position + 6].isalpha():
        raise Unusual  # written explicitly, whatever the meta group says
    return OpenElements(window, position, encoding, syntax, meta)


def _inflating(file: IO[bytes], head: bytes) -> Inflater:
    """What a deflated dataset (PS3.5 A.5) inflates to, as far as it is asked for."""
    stored = os.fstat(file.fileno()).st_size
    return Inflater(chain((head,), iter(partial(file.read, CHUNK), b"")), stored)


@lru_cache
def _tags(keywords: tuple[str, ...]) -> tuple[frozenset[int], int]:
    """The tags of the keywords with what decides how text is decoded, and the last of them."""
    tags = frozenset({int(CHARACTER_SET), *(int(Tag(keyword)) for keyword in keywords)})
    return tags, max(tags)


def _guessed_syntax(dataset: Dataset) -> UID:
    """The encoding that pydicom found by trying, where the file does not name it."""
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian
