"""Opening an archive: what is made, what is refused, and in which words."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from raptor_search.catalog import Catalog, NewVolume, StoredSpec
from raptor_search.catalog.database import PAGE_SIZE, database_url
from raptor_search.errors import CatalogError, KeyMismatchError, UsageError
from raptor_search.keys import ArchiveKey
from tests.databases import SQLITE_ONLY

NewVolumeOf = Callable[..., NewVolume]


def test_reading_where_there_is_no_archive_says_how_to_make_one_and_makes_nothing(
    tmp_path: Path, key: ArchiveKey
) -> None:
    home = tmp_path / "home"
    with pytest.raises(CatalogError) as caught:
        Catalog.open(home, key)
    assert caught.value.message == f"no archive at {home}: run `raptor index PATH --home {home}`"
    assert not home.exists()


def test_writing_makes_the_folder_for_its_owner_alone(tmp_path: Path, key: ArchiveKey) -> None:
    home = tmp_path / "deep" / "home"
    with Catalog.open(home, key, mode="write") as catalog:
        assert catalog.count() == 0
        assert catalog.home == home
    assert home.stat().st_mode & 0o777 == 0o700
    assert not (home / "backups").exists()


def test_the_catalog_is_its_owners_alone_in_a_folder_open_to_all(tmp_path: Path, key: ArchiveKey) -> None:
    tmp_path.chmod(0o755)
    with Catalog.open(tmp_path, key, mode="write"):
        assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("volume_id", [10**20, 2**63, 0, -1, -(10**20)])
def test_an_id_that_no_volume_can_have_is_of_no_volume(catalog: Catalog, volume_id: int) -> None:
    for ask in (catalog.volume, catalog.locator, lambda i: catalog.set_label(i, "grade", "II", origin="accepted")):
        with pytest.raises(UsageError, match="no volume"):
            ask(volume_id)
    assert catalog.preview(volume_id) is None


def test_what_was_written_is_read_by_the_next_opening(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf, key: ArchiveKey
) -> None:
    volume_id = catalog.commit_volume(new_volume("a"))
    catalog.close()
    for mode in ("read", "write"):
        with Catalog.open(catalog.home, key, mode=mode) as again:
            assert again.volume(volume_id).id == volume_id
            assert again.default_spec() == stored


def test_an_archive_opened_for_reading_still_takes_labels(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf, key: ArchiveKey
) -> None:
    volume_id = catalog.commit_volume(new_volume("a"))
    with Catalog.open(catalog.home, key, mode="read") as reader:
        reader.set_label(volume_id, "grade", "II", origin="accepted")
    assert catalog.label_names() == ["grade"]


def test_another_key_is_refused_in_either_mode(catalog: Catalog, tmp_path: Path) -> None:
    stranger = ArchiveKey(tmp_path / "other.key", bytes(32))
    for mode in ("read", "write"):
        with pytest.raises(KeyMismatchError, match=r"other\.key is not the one .* was made with: set RAPTOR_KEY_FILE"):
            Catalog.open(catalog.home, stranger, mode=mode)


def test_a_key_inside_the_home_is_refused(tmp_path: Path) -> None:
    inside = ArchiveKey(tmp_path / "home" / "archive.key", bytes(32))
    with pytest.raises(UsageError, match="lies inside the archive"):
        Catalog.open(tmp_path / "home", inside, mode="write")
    assert not (tmp_path / "home").exists()


def test_a_home_that_cannot_be_made_is_a_usage_error(tmp_path: Path, key: ArchiveKey) -> None:
    (tmp_path / "file").write_text("in the way")
    for home in (tmp_path / "file", tmp_path / "file" / "home"):
        with pytest.raises(UsageError, match=r"cannot be made: .*choose another place with --home"):
            Catalog.open(home, key, mode="write")


def test_an_empty_file_left_by_a_killed_process_is_no_archive(tmp_path: Path, key: ArchiveKey) -> None:
    (tmp_path / "catalog.db").touch()
    with pytest.raises(CatalogError, match="no archive at"):
        Catalog.open(tmp_path, key)
    with Catalog.open(tmp_path, key, mode="write") as catalog:
        assert catalog.count() == 0


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, key: ArchiveKey, mode: str) -> None:
    (tmp_path / "catalog.db").write_bytes(b"not a database" * 100)
    with pytest.raises(CatalogError, match="not a database; restore it from a copy"):
        Catalog.open(tmp_path, key, mode=mode)  # type: ignore[arg-type]
    assert (tmp_path / "catalog.db").read_bytes() == b"not a database" * 100


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_database_of_another_program_is_refused(tmp_path: Path, key: ArchiveKey, mode: str) -> None:
    connection = sqlite3.connect(tmp_path / "catalog.db")
    connection.execute("CREATE TABLE invoice (id INTEGER)")
    connection.close()
    with pytest.raises(CatalogError, match="holds other tables and no catalog"):
        Catalog.open(tmp_path, key, mode=mode)  # type: ignore[arg-type]


def test_the_variable_and_the_argument_put_the_database_elsewhere(
    tmp_path: Path, key: ArchiveKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAPTOR_DATABASE_URL", f"sqlite:///{tmp_path}/by-variable.db")
    Catalog.open(tmp_path / "home", key, mode="write").close()
    Catalog.open(tmp_path / "home", key, url=f"sqlite:///{tmp_path}/by-argument.db", mode="write").close()
    assert (tmp_path / "by-variable.db").exists()
    assert (tmp_path / "by-argument.db").exists()
    assert not (tmp_path / "home" / "catalog.db").exists()


def test_postgresql_urls_use_psycopg(tmp_path: Path) -> None:
    assert database_url(tmp_path, "postgresql://me@host/scans").drivername == "postgresql+psycopg"
    assert database_url(tmp_path, "postgresql+psycopg2://me@host/scans").drivername == "postgresql+psycopg"


@pytest.mark.parametrize(
    "url",
    ["nonsense", "mysql://me:secret@host/db", "sqlite://", "sqlite:///:memory:", "postgresql://me:secret@host", "://"],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(tmp_path: Path, key: ArchiveKey, url: str) -> None:
    with pytest.raises(UsageError, match="expected postgresql://") as caught:
        Catalog.open(tmp_path, key, url=url)
    assert "secret" not in caught.value.message


def test_a_server_that_does_not_answer_is_a_catalog_error_without_the_password(tmp_path: Path, key: ArchiveKey) -> None:
    with pytest.raises(CatalogError, match="see that") as caught:
        Catalog.open(tmp_path, key, url="postgresql://me:secret@127.0.0.1:1/scans?application_name=secret")
    assert "secret" not in caught.value.message
    assert "\n" not in caught.value.message


@SQLITE_ONLY
def test_sqlite_is_set_up_for_large_rows_and_hard_stops(catalog: Catalog) -> None:
    with catalog._database.engine.connect() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("page_size", "foreign_keys", "synchronous", "secure_delete", "journal_mode", "busy_timeout")
        }
    safe_wal = sqlite3.sqlite_version_info >= (3, 51, 3)
    assert settings == {
        "page_size": PAGE_SIZE,
        "foreign_keys": 1,
        "synchronous": 2,
        "secure_delete": 1,
        "journal_mode": "wal" if safe_wal else "truncate",
        "busy_timeout": 30_000,
    }


def test_a_failure_of_the_database_repeats_no_values(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf
) -> None:
    catalog.commit_volume(new_volume("a"))
    with catalog._database.write() as session:
        session.execute(text("DROP TABLE label"))
    with pytest.raises(CatalogError, match=r"label.*; restore it from a copy") as caught:
        catalog.give_labels(1, {"diagnosis": "glioma"})
    assert "glioma" not in caught.value.message
    assert "glioma" not in str(caught.value.__cause__)
