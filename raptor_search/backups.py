"""A backup: one file that holds the catalog and the index files that serve, each with its hash.

The file is a ZIP of uncompressed members: `catalog.db` (SQLite, whatever database the archive uses), `indexes/NAME`,
and `manifest.json`, written last, which gives size and SHA-256 of each. The archive's key is not in it.
"""

import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from raptor_search.catalog import Catalog
from raptor_search.catalog.copying import install
from raptor_search.catalog.locks import make_home
from raptor_search.erasure import Step
from raptor_search.errors import CatalogError, KeyMismatchError, UsageError
from raptor_search.keys import KEY_FILE_VARIABLE, ArchiveKey
from raptor_search.searching.index_files import INDEX_FOLDER

__all__ = ["BackupReport", "back_up", "restore"]

FORMAT = "raptor-search backup 1"

MANIFEST, CATALOG = "manifest.json", "catalog.db"

_INDEX = re.compile(rf"{INDEX_FOLDER}/[0-9a-f]{{16}}-[0-9a-f]{{16}}\.faiss")
"""What a member may be called besides the catalog: nothing that leaves the folder."""

CHUNK = 2**24


@dataclass(frozen=True)
class BackupReport:
    """What a backup holds, or what was restored from one.

    Attributes:
        file: the backup.
        size: its bytes.
        volumes: in its catalog.
        indexes: index files in it; those that it lacks are made from the catalog by the next run.
        created_at: when it was made, UTC, ISO 8601.
    """

    file: Path
    size: int
    volumes: int
    indexes: int
    created_at: str

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return {**asdict(self), "file": os.fspath(self.file)}


def back_up(catalog: Catalog, home: Path, file: Path, progress: Step) -> BackupReport:
    """Write the archive, as of one moment, into a new file; others may read and write meanwhile.

    Takes twice the catalog's size of free space beside `file` while it works.

    Raises:
        UsageError: the file is there already, lies within the archive, or cannot be written.
        CatalogError: the database failed, or what was written does not read back.
    """
    if file.exists():
        raise UsageError(f"{file} is there already: give the backup another name")
    if file.resolve().is_relative_to(home.resolve()):
        raise UsageError(f"{file} lies within the archive {home}, and would be lost with it: give another place")
    copy, partial = file.with_name(f"{file.name}.copy"), file.with_name(f"{file.name}.part")
    created = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    with _writable(file, copy, partial):
        snapshot = catalog.snapshot(copy, lambda done, total: progress("Copying the catalog", done, total))
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w+b") as stream:
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
                members = {CATALOG: _add(archive, CATALOG, copy, progress)}
                copy.unlink()
                for name, sha256 in snapshot.indexes:
                    path = home / INDEX_FOLDER / name
                    if path.is_file() and _hash(path) == sha256:
                        members[f"{INDEX_FOLDER}/{name}"] = _add(archive, f"{INDEX_FOLDER}/{name}", path, progress)
                facts = {"format": FORMAT, "created_at": created, "volumes": snapshot.volumes}
                manifest = {**facts, "key_check": catalog.key.check_value, "members": members}
                archive.writestr(MANIFEST, json.dumps(manifest, indent=2, sort_keys=True))
            stream.flush()
            os.fsync(stream.fileno())
        with _read(partial) as (archive, found):
            for name in found["members"]:
                _extract(archive, name, found["members"][name], None, partial, progress)
        partial.rename(file)
        _sync(file.parent)
    return BackupReport(file, file.stat().st_size, snapshot.volumes, len(members) - 1, created)


