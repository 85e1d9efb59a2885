"""A zip of one scan, as it is uploaded: unpacked into a folder that goes away, whatever its names say.

Entries are written under numbers, never under their own names, so no name can lead outside of the folder.
"""

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from raptor_search.errors import ReadError, UsageError
from raptor_search.readers.inflating import check_inflation
from raptor_search.readers.sniffing import sniff

__all__ = ["holds_arrays", "is_zip", "unpacked"]

MAX_ENTRIES = 20_000
"""Files in one zip; a whole-body CT has some 2,000 slices."""

MAX_INFLATED = 8 * 2**30
"""Bytes that one zip may unpack to."""

FILE_TYPE_MASK = 0o170000
REGULAR_FILE = 0o100000


def is_zip(path: Path) -> bool:
    """Whether the file is a zip of files, npz not counted.

    Raises:
        ReadError: a damaged zip.
    """
    try:
        return path.is_file() and sniff(path) == "zip" and not holds_arrays(path)
    except OSError:
        return False


def holds_arrays(path: Path) -> bool:
    """Whether the zip is an npz: every entry is a NumPy array.

    Raises:
        ReadError: a damaged zip.
    """
    with _damage(), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        return bool(names) and all(name.endswith(".npy") for name in names)


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A temporary folder with the zip's files, numbered; it is removed on leaving.

    Raises:
        ReadError: a damaged or encrypted zip, or one that unpacks to too much.
        UsageError: no room for the files.
    """
    with tempfile.TemporaryDirectory(prefix="raptor-") as name:
        folder = Path(name)
        with _damage(), zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if _is_wanted(entry)]
            _check_size(entries, path.stat().st_size, folder)
            for number, entry in enumerate(entries):
                with archive.open(entry) as source, (folder / f"{number:06d}").open("wb") as target:
                    shutil.copyfileobj(source, target)
        yield folder


def _is_wanted(entry: zipfile.ZipInfo) -> bool:
    """Regular files; neither folders and links nor what macOS and version control hide."""
    kind = (entry.external_attr >> 16) & FILE_TYPE_MASK
    # Some Windows tools write backslashes between folders.
    parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
    hidden = any(part.startswith((".", "__MACOSX")) and part not in {".", ".."} for part in parts)
    return not entry.is_dir() and kind in {0, REGULAR_FILE} and not hidden


def _check_size(entries: list[zipfile.ZipInfo], stored: int, folder: Path) -> None:
    inflated = sum(entry.file_size for entry in entries)
    if len(entries) > MAX_ENTRIES:
        raise ReadError("too-large", f"{len(entries)} files in the zip; expected at most {MAX_ENTRIES}")
    if inflated > MAX_INFLATED:
        raise ReadError("too-large", f"the zip would unpack to {inflated} bytes; expected at most {MAX_INFLATED}")
    check_inflation(inflated, stored)
    free = shutil.disk_usage(folder).free
    if inflated > free:
        raise UsageError(
            f"unpacking needs {inflated} bytes and {folder.parent} has {free}: set TMPDIR to a folder with more room"
        )


@contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ReadError("unreadable", "the zip is damaged or truncated") from error
    except (NotImplementedError, RuntimeError) as error:
        raise ReadError(
            "unsupported", "an encrypted zip or one with a rare compression; expected a plain zip"
        ) from error
    except OSError as error:
        raise ReadError("unreadable", f"cannot be unpacked: {error.strerror or 'input/output error'}") from error
