"""Adding, removing, rebuilding and verifying, on either database, while others read."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from raptor_search.archive import Archive
from raptor_search.catalog import Catalog
from raptor_search.errors import IndexFileError, LockedError, QueryError, UsageError
from raptor_search.search import search
from raptor_search.searching.selecting import select
from raptor_search.searching.serving import IndexCache
from tests.archives import Drawn, DrawnArchive, draw, exact_ids
from tests.databases import Postgres
from tests.homes import Kept, copied, kept_archive

N = 130
Parts = tuple[Archive, DrawnArchive, Drawn]


def fill(made: DrawnArchive) -> Drawn:
    drawn = made.add(draw(0, N))
    made.publish("IVF4,SQ8")
    return drawn


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Postgres | None:
    return request.getfixturevalue("postgres") if request.param == "postgresql" else None


SQLITE = pytest.mark.parametrize("server", ["sqlite"], indirect=True, scope="module")
"""For a test of what the database has no part in."""


@pytest.fixture(scope="module")
def kept(server: Postgres | None, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return kept_archive(tmp_path_factory.mktemp("upkeep") / "home", server, fill)


@pytest.fixture
def parts(kept: Kept, server: Postgres | None, tmp_path: Path) -> Iterator[Parts]:
    with copied(kept, server, tmp_path / "home") as found:
        yield found


def hits(drawn_home: DrawnArchive, query: np.ndarray, k: int = 10) -> list[int]:
    return [hit.volume_id for hit in drawn_home.search(query, k).hits]


def test_a_hundred_added_volumes_are_found_at_once_and_after_the_next_publish(parts: Parts) -> None:
    _, drawn_home, _ = parts
    new = drawn_home.add(draw(1, 100), start=N)
    cache = IndexCache(drawn_home.home)
    for sample in (slice(None), slice(0, 100, 9)):
        found = [
            search(drawn_home.catalog, cache, drawn_home.stored, vector, k=1, exact_limit=0).hits[0].volume_id
            for vector in new.vectors[sample]
        ]
        assert found == new.ids[sample].tolist()
        drawn_home.publish()


def test_a_hundred_removed_volumes_never_return(parts: Parts) -> None:
    archive, drawn_home, drawn = parts
    assert archive.remove([f"/scans/{number}.nii.gz" for number in range(100)]) == 100
    stay = drawn.ids[100:].tolist()
    for publish in (None, "Flat"):
        if publish:
            drawn_home.publish(publish)
        for query in drawn.vectors[::26]:
            assert sorted(hits(drawn_home, query, N)) == stay
    again = drawn_home.add(drawn.vectors[:1])
    assert again.ids[0] > max(stay)
    assert hits(drawn_home, drawn.vectors[0], 1) == again.ids.tolist()


def test_removed_scans_are_chosen_by_filter_or_by_patient(parts: Parts) -> None:
    archive, _, drawn = parts
    modalities = np.array([m or "" for m in drawn.modalities])
    assert archive.remove(where="modality = 'PT'") == (modalities == "PT").sum()
    left = set(archive.catalog.ids(1).tolist())
    assert left == set(drawn.ids[modalities != "PT"].tolist())
    of_patient = [i for i, p in zip(drawn.ids.tolist(), drawn.patients, strict=True) if p == "patient-9"]
    assert archive.remove(patient="patient-9", author="ann") == len(left & set(of_patient)) > 0
    assert not set(of_patient) & set(archive.catalog.ids(1).tolist())
    entry = archive.catalog.audits()[0]
    assert (entry.author, entry.action) == ("ann", "remove")
    assert "patient-9" not in entry.detail
    with pytest.raises(UsageError, match="no scan of the archive is of a patient"):
        archive.remove(patient="patient-9")
    with pytest.raises(QueryError, match="no column"):
        archive.remove(where="modalty = 'CT'")
    with pytest.raises(UsageError, match="exactly one"):
        archive.remove(where="age > 3", patient="x")


def test_a_removed_source_leaves_the_quarantine_too(parts: Parts) -> None:
    archive, _, _ = parts
    for name in ("/other/a.nii", "/other/b.nii", "/elsewhere/c.nii"):
        key = archive.key.digest("source", name)
        archive.catalog.quarantine(key, locator=name, size=1, mtime_ns=1, code="unreadable", reason="cut")
    assert archive.remove(["/other"]) == 0
    assert [record.locator for record in archive.catalog.quarantined()] == ["/elsewhere/c.nii"]


PLACES = [
    ("/a/b.nii", "/a", True),
    ("/a/b.nii", "/a/b.nii", True),
    ("/a/b.nii", "/a/b", False),
    ("/ab/c.nii", "/a", False),
    ("/a/b.npz#train_0", "/a/b.npz", True),
    ("/a/b.npz#train_0", "/a/b.npz#train_0", True),
    ("/a/b.npz#train_0", "/a/b.npz#train_1", False),
    ("/a/series#1.2.3", "/a/series", True),
    ("/a/study#1/scan.nii", "/a/study", False),
    ("/a/b.nii", "/", True),
]


@SQLITE
def test_a_place_means_what_lies_at_or_below_it_and_its_members(parts: Parts) -> None:
    archive, _, _ = parts
    archive.remove(["/scans"])
    for uri, place, is_meant in PLACES:
        key = archive.key.digest("source", uri)
        archive.catalog.quarantine(key, locator=uri, size=1, mtime_ns=1, code="unreadable", reason="cut")
        if is_meant:
            assert select(archive.catalog, [place]).source_keys == {key}
        else:
            with pytest.raises(UsageError, match=f"no scan from {place}"):
                select(archive.catalog, [place])
        archive.catalog.release([key])


def test_rebuilding_takes_the_mean_of_what_is_there_now(parts: Parts) -> None:
    archive, drawn_home, drawn = parts
    archive.remove(["/scans/0.nii.gz"])
    drawn_home.publish()
    before = archive.catalog.serving(1)
    (version,) = archive.rebuild(factory="Flat")
    generation = archive.catalog.generation(version.generation_id)
    assert before is not None
    assert before[1].volumes == N
    assert (generation.volumes, version.factory) == (N - 1, "Flat")
    expected = drawn.vectors[1:].astype(np.float64).mean(axis=0)
    assert generation.mean == pytest.approx(expected, rel=1e-6)
    for query in drawn.vectors[::20]:
        assert hits(drawn_home, query) == exact_ids(query, drawn, expected, [n > 0 for n in range(N)], 10)
    with pytest.raises(QueryError, match="0 specs"):
        archive.rebuild(spec="ffff")


def test_a_reader_finds_everything_all_through_publishes_rebuilds_and_an_erasure(parts: Parts) -> None:
    archive, drawn_home, drawn = parts
    ended, failures, answers = threading.Event(), [], 0

    def read() -> None:
        nonlocal answers
        with Catalog.open(archive.home, archive.key) as catalog:
            reader = DrawnArchive(archive.home, catalog, drawn_home.stored)
            while not ended.is_set():
                row = 10 + answers % 100
                try:
                    result = reader.search(drawn.vectors[row], 3)
                    if result.hits[0].volume_id != drawn.ids[row] or any("damaged" in n for n in result.notes):
                        failures.append((row, result))
                except Exception as error:
                    failures.append((row, error))
                answers += 1

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(3):
        drawn_home.add(draw(number + 2, 2), start=N + 2 * number)
        drawn_home.publish()
    archive.rebuild()
    archive.erase(["/scans/0.nii.gz", "/scans/1.nii.gz"])
    archive.rebuild(factory="IVF4,SQ8")
    ended.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert answers > 10


def test_a_whole_archive_has_no_problems(parts: Parts) -> None:
    archive, drawn_home, _ = parts
    report = archive.verify()
    assert report.problems == ()
    assert (report.volumes, report.vectors, report.indexes, report.is_whole) == (N, N, 1, True)
    drawn_home.add(draw(3, 2), start=N)
    archive.remove(["/scans/5.nii.gz"])
    assert archive.verify().is_whole


def change(archive: Archive, statement: str) -> None:
    """Damage rows behind the catalog's back, without its checks."""
    with archive.catalog._database.engine.connect() as connection:
        if archive.catalog._database.is_sqlite:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
            connection.exec_driver_sql("BEGIN")
        else:
            connection.execute(text("SET session_replication_role = replica"))
        values = {"zeros": bytes(144), "short": bytes(2)}
        connection.execute(text(statement), {name: v for name, v in values.items() if f":{name}" in statement})
        connection.commit()


