"""A catalog copied whole: out of either database into one SQLite file, and back into either.

A copy of SQLite's file is made by its backup API; PostgreSQL's tables are read within one snapshot and written,
row by row, into a SQLite file with the same tables. Restoring does the reverse, so that a backup also moves an
archive from one database to the other.
"""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, Connection, delete, func, insert, select, text, update

from raptor_search.catalog.database import Queries, database_url, make_engine, shown, translated
from raptor_search.catalog.locks import make_private
from raptor_search.catalog.schema import current_state, migrate, newer_message
from raptor_search.catalog.tables import Base, IndexVersionRow, VolumeRow, WriterRow
from raptor_search.errors import CatalogError, UsageError

__all__ = ["CopyQueries", "Snapshot", "install"]

PAGES = 256
"""Pages of SQLite copied at a time: 16 MB, after which a waiting writer has its turn."""

RESTARTS = 3
"""How often a copy begins anew because somebody wrote, before it makes writers wait instead."""

ROWS = 64
"""Rows written at a time: 10 MB of vectors."""

COUNTERS = ("volume", "vector", "embedding")
"""The tables whose ids are never used twice, not even those of rows that are gone."""

Counting = Callable[[int, int], None]


@dataclass(frozen=True)
class Snapshot:
    """What a copied catalog holds.

    Attributes:
        volumes: rows of volumes.
        indexes: name and SHA-256 (hex) of the index files that served at that moment.
    """

    volumes: int
    indexes: tuple[tuple[str, str], ...]


class CopyQueries(Queries):
    """The catalog as a file."""

    def snapshot(self, file: Path, counting: Counting) -> Snapshot:
        """Copy everything, as of one moment, into a new SQLite file for its owner alone.

        Args:
            file: which is not there yet; its folder is.
            counting: hears how much is copied, and of how much.

        Raises:
            CatalogError: the database failed, or the disk is full.
            OSError: the file cannot be made.
        """
        make_private(file)
        with translated(self._database.name):
            if self._database.is_sqlite:
                _copy_file(Path(str(self._database.url.database)), file, counting)
            else:
                self._copy_tables(file, counting)
            with _opened(_sqlite_url(file)) as copy:
                # The lease is of the process that writes now, not of the copy.
                copy.execute(update(WriterRow).values(pid=None, host=None, since=None, expires_at=None))
                volumes = copy.scalar(select(func.count()).select_from(VolumeRow)) or 0
                current = select(IndexVersionRow.file, IndexVersionRow.sha256).where(IndexVersionRow.is_current)
                return Snapshot(volumes, tuple((row.file, row.sha256) for row in copy.execute(current)))

    def _copy_tables(self, file: Path, counting: Counting) -> None:
        migrate(file.parent, _sqlite_url(file))
        file.with_name(f"{file.name}.lock").unlink(missing_ok=True)
        with self._database.read() as session, _opened(_sqlite_url(file)) as target:
            source = session.connection()
            _copy_rows(source, target, counting)
            for table in COUNTERS:
                last = source.scalar(text(f"SELECT last_value FROM {table}_id_seq WHERE is_called"))
                target.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": table})
                if last is not None:
                    counter = text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)")
                    target.execute(counter, {"name": table, "last": last})


def install(file: Path, home: Path, url: str | None, counting: Counting) -> None:
    """Make a copied catalog that of an archive, all or nothing; `file` may be gone afterwards.

    Args:
        file: from `CopyQueries.snapshot`, of this or an older revision.
        home: the archive's folder, which is there.
        url: of the database; None means `RAPTOR_DATABASE_URL`, else `home`/catalog.db.
        counting: hears how many rows are written, and of how many.

    Raises:
        UsageError: the database is not empty.
        CatalogError: the copy is of a newer program or damaged, or the database failed.
    """
    place, source = database_url(home, url), _sqlite_url(file)
    if current_state(place) != "absent":
        raise UsageError(f"the database {shown(place)} holds an archive: restore into an empty one")
    match current_state(source):
        case "absent":
            raise CatalogError(f"{file.name} in the backup is empty: restore from another copy")
        case "newer":
            raise CatalogError(newer_message(source))
        case "older":
            migrate(file.parent, source)
    if place.get_backend_name() == "sqlite":
        _move(file, Path(str(place.database)))
    else:
        migrate(home, place, then=lambda connection: _fill(file, connection, counting))


def _fill(file: Path, target: Connection, counting: Counting) -> None:
    """Write every row of a SQLite copy into the empty tables of PostgreSQL, within the caller's transaction."""
    with _opened(_sqlite_url(file)) as source:
        _copy_rows(source, target, counting)
        counters = {str(name): int(seq) for name, seq in source.execute(text("SELECT name, seq FROM sqlite_sequence"))}
    for table in Base.metadata.sorted_tables:
        sequence = None
        if "id" in table.c:
            sequence = target.scalar(select(func.pg_get_serial_sequence(table.name, "id")))
        if sequence is not None:
            last = max(counters.get(table.name, 0), target.scalar(select(func.max(table.c.id))) or 0)
            target.execute(select(func.setval(sequence, max(last, 1), last > 0)))


def _move(file: Path, place: Path) -> None:
    if file.stat().st_dev != place.parent.stat().st_dev:
        partial = place.with_name(f"{place.name}.part")
        make_private(partial)
        file = Path(shutil.copyfile(file, partial))
    for path in (file, place.parent):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            if path == file:
                file.rename(place)
        finally:
            os.close(descriptor)


def _sqlite_url(file: Path) -> URL:
    return URL.create("sqlite", database=str(file.absolute()))


class _Disturbed(Exception):  # noqa: N818  not an error: the copy began anew
    """Somebody wrote while the file was copied, again and again."""


def _copy_file(source: Path, file: Path, counting: Counting) -> None:
    restarts, before = 0, -1

    def hear(_: int, remaining: int, total: int) -> None:
        nonlocal restarts, before
        restarts += total - remaining <= before
        before = total - remaining
        counting(total - remaining, total)
        if restarts > RESTARTS:
            raise _Disturbed

    with closing(sqlite3.connect(source)) as reader:
        try:
            with closing(sqlite3.connect(file)) as writer:
                reader.backup(writer, pages=PAGES, progress=hear, sleep=0.01)
                return
        except _Disturbed:
            file.write_bytes(b"")
        with closing(sqlite3.connect(file)) as writer:
            reader.backup(writer, pages=-1, progress=lambda _, remaining, total: counting(total - remaining, total))


@contextmanager
def _opened(url: URL) -> Iterator[Connection]:
    """A transaction on a copy; references are kept by copying parents first, and need no checks."""
    engine = make_engine(url, foreign_keys=False)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _copy_rows(source: Connection, target: Connection, counting: Counting) -> None:
    tables = Base.metadata.sorted_tables
    total = sum(source.scalar(select(func.count()).select_from(table)) or 0 for table in tables)
    done = 0
    for table in tables:
        target.execute(delete(table))  # the one row that a migration may have made
        rows = source.execution_options(yield_per=ROWS).execute(select(table))
        for part in rows.mappings().partitions(ROWS):
            target.execute(insert(table), [dict(row) for row in part])
            done += len(part)
            counting(done, total)
