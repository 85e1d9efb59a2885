"""An upload on disk for as long as it is read: a private folder, gone afterwards whatever happens."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import streamlit as st

from raptor_search.errors import UsageError

__all__ = ["on_disk", "title"]

MB = 2**20

FOLDER = "the upload"
"""Name of the folder that several files are put in; messages show it."""


@contextmanager
def on_disk(files: Sequence[BinaryIO]) -> Iterator[Path]:
    """The one file, or the folder that holds several, readable by this account alone and deleted at the end.

    The files keep their own names, as far as these name a file: a BIDS name tells the subject.

    Raises:
        UsageError: together they have more bytes than one upload may.
    """
    _check_size(files)
    with tempfile.TemporaryDirectory(prefix="raptor-upload-") as private:
        if len(files) == 1:
            path = Path(private) / _safe_name(files[0].name)
            _write(path, files[0])
            yield path
            return
        folder = Path(private) / FOLDER
        for number, file in enumerate(files):
            # A folder for each: two files of one series may have the same name.
            target = folder / f"{number:06d}" / _safe_name(file.name)
            target.parent.mkdir(parents=True)
            _write(target, file)
        yield folder


def title(files: Sequence[BinaryIO]) -> str:
    """What the page calls the upload."""
    return _safe_name(files[0].name) if len(files) == 1 else f"{len(files)} uploaded files"


def _check_size(files: Sequence[BinaryIO]) -> None:
    limit = int(st.get_option("server.maxUploadSize"))
    size = sum(file.seek(0, os.SEEK_END) for file in files)
    if size > limit * MB:
        raise UsageError(f"{size / MB:,.0f} MB are more than the {limit:,} MB of one upload: send one series alone")


def _safe_name(name: str) -> str:
    last = "".join(letter for letter in Path(name.replace("\\", "/")).name if letter.isprintable())
    return last[-200:] if last.strip(". ") else "scan"


def _write(path: Path, file: BinaryIO) -> None:
    file.seek(0)
    with path.open("xb") as target:
        shutil.copyfileobj(file, target, length=1 << 20)
