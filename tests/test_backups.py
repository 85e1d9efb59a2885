"""Backup and restore: one file with hashes, from and to either database."""

import base64
import json
import os
import sqlite3
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from raptor_search.archive import Archive
from raptor_search.catalog import Catalog, NewVolume
from raptor_search.errors import CatalogError, KeyMismatchError, UsageError
from tests.archives import Drawn, DrawnArchive, draw
from tests.databases import Postgres
from tests.homes import Kept, copied, kept_archive

N = 40
Parts = tuple[Archive, DrawnArchive, Drawn]


def fill(made: DrawnArchive) -> Drawn:
    drawn = made.add(draw(0, N), preview=b"\x89PNG of %d.", remark="said of %d")
    made.catalog.set_label(3, "grade", "II", origin="accepted", author="ann")
    made.catalog.quarantine(
        made.catalog.key.digest("source", "/x"), locator="/x", size=1, mtime_ns=1, code="unreadable", reason="cut"
    )
    made.publish("Flat")
    made.catalog.save_map(made.stored.id, drawn.ids, np.ones((N, 2)), {"seed": 1})
    with Archive(made.home, made.catalog.key, made.catalog) as archive:
        archive.remove(["/scans/38.nii.gz", "/scans/39.nii.gz"])
    return drawn


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Postgres | None:
    return request.getfixturevalue("postgres") if request.param == "postgresql" else None