DAMAGE = {
    "UPDATE vector SET data = :zeros WHERE id = 3": ("vector", "vector 3: its bytes are not the ones that were stored"),
    "UPDATE vector SET data = :short WHERE id = 3": ("vector", "it has 2 bytes, expected 144"),
    "UPDATE prefix SET data = :zeros WHERE vector_id = 3": ("vector", "stored apart, and differ"),
    "DELETE FROM prefix WHERE vector_id = 3": ("vector", "components are missing"),
    "DELETE FROM embedding WHERE volume_id = 3": ("volume", "volume 3 has no embedding"),
    "DELETE FROM volume WHERE id = 3": ("reference", "1 rows of embedding refer to no volume"),
    "DELETE FROM vector WHERE id = 3": ("reference", "1 rows of embedding refer to no vector"),
    "UPDATE embedding SET vector_id = 4 WHERE id = 3": ("reference", "1 embeddings have a vector of other bytes"),
    "UPDATE volume SET locator = :short WHERE id = 3": ("volume", "volume 3: where it came from cannot be decrypted"),
    "UPDATE volume SET source_key = 'x' WHERE id = 3": ("volume", "volume 3: the hash of its source"),
    "UPDATE spec SET fingerprint = 'x'": ("spec", "spec 1: its fingerprint is not that"),
    "UPDATE generation SET mean = :short": ("mean", "is not 72 finite numbers"),
    "UPDATE index_version SET is_current = false": ("index", "spec 1 has 0 current index versions"),
    "UPDATE index_version SET volumes = 7": ("index", f"it holds {N} volumes, expected 7"),
}


