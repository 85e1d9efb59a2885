"""Revisions: creating, upgrading after a backup, refusing what is newer."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from raptor_search.catalog import Catalog, upgrade, writer_lock
from raptor_search.catalog.database import database_url, make_engine
from raptor_search.catalog.schema import current_state, migrate, migration_config
from raptor_search.catalog.tables import Base
from raptor_search.errors import CatalogError, KeyMismatchError, LockedError
from raptor_search.keys import ArchiveKey


@pytest.fixture
def old_home(tmp_path: Path, key: ArchiveKey) -> Path:
    """An archive as the first revision made it, with a setting and a quarantined source."""
    home = tmp_path / "old"
    home.mkdir()

    def fill(connection: Connection) -> None:
        connection.execute(text("INSERT INTO setting VALUES ('key_check', :value)"), {"value": key.check_value})
        connection.execute(text("INSERT INTO setting VALUES ('notice', 'made long ago')"))

    migrate(home, database_url(home), revision="0001", then=fill)
    return home


def tables(file: Path) -> set[str]:
    connection = sqlite3.connect(file)
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    return names


def revision(file: Path) -> str:
    connection = sqlite3.connect(file)
    ((number,),) = connection.execute("SELECT version_num FROM alembic_version")
    connection.close()
    return str(number)


def test_the_migrations_make_the_tables_that_the_code_declares(catalog: Catalog) -> None:
    with catalog._database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_the_revisions_follow_one_another() -> None:
    scripts = ScriptDirectory.from_config(migration_config())
    names = [script.revision for script in scripts.walk_revisions()]
    assert names == sorted(names, reverse=True)
    assert names[-1] == "0001"
    assert len(scripts.get_heads()) == 1
    assert len(names) == len(list((Path(__file__).parents[2] / "migrations" / "versions").glob("0*.py")))


def test_a_foreign_migrations_package_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "__init__.py").touch()
    code = (
        "from raptor_search.catalog.schema import migration_config as c; print(c().get_main_option('script_location'))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(run.stdout.strip()) == Path(__file__).parents[2] / "migrations"


def test_an_older_archive_is_refused_by_readers_and_left_as_it_is(old_home: Path, key: ArchiveKey) -> None:
    before = (old_home / "catalog.db").read_bytes()
    with pytest.raises(CatalogError, match=f"older raptor-search: run `raptor upgrade --home {old_home}`"):
        Catalog.open(old_home, key)
    assert (old_home / "catalog.db").read_bytes() == before


def test_an_older_archive_is_upgraded_by_a_writer_after_a_backup(old_home: Path, key: ArchiveKey) -> None:
    with Catalog.open(old_home, key, mode="write") as catalog:
        assert catalog.setting("notice") == "made long ago"
        catalog.audit("ann", "search", "the new table works")
    (backup,) = (old_home / "backups").iterdir()
    assert backup.stat().st_mode & 0o777 == 0o600
    assert revision(backup) == "0001"
    assert revision(old_home / "catalog.db") == ScriptDirectory.from_config(migration_config()).get_current_head()
    assert "audit" not in tables(backup)
    assert "setting" in tables(backup)
    Catalog.open(old_home, key).close()
    assert len(list((old_home / "backups").iterdir())) == 1


def test_upgrade_says_whether_there_was_anything_to_do(old_home: Path, key: ArchiveKey) -> None:
    assert upgrade(old_home)
    assert not upgrade(old_home)
    Catalog.open(old_home, key).close()
    assert len(list((old_home / "backups").iterdir())) == 1


def test_a_split_that_was_a_label_becomes_a_column_and_goes_back(old_home: Path, key: ArchiveKey) -> None:
    required = "source_key, locator, size, mtime_ns, content_key, added_at, format, size_r, size_a, size_s, "
    required += "spacing_r, spacing_a, spacing_s, orientation, oriented"
    with closing(sqlite3.connect(old_home / "catalog.db")) as database, database:
        for source in ("a", "b"):
            row = (source, b"", 1, 1, "c", 1.0, "npz", 4, 4, 4, 1.0, 1.0, 1.0, "RAS", 0)
            database.execute(f"INSERT INTO volume ({required}) VALUES ({', '.join('?' * len(row))})", row)
        for name, value, origin in (("split", "train", "given"), ("label", "3", "given")):
            database.execute(
                "INSERT INTO label (volume_id, name, value, origin, changed_at) VALUES (1, ?, ?, ?, 1)",
                (name, value, origin),
            )
    with Catalog.open(old_home, key, mode="write") as catalog:
        first, second = catalog.volumes([1, 2])
        assert (first.split, first.labels) == ("train", {"label": "3"})
        assert (second.split, second.labels) == (None, {})
    engine = make_engine(database_url(old_home), foreign_keys=False)
    with engine.begin() as connection:
        command.downgrade(migration_config(connection), "0002")
        assert connection.execute(text("SELECT name, value FROM label ORDER BY name")).all() == [
            ("label", "3"),
            ("split", "train"),
        ]
    engine.dispose()


def test_upgrade_waits_for_no_writer(old_home: Path) -> None:
    with writer_lock(old_home), pytest.raises(LockedError, match="another process is writing"):
        upgrade(old_home)
    assert revision(old_home / "catalog.db") == "0001"


def test_upgrade_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no archive at"):
        upgrade(tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_another_key_is_refused_before_an_older_archive_is_touched(old_home: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyMismatchError):
        Catalog.open(old_home, ArchiveKey(tmp_path / "k", bytes(32)), mode="write")
    assert revision(old_home / "catalog.db") == "0001"
    assert not (old_home / "backups").exists()


def test_an_archive_of_a_newer_program_is_refused_everywhere(catalog: Catalog, key: ArchiveKey) -> None:
    with catalog._database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    message = "made by a newer raptor-search: upgrade the program"
    for mode in ("read", "write"):
        with pytest.raises(CatalogError, match=message):
            Catalog.open(catalog.home, key, mode=mode)
    with pytest.raises(CatalogError, match=message):
        upgrade(catalog.home)


def test_a_migration_that_fails_leaves_the_archive_as_it_was(old_home: Path) -> None:
    def fail(connection: Connection) -> None:
        assert "audit" in connection.dialect.get_table_names(connection)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        migrate(old_home, database_url(old_home), then=fail)
    assert current_state(database_url(old_home)) == "older"
    assert "audit" not in tables(old_home / "catalog.db")


def test_without_a_backup_there_is_no_upgrade(old_home: Path, key: ArchiveKey) -> None:
    (old_home / "backups").write_text("in the way")
    with pytest.raises(CatalogError, match=r"was not upgraded: .* could not be copied"):
        Catalog.open(old_home, key, mode="write")
    assert current_state(database_url(old_home)) == "older"


def test_every_revision_can_be_undone(old_home: Path) -> None:
    engine = make_engine(database_url(old_home), foreign_keys=False)
    with engine.begin() as connection:
        command.upgrade(migration_config(connection), "head")
        command.downgrade(migration_config(connection), "base")
    engine.dispose()
    assert tables(old_home / "catalog.db") <= {"alembic_version", "sqlite_sequence"}
