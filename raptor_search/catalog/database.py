"""One database, SQLite or PostgreSQL, seen as short transactions: one writer at a time, many readers."""

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import URL, Connection, Engine, Executable, Select, UpdateBase, create_engine, event, make_url, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from raptor_search.catalog.tables import SettingRow
from raptor_search.errors import CatalogError, DamagedError, UsageError
from raptor_search.keys import ArchiveKey

__all__ = [
    "DATABASE_URL_VARIABLE",
    "MAX_ID",
    "REVISION",
    "WRITE",
    "Database",
    "Queries",
    "blocks",
    "database_url",
    "make_engine",
    "shown",
    "translated",
]

DATABASE_URL_VARIABLE = "RAPTOR_DATABASE_URL"

WRITE = "raptor_write"
"""Execution option of a connection that takes the write lock as its transaction begins."""

PAGE_SIZE = 65536
"""SQLite's largest: an embedding of 150 KB takes three pages instead of forty."""

CACHE_KIB = 16_384
"""Of pages that a connection keeps: those of the first components of a few hundred scans, which a filter may ask for
again and again."""

BUSY_SECONDS = 30
"""How long a transaction waits for another's to end."""

WAL_SAFE_VERSION = (3, 51, 3)
"""Before it a checkpoint that races with a writer can corrupt a database in WAL mode."""

BLOCK = 500
"""Ids in one query: below every limit on bound parameters."""

MAX_ID = 2**63 - 1

SEARCHED = {"volume", "embedding", "label"}
"""The tables that searches and filters look at."""

REVISION = "revision"
"""The setting that grows with every commit that changes one of them; absent before the first."""

CHANGED = "raptor_changed"
"""What a connection remembers of such a change until it commits."""

POSTGRES_WRITER_LOCK = 0x72617074
"""Key of the advisory lock ("rapt") that lets in one writer at a time, as SQLite does."""

SNAPSHOT = "REPEATABLE READ"
"""PostgreSQL's name for a transaction that sees one state of the database throughout."""

_HINTS = {
    "disk is full": "free some space and run the command again",
    "disk I/O error": "see that the disk is sound and has space left",
    "readonly database": "give yourself the right to write it",
    "database is locked": "another process has held it for long; try again",
    "unable to open": "see that its folder exists and can be read",
    "not a database": "restore it from a copy",
    "malformed": "restore it from a copy",
    "no such table": "restore it from a copy",
    "relation ": "restore it from a copy",
    "No space left": "free some space on the database's disk and run the command again",
    'database "': "create it, or name another in RAPTOR_DATABASE_URL",
    "lock timeout": "another process has held it for long; try again",
}
"""What the user can do, by words of the driver's message."""

_DAMAGE = ("malformed", "not a database", "no such table")
"""Words of SQLite's messages about a file that cannot be read."""


def database_url(home: Path, url: str | None = None) -> URL:
    """Where the catalog of an archive is: `url`, else `RAPTOR_DATABASE_URL`, else `home`/catalog.db.

    Raises:
        UsageError: the URL cannot be read, or names no SQLite file or PostgreSQL database.
    """
    text = url or os.environ.get(DATABASE_URL_VARIABLE)
    if not text:
        return URL.create("sqlite", database=str(home.absolute() / "catalog.db"))
    expected = "expected postgresql://USER:PASSWORD@HOST/NAME or sqlite:////PATH/catalog.db"
    try:
        parsed = make_url(text)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError):
        # The text itself may hold a password, so that the message does not repeat it.
        raise UsageError(f"{DATABASE_URL_VARIABLE} is not a database URL: {expected}") from None
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql") or not parsed.database or parsed.database == ":memory:":
        raise UsageError(f"the database {shown(parsed)} cannot hold an archive: {expected}")
    return parsed.set(drivername="sqlite" if backend == "sqlite" else "postgresql+psycopg")


