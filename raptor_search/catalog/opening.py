"""The catalog of one archive: opened, checked against key and revision, then asked."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from sqlalchemy import Connection, insert, select

from raptor_search.catalog.checking import CheckQueries
from raptor_search.catalog.cohorts import CohortQueries
from raptor_search.catalog.commits import CommitQueries
from raptor_search.catalog.copying import CopyQueries
from raptor_search.catalog.database import Database, database_url
from raptor_search.catalog.locks import make_home
from raptor_search.catalog.measures import MeasureQueries
from raptor_search.catalog.proposals import ProposalQueries
from raptor_search.catalog.removing import RemovalQueries
from raptor_search.catalog.schema import absent_message, current_state, migrate, newer_message, older_message
from raptor_search.catalog.tables import SettingRow
from raptor_search.catalog.tallies import TallyQueries
from raptor_search.catalog.tokens import TokenQueries
from raptor_search.catalog.versions import VersionQueries
from raptor_search.catalog.volumes import VolumeQueries
from raptor_search.errors import CatalogError, KeyMismatchError
from raptor_search.keys import KEY_FILE_VARIABLE, ArchiveKey, check_outside

__all__ = ["Catalog"]

KEY_CHECK = "key_check"
"""The setting that holds the check value of the archive's key."""


class Catalog(
    CommitQueries,
    VolumeQueries,
    VersionQueries,
    MeasureQueries,
    RemovalQueries,
    CheckQueries,
    CopyQueries,
    TokenQueries,
    CohortQueries,
    ProposalQueries,
    TallyQueries,
):
    """Everything that an archive knows, as frozen records and arrays.

    Every method is one short transaction, so that threads may share a catalog. Open it with `open`.
    """

    def __init__(self, database: Database, key: ArchiveKey, home: Path) -> None:
        super().__init__(database, key)
        self.home = home

    @classmethod
    def open(
        cls, home: Path, key: ArchiveKey, *, url: str | None = None, mode: Literal["read", "write"] = "read"
    ) -> "Catalog":
        """Open the catalog of an archive.

        Args:
            home: the archive's folder.
            key: the key the archive was, or is to be, made with.
            url: of the database; None means `RAPTOR_DATABASE_URL`, else `home`/catalog.db.
            mode: "write" may make the folder, create the database, and upgrade an older one after a
                backup; "read" takes the database as it is (labels and audits can still be written).

        Raises:
            CatalogError: there is no archive (read), it is older (read) or newer than this program, or
                the database failed.
            KeyMismatchError: the archive was made with another key.
            UsageError: the folder or the URL cannot be used, or the key lies inside the folder.
        """
        check_outside(key.path, home)
        place = database_url(home, url)
        if mode == "write":
            make_home(home)
        state = current_state(place)
        if state == "newer":
            raise CatalogError(newer_message(place))
        if mode == "read" and state != "current":
            raise CatalogError(absent_message(home) if state == "absent" else older_message(home))
        with ExitStack() as on_failure:
            database = Database(place)
            on_failure.callback(database.close)
            if state != "absent":
                _check_key(database, key, home)
            if state != "current":
                migrate(home, place, then=lambda connection: _store_check_value(connection, key))
                _check_key(database, key, home)
            on_failure.pop_all()
        return cls(database, key, home)

    def close(self) -> None:
        """Give back the database's connections."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _store_check_value(connection: Connection, key: ArchiveKey) -> None:
    if connection.scalar(select(SettingRow.value).where(SettingRow.name == KEY_CHECK)) is None:
        connection.execute(insert(SettingRow).values(name=KEY_CHECK, value=key.check_value))


def _check_key(database: Database, key: ArchiveKey, home: Path) -> None:
    with database.read() as session:
        stored = session.scalar(select(SettingRow.value).where(SettingRow.name == KEY_CHECK))
    if stored != key.check_value:
        raise KeyMismatchError(
            f"the key {key.path} is not the one that the archive {home} was made with: "
            f"set {KEY_FILE_VARIABLE} to the file of that key"
        )