def restore(file: Path, home: Path, key: ArchiveKey, url: str | None, progress: Step) -> BackupReport:
    """Make a new archive of a backup, all or nothing.

    Args:
        file: the backup.
        home: a folder that is empty or not there.
        key: the key of the archive that was backed up.
        url: of an empty database; None means `RAPTOR_DATABASE_URL`, else `home`/catalog.db.
        progress: hears what is done.

    Raises:
        UsageError: the folder or the database is not empty, or the file cannot be read.
        KeyMismatchError: the backup is of an archive with another key.
        CatalogError: the file is no backup, damaged, or made by a newer program.
    """
    if home.is_dir() and any(home.iterdir()):
        raise UsageError(f"{home} is not empty: restore into a new folder, with --home")
    with _read(file) as (archive, manifest):
        if manifest["key_check"] != key.check_value:
            raise KeyMismatchError(
                f"{file} is of an archive with another key than {key.path}: a backup holds no key, "
                f"set {KEY_FILE_VARIABLE} to that archive's"
            )
        make_home(home)
        work = home / "restore.part"
        try:
            for name, member in manifest["members"].items():
                _extract(archive, name, member, work / name, file, progress)
            if (work / INDEX_FOLDER).exists():
                (work / INDEX_FOLDER).rename(home / INDEX_FOLDER)
            install(work / CATALOG, home, url, lambda done, total: progress("Writing the catalog", done, total))
        except BaseException as error:
            _empty(home)
            if isinstance(error, OSError):
                raise UsageError(
                    f"{home} could not be written ({error.strerror}): make room, or choose another"
                ) from error
            raise
        shutil.rmtree(work)
    return BackupReport(
        file, file.stat().st_size, manifest["volumes"], len(manifest["members"]) - 1, manifest["created_at"]
    )


def _empty(home: Path) -> None:
    for path in home.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def _writable(file: Path, *partial: Path) -> Iterator[None]:
    """Say in one line why a file cannot be written, and leave nothing half done."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"the backup {file} could not be written ({error.strerror}): give another place, or make room"
        ) from error
    finally:
        for path in partial:
            for left in (path, path.with_name(f"{path.name}-journal"), path.with_name(f"{path.name}.lock")):
                with suppress(OSError):
                    left.unlink(missing_ok=True)


def _add(archive: zipfile.ZipFile, name: str, path: Path, progress: Step) -> dict[str, Any]:
    """Write a file into the backup; returns its entry in the manifest."""
    digest, done, size = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as source, archive.open(name, "w", force_zip64=True) as target:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            target.write(chunk)
            done += len(chunk)
            progress("Writing the backup", done, size)
    return {"size": done, "sha256": digest.hexdigest()}


def _extract(
    archive: zipfile.ZipFile, name: str, member: Mapping[str, Any], place: Path | None, file: Path, progress: Step
) -> None:
    """Read a member, check its hash, and write it to `place` where one is given."""
    digest, done = hashlib.sha256(), 0
    with _damage(file), archive.open(name) as source, _private(place) as target:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            if target is not None:
                target.write(chunk)
            progress("Reading the backup", done, int(member["size"]))
    if (digest.hexdigest(), done) != (member["sha256"], member["size"]):
        raise CatalogError(f"{file} is damaged: {name} is not what was backed up; restore from another copy")


@contextmanager
def _private(place: Path | None) -> Iterator[IO[bytes] | None]:
    """A new file for its owner alone, on the disk when the block ends; None where there is no place."""
    if place is None:
        yield None
        return
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        yield target
        target.flush()
        os.fsync(target.fileno())


@contextmanager
def _read(file: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, Any]]]:
    """A backup and its manifest, whose names are checked."""
    try:
        stream = file.open("rb")
    except OSError as error:
        raise UsageError(f"the backup {file} cannot be read: {error.strerror}") from error
    with stream:
        with _damage(file):
            archive = zipfile.ZipFile(stream)
            manifest = json.loads(archive.read(MANIFEST))
            known = manifest["format"] == FORMAT and {"created_at", "volumes", "key_check"} <= manifest.keys()
            names = list(manifest["members"])
        if not known or CATALOG not in names or not all(n == CATALOG or _INDEX.fullmatch(n) for n in names):
            raise CatalogError(f"{file} is no backup that this version of raptor-search reads: upgrade the program")
        yield archive, manifest


@contextmanager
def _damage(file: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise CatalogError(f"{file} is no backup, or damaged ({error}): restore from another copy") from error


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