@pytest.fixture(scope="module")
def kept(server: Postgres | None, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return kept_archive(tmp_path_factory.mktemp("backups") / "home", server, fill)


@pytest.fixture
def parts(kept: Kept, server: Postgres | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    with copied(kept, server, tmp_path / "home") as found:
        key = found[0].key
        content = f"raptor-search key 1\n{base64.b64encode(key.secret).decode()}\n"
        (tmp_path / "archive.key").write_text(content)
        monkeypatch.setenv("RAPTOR_KEY_FILE", str(tmp_path / "archive.key"))
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database to restore into, of either kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/restored/catalog.db"
        return
    postgres = request.getfixturevalue("postgres")
    url = postgres.create()
    yield url
    postgres.drop(url)


def rows(catalog: Catalog) -> dict[str, list[tuple[object, ...]]]:
    """Everything in the database but who writes."""
    with catalog._database.read() as session:
        names = [
            "setting", "spec", "volume", "vector", "prefix", "embedding", "preview", "label", "quarantine",
            "generation", "index_version", "cohort_map", "audit", "tombstone",
        ]  # fmt: skip
        found = {}
        for name in names:
            result = session.execute(text(f"SELECT * FROM {name}"))
            columns = list(result.keys())
            found[name] = sorted(
                (tuple(_plain(row[columns.index(c)]) for c in sorted(columns)) for row in result), key=repr
            )
        return found


def _plain(value: object) -> object:
    return int(value) if isinstance(value, bool) else value


def test_what_is_restored_is_what_was_backed_up_whichever_the_databases(
    parts: Parts, target: str, tmp_path: Path
) -> None:
    archive, drawn_home, drawn = parts
    file = tmp_path / "archive.raptor"
    report = archive.backup(file)
    assert (report.volumes, report.indexes, report.size) == (N - 2, 1, file.stat().st_size)
    assert file.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"home", "archive.key", file.name}
    before = rows(archive.catalog)
    with Archive.restore(file, tmp_path / "restored", url=target) as restored:
        assert rows(restored.catalog) == before
        assert restored.verify().problems == ()
        again = DrawnArchive(restored.home, restored.catalog, restored.catalog.specs()[0])
        for query in drawn.vectors[:5]:
            assert again.search(query).to_dict() == drawn_home.search(query).to_dict()
        new: NewVolume = again._new(drawn, 39, 39)
        assert restored.catalog.commit_volume(new) == N + 1  # ids of what was removed are not used again
        with restored.writing():
            pass
    assert not (tmp_path / "restored" / "restore.part").exists()


def test_a_backup_holds_neither_the_key_nor_what_identifies_in_clear(parts: Parts, tmp_path: Path) -> None:
    archive, _, _ = parts
    archive.backup(tmp_path / "b")
    content = (tmp_path / "b").read_bytes()
    assert archive.key.secret not in content
    for word in (b"/scans/", b"patient-"):
        assert word not in content
    manifest = json.loads(zipfile.ZipFile(tmp_path / "b").read("manifest.json"))
    assert manifest["format"] == "raptor-search backup 1"
    assert set(manifest["members"]) == {"catalog.db", *(m for m in manifest["members"] if m.startswith("indexes/"))}


def test_a_backup_is_of_one_moment_though_others_write(parts: Parts, tmp_path: Path) -> None:
    archive, drawn_home, _ = parts
    ended = threading.Event()

    def write() -> None:
        number = N
        with Catalog.open(archive.home, archive.key) as catalog:
            other = DrawnArchive(archive.home, catalog, drawn_home.stored)
            while not ended.is_set():
                other.add(draw(number, 1), start=number)
                number += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        archive.backup(tmp_path / "b")
    finally:
        ended.set()
        thread.join()
    with Archive.restore(tmp_path / "b", tmp_path / "restored", url=f"sqlite:///{tmp_path}/restored/c.db") as restored:
        assert restored.verify().problems == ()
        assert N - 2 <= restored.catalog.count() <= archive.catalog.count()


def test_a_backup_is_never_written_over_another_nor_into_the_home(parts: Parts, tmp_path: Path) -> None:
    archive, _, _ = parts
    (tmp_path / "b").write_bytes(b"mine")
    with pytest.raises(UsageError, match="is there already"):
        archive.backup(tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"mine"
    with pytest.raises(UsageError, match="would be lost with it"):
        archive.backup(archive.home / "b")
    with pytest.raises(UsageError, match="could not be written"):
        archive.backup(tmp_path / "absent" / "b")


def test_a_backup_that_does_not_fit_leaves_nothing(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, _, _ = parts

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("raptor_search.backups.os.fsync", full)
    with pytest.raises(UsageError, match=r"could not be written \(No space left"):
        archive.backup(tmp_path / "b")
    assert {path.name for path in tmp_path.iterdir()} == {"home", "archive.key"}


def damaged(file: Path) -> Iterator[bytes]:
    content = file.read_bytes()
    yield content[:-1]
    yield content[: len(content) // 2]
    yield b""
    yield b"no backup at all"
    rng = np.random.default_rng(0)
    catalog_ends = content.index(b"indexes/")
    for place in rng.integers(100, catalog_ends - 100, 8):
        yield content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


def test_a_damaged_backup_restores_nothing(parts: Parts, tmp_path: Path) -> None:
    archive, _, _ = parts
    archive.backup(tmp_path / "b")
    for content in damaged(tmp_path / "b"):
        (tmp_path / "broken").write_bytes(content)
        with pytest.raises(CatalogError, match=r"damaged|no backup"):
            Archive.restore(tmp_path / "broken", tmp_path / "new", url=f"sqlite:///{tmp_path}/new/catalog.db")
        assert not (tmp_path / "new").exists() or not any((tmp_path / "new").iterdir())


def test_members_that_lead_out_of_the_folder_are_refused(parts: Parts, tmp_path: Path) -> None:
    archive, _, _ = parts
    manifest = {
        "format": "raptor-search backup 1",
        "created_at": "",
        "volumes": 0,
        "key_check": archive.key.check_value,
    }
    for name in ("../evil", "/tmp/evil", "indexes/../../evil", "archive.key"):
        with zipfile.ZipFile(tmp_path / "evil.zip", "w") as made:
            made.writestr(name, b"x")
            made.writestr("manifest.json", json.dumps({**manifest, "members": {"catalog.db": {}, name: {}}}))
        with pytest.raises(CatalogError, match="no backup that this version"):
            Archive.restore(tmp_path / "evil.zip", tmp_path / "new")
    assert not (tmp_path / "evil").exists()


def test_a_home_or_a_database_that_is_not_empty_is_refused_and_left_alone(
    parts: Parts, target: str, tmp_path: Path
) -> None:
    archive, _, _ = parts
    archive.backup(tmp_path / "b")
    before = rows(archive.catalog)
    with pytest.raises(UsageError, match="is not empty: restore into a new folder"):
        Archive.restore(tmp_path / "b", archive.home, url=target)
    with pytest.raises(UsageError, match="holds an archive: restore into an empty one"):
        Archive.restore(tmp_path / "b", tmp_path / "new", url=archive.catalog._database.url.render_as_string(False))
    assert rows(archive.catalog) == before
    assert list((tmp_path / "new").iterdir()) == []


def test_another_key_is_refused_before_anything_is_written(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, _, _ = parts
    archive.backup(tmp_path / "b")
    monkeypatch.setenv("RAPTOR_KEY_FILE", str(tmp_path / "other.key"))
    with pytest.raises(KeyMismatchError, match="no key at"):
        Archive.restore(tmp_path / "b", tmp_path / "new")
    (tmp_path / "other.key").write_text("raptor-search key 1\n" + "A" * 43 + "=\n")
    with pytest.raises(KeyMismatchError, match="of an archive with another key"):
        Archive.restore(tmp_path / "b", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_backup_of_a_newer_program_is_refused(parts: Parts, tmp_path: Path) -> None:
    archive, _, _ = parts
    with archive.catalog._database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    if archive.catalog._database.is_sqlite:
        archive.backup(tmp_path / "b")
        with pytest.raises(CatalogError, match="made by a newer raptor-search"):
            Archive.restore(tmp_path / "b", tmp_path / "new")
        assert list((tmp_path / "new").iterdir()) == []


def test_a_lost_index_file_is_made_again_after_a_restore(parts: Parts, tmp_path: Path) -> None:
    archive, drawn_home, _ = parts
    drawn_home.index_file().unlink()
    assert archive.backup(tmp_path / "b").indexes == 0
    with Archive.restore(tmp_path / "b", tmp_path / "new", url=f"sqlite:///{tmp_path}/new/catalog.db") as restored:
        assert restored.verify().problems == ()


def test_the_copy_of_sqlite_goes_on_where_writers_never_pause(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, _, _ = parts
    if not archive.catalog._database.is_sqlite:
        return
    monkeypatch.setattr("raptor_search.catalog.copying.PAGES", 1)
    with sqlite3.connect(archive.home / "catalog.db") as writer:

        def disturb(what: str, done: int, total: int) -> None:
            if "Copying" in what and disturbances.count(done) < 20 and done < total:
                disturbances.append(done)
                writer.execute("INSERT INTO audit (at, author, action, detail) VALUES (0, 'a', 'b', 'c')")
                writer.commit()

        disturbances: list[int] = []
        archive.backup(tmp_path / "b", progress=disturb)
    writer.close()
    assert len(disturbances) > 3
    assert os.path.getsize(tmp_path / "b") > 0
    with Archive.restore(tmp_path / "b", tmp_path / "new", url=f"sqlite:///{tmp_path}/new/catalog.db") as restored:
        assert restored.verify().problems == ()
