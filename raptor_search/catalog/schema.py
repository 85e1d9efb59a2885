"""The revision of a database: creating an empty one, upgrading an older one, refusing a newer one."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, inspect

from raptor_search.catalog.database import WRITE, database_url, make_engine, shown, translated
from raptor_search.catalog.leases import refuse_while_written
from raptor_search.catalog.locks import file_lock, make_private, writer_lock
from raptor_search.errors import CatalogError

__all__ = [
    "BACKUP_FOLDER",
    "State",
    "absent_message",
    "current_state",
    "migrate",
    "migration_config",
    "newer_message",
    "older_message",
    "upgrade",
]

State = Literal["absent", "older", "current", "newer"]

MIGRATIONS = Path(__file__).absolute().parents[2] / "migrations"

BACKUP_FOLDER = "backups"
"""The folder, within an archive's home, of the copies made before an upgrade."""

SCHEMA_LOCK_SECONDS = 600.0
"""How long a process waits while another creates or upgrades the database."""


def migration_config(connection: Connection | None = None) -> Config:
    """Alembic's settings with the migrations that lie beside this package, in a checkout and an installed wheel alike.

    Found by path: the working directory may hold a `migrations` package of its own.
    """
    config = Config()
    folder = str(MIGRATIONS)
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def current_state(url: URL) -> State:
    """How the database compares with this program. Creates nothing.

    Raises:
        CatalogError: it cannot be reached, or is not a catalog of this program.
    """
    if url.get_backend_name() == "sqlite" and not _has_content(Path(str(url.database))):
        return "absent"
    with _connected(url, write=False) as connection:
        return _state(connection, shown(url))


def migrate(home: Path, url: URL, *, revision: str = "head", then: Callable[[Connection], None] | None = None) -> None:
    """Create or upgrade the database, one process at a time, in one transaction; an older file is copied first.

    Args:
        home: the archive; backups go to `home`/backups.
        url: the database.
        revision: how far.
        then: called within the transaction, after the migrations.

    Raises:
        CatalogError: it was made by a newer program, cannot be reached, or could not be copied.
        LockedError: another process has been at it for `SCHEMA_LOCK_SECONDS`, or writes to the archive.
    """
    with _schema_lock(url), ExitStack() as older:
        state = current_state(url)
        if state == "newer":
            raise CatalogError(newer_message(url))
        if state == "older":
            older.enter_context(writer_lock(home))  # what writers of the first versions held
        if state == "older" and url.get_backend_name() == "sqlite":
            _back_up(Path(str(url.database)), home / BACKUP_FOLDER)
        if state == "absent" and url.get_backend_name() == "sqlite":
            with suppress(OSError):  # where it cannot be made, SQLite says so in the next line
                make_private(Path(str(url.database)))
        with _connected(url, write=True) as connection:
            # PostgreSQL has no lock file: whoever waited for the transaction finds the work done.
            if inspect(connection).has_table("writer"):
                refuse_while_written(connection)
            command.upgrade(migration_config(connection), revision)
            if then is not None:
                then(connection)


def upgrade(home: Path, url: str | None = None) -> bool:
    """Upgrade an archive made by an older version of this program, after a backup; False where nothing was to do.

    Raises:
        CatalogError: there is no archive, or it was made by a newer program.
        LockedError: another process is writing to it.
    """
    place = database_url(home, url)
    state = current_state(place)
    if state == "absent":
        raise CatalogError(absent_message(home))
    if state == "newer":
        raise CatalogError(newer_message(place))
    if state == "current":
        return False
    migrate(home, place)
    return True


def absent_message(home: Path) -> str:
    """What to say where there is no archive."""
    return f"no archive at {home}: run `raptor index PATH --home {home}`"


def older_message(home: Path) -> str:
    """What to say where the archive is of an older revision."""
    return f"the archive {home} was made by an older raptor-search: run `raptor upgrade --home {home}`"


def newer_message(url: URL) -> str:
    """What to say where the archive is of a revision that this program does not know."""
    return f"the catalog {shown(url)} was made by a newer raptor-search: upgrade the program"


def _has_content(file: Path) -> bool:
    # A process that died before its first commit leaves an empty file: no archive either.
    return file.is_file() and file.stat().st_size > 0


@contextmanager
def _connected(url: URL, *, write: bool) -> Iterator[Connection]:
    # With foreign keys on, a migration that builds a table anew would delete the rows that point to it.
    engine = make_engine(url, foreign_keys=False)
    try:
        with translated(shown(url)), engine.execution_options(**{WRITE: write}).begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _state(connection: Connection, name: str) -> State:
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is None:
        if inspect(connection).get_table_names():
            raise CatalogError(f"{name} holds other tables and no catalog: choose another --home or database")
        return "absent"
    scripts = ScriptDirectory.from_config(migration_config())
    if revision == scripts.get_current_head():
        return "current"
    return "older" if revision in {script.revision for script in scripts.walk_revisions()} else "newer"


def _schema_lock(url: URL) -> AbstractContextManager[None]:
    if url.get_backend_name() != "sqlite":
        return nullcontext()
    database = Path(str(url.database))
    return file_lock(
        database.with_name(f"{database.name}.lock"), f"the schema of {database}", wait_seconds=SCHEMA_LOCK_SECONDS
    )


def _back_up(database: Path, folder: Path) -> Path:
    """Copy a SQLite file, consistent even where a process died while writing to it."""
    copy = folder / f"{database.stem}-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}.db"
    temporary = copy.with_suffix(".part")
    try:
        folder.mkdir(exist_ok=True, mode=0o700)
        make_private(temporary)
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(temporary)) as target:
            source.backup(target)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.rename(copy)
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        needed = database.stat().st_size / 1e6
        raise CatalogError(
            f"the archive was not upgraded: {database} could not be copied to {folder} ({error}); "
            f"{needed:.0f} MB are needed there"
        ) from error
    return copy
