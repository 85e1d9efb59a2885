"""A zip of scans: unpacked into a folder that goes away, whatever its names say.

Entries keep their names, which may say in BIDS who was scanned, but never lead outside of the folder: of each name only
its plain parts count, and one that cannot be a file's place gives way to a number.
"""

import os
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

__all__ = ["holds_arrays", "is_zip", "named", "unpacked"]

MAX_ENTRIES = 20_000
"""Files in one zip; a whole-body CT has some 2,000 slices."""

MAX_INFLATED = 8 * 2**30
"""Bytes that one zip may unpack to."""

MAX_NAMED = 2**24
"""Bytes of a file that is read into memory: a table of some 100,000 rows."""

MAX_PART = 200
"""Bytes of a name or a folder's name; file systems take 255."""

MAX_PARTS = 12
"""Folders within one another; BIDS has at most seven."""

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
    """A temporary folder with the zip's files; it is removed on leaving.

    Raises:
        ReadError: a damaged or encrypted zip, or one that unpacks to too much.
        UsageError: no room for the files.
    """
    with tempfile.TemporaryDirectory(prefix="raptor-") as name:
        folder = Path(name)
        with _damage(), zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if _is_wanted(entry)]
            _check_size(entries, path.stat().st_size, folder)
            for entry, place in zip(entries, _places(entries), strict=True):
                target = folder / place
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, target.open("xb") as written:
                    shutil.copyfileobj(source, written)
        yield folder


def named(path: Path, name: str) -> list[tuple[PurePosixPath, bytes]]:
    """The files of this name in the zip, and where `unpacked` puts them.

    Raises:
        ReadError: a damaged or encrypted zip, or such a file of more than `MAX_NAMED` bytes.
    """
    with _damage(), zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if _is_wanted(entry)]
        found = [(entry, place) for entry, place in zip(entries, _places(entries), strict=True) if place.name == name]
        read = []
        for entry, place in found:
            with archive.open(entry) as file:
                content = file.read(MAX_NAMED + 1)
            if len(content) > MAX_NAMED:
                raise ReadError("too-large", f"{place} in the zip; expected at most {MAX_NAMED} bytes")
            read.append((place, content))
        return read


def _places(entries: list[zipfile.ZipInfo]) -> list[PurePosixPath]:
    """Where each entry is written below the folder: no two in one place, also where the disk knows no capitals."""
    files: set[str] = set()
    folders: set[str] = set()
    places = []
    for number, entry in enumerate(entries):
        place = _plain(entry.filename) or PurePosixPath(f"{number:06d}")
        while _is_taken(place, files, folders):
            place = PurePosixPath(f"{number:06d}", place)
        files.add(str(place).casefold())
        folders |= {str(parent).casefold() for parent in place.parents}
        places.append(place)
    return places


def _plain(name: str) -> PurePosixPath | None:
    """The name without drive, root and ways up; None where nothing is left, or more than a path may be."""
    parts: list[str] = []
    for part in name.replace("\\", "/").split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in {"", "."} and not part.endswith(":"):
            parts.append(part)
    fits = len(parts) <= MAX_PARTS and all(len(os.fsencode(part)) <= MAX_PART for part in parts)
    return PurePosixPath(*parts) if parts and fits else None


def _is_taken(place: PurePosixPath, files: set[str], folders: set[str]) -> bool:
    text = str(place).casefold()
    return text in files or text in folders or any(str(parent).casefold() in files for parent in place.parents)


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