def shown(url: URL) -> str:
    """The database as users may see it: the file, or the URL without password and options."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(query={}).render_as_string(hide_password=True)


def make_engine(url: URL, *, foreign_keys: bool = True) -> Engine:
    """An engine whose transactions begin as ours must: SQLite's in Python would begin late and deferred."""
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})

        @event.listens_for(engine, "connect")
        def prepare(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
            _prepare_sqlite(connection, foreign_keys)

        @event.listens_for(engine, "begin")
        def begin_sqlite(connection: Connection) -> None:
            # A deferred transaction that turns into a writer fails at once instead of waiting.
            writes = connection.get_execution_options().get(WRITE)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    else:
        engine = create_engine(url, hide_parameters=True, pool_pre_ping=True, connect_args={"connect_timeout": 10})

        @event.listens_for(engine, "begin")
        def begin_postgres(connection: Connection) -> None:
            if connection.get_execution_options().get(WRITE):
                # As SQLite does; and the server lets go of a writer that was stopped within its transaction.
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{BUSY_SECONDS}s'")
                connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{2 * BUSY_SECONDS}s'")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({POSTGRES_WRITER_LOCK})")

    return engine


def _prepare_sqlite(connection: sqlite3.Connection, foreign_keys: bool) -> None:
    connection.isolation_level = None
    connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    mode = "WAL" if sqlite3.sqlite_version_info >= WAL_SAFE_VERSION else "TRUNCATE"
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != mode.lower():
        connection.execute(f"PRAGMA journal_mode = {mode}")


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn the driver's errors into ours; `name` is the database as users may see it.

    Raises:
        CatalogError: the database failed; one line that says how. DamagedError where it cannot be read.
    """
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        hint = next((hint for sign, hint in _HINTS.items() if sign in lines[0]), "see that the database can be reached")
        kind = DamagedError if any(sign in lines[0] for sign in _DAMAGE) else CatalogError
        raise kind(f"the catalog {name} failed: {lines[0]}; {hint}") from error
    except PoolTimeoutError as error:
        raise CatalogError(f"the catalog {name} is busy: every connection is in use; try again") from error


@lru_cache(maxsize=16)
def _in_sqlite(statement: Select[*tuple[Any, ...]]) -> tuple[str, Mapping[str, Any]]:
    """The text of a statement with named parameters, and the values that it has by itself."""
    compiled = statement.compile(dialect=sqlite.dialect(paramstyle="named"))
    return str(compiled), {name: value for name, value in compiled.params.items() if value is not None}


def _next_revision(session: Session) -> None:
    value = session.scalar(select(SettingRow.value).where(SettingRow.name == REVISION))
    session.merge(SettingRow(name=REVISION, value=str(int(value or 0) + 1)))


def _note_change(connection: Connection, statement: Executable, *_: object) -> None:
    if isinstance(statement, UpdateBase) and getattr(statement.table, "name", None) in SEARCHED:
        connection.info[CHANGED] = True


class Database:
    """An open database. Safe to share between threads: every transaction has its own connection."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.name = shown(url)
        self.engine = make_engine(url)
        event.listen(self.engine, "before_execute", _note_change)
        self._write_engine = self.engine.execution_options(**{WRITE: True})
        # SQLite's transactions are snapshots; PostgreSQL's, by default, only their statements are.
        self._read_engine = self.engine if self.is_sqlite else self.engine.execution_options(isolation_level=SNAPSHOT)

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of SQLite, not a PostgreSQL server."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def collation(self) -> str:
        """The collation that orders text by code point."""
        return "BINARY" if self.is_sqlite else "C"

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One snapshot of the database; keep it short, since SQLite's writers wait for it to end."""
        with translated(self.name), Session(self._read_engine) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A snapshot as `read` gives it, for statements on tables alone: what every search asks costs half as much."""
        with translated(self.name), self._read_engine.connect() as connection, connection.begin():
            yield connection

    def ask(self, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, int]) -> list[tuple[Any, ...]]:
        """The rows of one small statement that every search asks.

        On SQLite by the driver alone: the answer takes microseconds, and a transaction about it fifty.
        """
        if not self.is_sqlite:
            with self.reading() as connection:
                return [tuple(row) for row in connection.execute(statement, parameters)]
        text, fixed = _in_sqlite(statement)
        with translated(self.name):
            pooled = self.engine.raw_connection()
            try:
                rows: list[tuple[Any, ...]] = pooled.cursor().execute(text, {**fixed, **parameters}).fetchall()
                return rows
            finally:
                pooled.close()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction that holds the write lock from its beginning, and commits all or nothing."""
        with translated(self.name), Session(self._write_engine) as session, session.begin():
            facts = session.connection().info
            facts.pop(CHANGED, None)
            yield session
            session.flush()
            if facts.pop(CHANGED, False):
                _next_revision(session)

    def damage(self) -> list[str]:
        """What SQLite finds wrong with its file, one line each; a PostgreSQL server sees to its own files."""
        if not self.is_sqlite:
            return []
        with self.read() as session:
            lines = session.connection().exec_driver_sql("PRAGMA integrity_check").scalars().all()
        return [line for line in map(str, lines) if line != "ok"]

    def compact(self, tables: Sequence[str]) -> None:
        """Write the tables anew, without the space that deleted rows left, and empty the journal.

        Needs room for a second copy, and readers wait meanwhile.
        """
        if self.is_sqlite:
            connection = self.engine.raw_connection()
            try:
                for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                    connection.driver_connection.execute(statement)  # type: ignore[union-attr]
            finally:
                connection.close()
            return
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connected:
            for table in tables:
                connected.exec_driver_sql(f"VACUUM (FULL) {table}")

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()


class Queries:
    """What every group of queries works on: the open database and the archive's key."""

    def __init__(self, database: Database, key: ArchiveKey) -> None:
        self._database = database
        self.key = key


def blocks(ids: Sequence[int] | NDArray[np.int64], size: int = BLOCK) -> Iterator[list[int]]:
    """The ids in lists short enough for one query, without those that no row can have: a database refuses them."""
    numbers = [i for i in map(int, ids) if 1 <= i <= MAX_ID]
    return (numbers[start : start + size] for start in range(0, len(numbers), size))