@SQLITE
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_to_a_row_is_named(parts: Parts, damage: str) -> None:
    archive, _, _ = parts
    kind, words = DAMAGE[damage]
    change(archive, damage)
    found = archive.verify().problems
    assert any(problem.kind == kind and words in problem.message for problem in found), found


@SQLITE
def test_damage_to_an_index_file_is_named_with_the_command_that_mends_it(parts: Parts) -> None:
    archive, drawn_home, _ = parts
    file = drawn_home.index_file()
    sound = file.read_bytes()
    for broken in (sound[:-1], sound[:100] + bytes([sound[100] ^ 1]) + sound[101:], b""):
        file.write_bytes(broken)
        (problem,) = archive.verify().problems
        assert problem.kind == "index"
        assert "run `raptor rebuild`" in problem.message
    file.unlink()
    assert [p.kind for p in archive.verify().problems] == ["index"]
    archive.rebuild()
    assert archive.verify().is_whole


@SQLITE
def test_an_index_that_lacks_older_volumes_is_named(parts: Parts) -> None:
    archive, drawn_home, _ = parts
    drawn_home.add(draw(4, 3), start=N)
    change(archive, "UPDATE index_version SET last_embedding_id = 1000000")
    (problem,) = archive.verify().problems
    assert "it lacks 3 volumes that were there when it was made" in problem.message


def test_what_changes_an_archive_waits_for_no_writer_and_a_check_needs_none(parts: Parts) -> None:
    archive, _, _ = parts
    with Catalog.open(archive.home, archive.key) as other, other.writing():
        for attempt in (lambda: archive.remove(["/scans"]), archive.rebuild, archive.publish):
            with pytest.raises(LockedError):
                attempt()
        assert archive.verify().is_whole
    assert archive.catalog.count() == N


@SQLITE
def test_a_full_disk_leaves_the_version_before(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, drawn_home, drawn = parts
    before = archive.catalog.current_index(1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("raptor_search.searching.index_files.os.fsync", full)
        with pytest.raises(IndexFileError, match="No space left"):
            archive.rebuild()
    assert archive.catalog.current_index(1) == before
    assert hits(drawn_home, drawn.vectors[5], 1) == [drawn.ids[5]]


@SQLITE
def test_an_audit_row_is_written_under_the_account_or_the_name_given(parts: Parts) -> None:
    archive, _, _ = parts
    archive.audit("export", "3 rows")
    archive.audit("view", "volume 3", author="ann")
    later, earlier = archive.catalog.audits(2)
    assert (earlier.action, earlier.detail, later.author) == ("export", "3 rows", "ann")
    assert earlier.author
