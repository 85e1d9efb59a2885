"""Index files on disk: each appears whole under a new name, or not at all, and is never written again.

Bytes go to a temporary file, which is synced, read back and hashed before it gets its name: FAISS's own
writer reports success on a file that a full disk cut short. Reading checks the hash that the catalog holds.
"""

import hashlib
import os
import secrets
from collections.abc import Collection
from pathlib import Path

from raptor_search.errors import IndexFileError
from raptor_search.index import SketchIndex, load

__all__ = ["INDEX_FOLDER", "index_files", "read_index", "remove", "write_index"]

INDEX_FOLDER = "indexes"
"""The folder of index files within an archive's home; it may be deleted, `raptor index` makes it again."""


def write_index(home: Path, fingerprint: str, data: bytes) -> tuple[str, str]:
    """Write an index of the spec with this fingerprint; returns the file's name and its SHA-256, hex.

    Raises:
        IndexFileError: it could not be written whole; what was published before still serves.
    """
    folder = home / INDEX_FOLDER
    name = f"{_prefix(fingerprint)}{secrets.token_hex(8)}.faiss"
    partial = folder / f"{name}.part"
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        folder.mkdir(exist_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if hashlib.sha256(partial.read_bytes()).hexdigest() != sha256:
            raise IndexFileError(f"{partial} does not read back as it was written: check the disk")
        partial.rename(folder / name)
        _sync(folder)
    except OSError as error:
        raise IndexFileError(
            f"the index ({len(data) / 1e6:.1f} MB) could not be written to {folder} ({error.strerror}): make room "
            "and run `raptor index` again; until then the index before it serves, and nothing is lost"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return name, sha256


def read_index(home: Path, file: str, sha256: str) -> SketchIndex:
    """The published index of this name.

    Raises:
        IndexFileError: the file is missing or damaged, or another one lies in its place.
    """
    path = home / INDEX_FOLDER / file
    try:
        return load(path.read_bytes(), sha256=sha256)
    except OSError as error:
        raise IndexFileError(f"index file {path} cannot be read ({error.strerror})") from error
    except IndexFileError as error:
        raise IndexFileError(f"index file {path} is damaged: {error.message}") from error


def index_files(home: Path, fingerprint: str) -> list[str]:
    """The names of a spec's index files, and of what a killed writer left behind, sorted."""
    return sorted(path.name for path in (home / INDEX_FOLDER).glob(f"{_prefix(fingerprint)}*.faiss*"))


def remove(home: Path, names: Collection[str], *, keep: Collection[str]) -> None:
    """Delete index files by name, those to keep apart."""
    for name in names:
        if name not in keep:
            (home / INDEX_FOLDER / name).unlink(missing_ok=True)


def _prefix(fingerprint: str) -> str:
    return f"{fingerprint[:16]}-"


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
