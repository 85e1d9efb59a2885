"""Erasing a patient: nothing of the scans is left in any file, and nothing brings them back."""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from raptor_search import erasure
from raptor_search.archive import Archive
from raptor_search.catalog import Catalog, NewVolume
from raptor_search.errors import CatalogError, ErasedError, LockedError, UsageError
from raptor_search.searching.sketching import unit_sketches
from raptor_search.upkeep import EraseReport
from tests.archives import Drawn, DrawnArchive, draw
from tests.databases import Postgres
from tests.homes import Kept, copied, kept_archive

N = 66
PATIENT = "patient-7"
"""Of volumes 21 and 23: 22 has no patient."""

PIECE = 16
"""Bytes of a vector that chance does not repeat."""


def fill(made: DrawnArchive) -> Drawn:
    """66 drawn volumes with previews and labels, published twice, mapped, and copied before an upgrade."""
    drawn = made.add(draw(0, N), preview=b"\x89PNG of %d.", remark="said of %d alone")
    made.publish("Flat")
    made.publish("IVF4,SQ8", exact_limit=N)
    made.catalog.save_map(made.stored.id, drawn.ids, np.zeros((N, 2)), {})
    with made.catalog._database.write() as session:
        session.execute(text("ANALYZE"))  # as a server does by itself: its statistics hold samples of values
    (made.home / "backups").mkdir()
    if (made.home / "catalog.db").exists():
        shutil.copy(made.home / "catalog.db", made.home / "backups" / "catalog-20260101.db")
    return drawn


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Postgres | None:
    return request.getfixturevalue("postgres") if request.param == "postgresql" else None


@pytest.fixture(scope="module")
def kept(server: Postgres | None, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return kept_archive(tmp_path_factory.mktemp("erasure") / "home", server, fill)


@pytest.fixture
def full(kept: Kept, server: Postgres | None, tmp_path: Path) -> Iterator[tuple[Archive, DrawnArchive, Drawn]]:
    with copied(kept, server, tmp_path / "home") as parts:
        yield parts


def of_patient(drawn: Drawn) -> list[int]:
    return [row for row, patient in enumerate(drawn.patients) if patient == PATIENT]


def traces(archive: DrawnArchive, drawn: Drawn, rows: list[int]) -> dict[str, bytes]:
    """Everything by which the scans could be known again."""
    key = archive.catalog.key
    found = {"patient": key.digest("patient", PATIENT).encode()}
    digests = archive.catalog.vector_digests(archive.stored.id)
    serving = archive.catalog.serving(archive.stored.id)
    assert serving is not None
    for row in rows:
        vector, volume_id = drawn.vectors[row], int(drawn.ids[row])
        flat = unit_sketches(vector[np.newaxis], serving[1].mean)[0]
        found |= {
            f"source {row}": key.digest("source", f"/scans/{row}.nii.gz").encode(),
            f"content {row}": key.digest("content", f"{row}").encode(),
            f"vector {row}": vector.tobytes(),
            f"sketch {row}": flat.tobytes(),
            f"digest {row}": digests[volume_id].encode(),
            f"remark {row}": f"said of {row} alone".encode(),
            f"preview {row}": b"\x89PNG of %d." % row,
        }
    return found


def test_nothing_of_an_erased_patient_is_left_in_any_file(
    full: tuple[Archive, DrawnArchive, Drawn], stored_bytes: Callable[[Path], bytes]
) -> None:
    archive, drawn_home, drawn = full
    rows = of_patient(drawn)
    assert len(rows) == 2
    looked_for = traces(drawn_home, drawn, rows)
    locators = drawn_home.catalog._column("locator", drawn.ids[rows])
    before = stored_bytes(archive.home)
    assert [name for name, trace in looked_for.items() if trace not in before] == []
    assert all(token in before for token in locators)
    others = traces(drawn_home, drawn, [0, 1])

    report = archive.erase(patient=PATIENT)

    assert report == EraseReport(2, 0, 0)
    after = stored_bytes(archive.home)
    assert [name for name, trace in looked_for.items() if trace in after] == []
    assert not any(token in after for token in locators)
    pieces = [drawn.vectors[row].tobytes()[at : at + PIECE] for row in rows for at in range(0, 144 - PIECE, PIECE)]
    assert not any(piece in after for piece in pieces)
    left = [name for name, trace in others.items() if trace in after]
    assert {"vector 0", "vector 1", "content 0", "source 1"} <= set(left)  # what was not asked for stays
    assert not (archive.home / "backups").exists()
    assert archive.latest_map() is None
    if (archive.home / "catalog.db").exists():
        assert (
            not (archive.home / "catalog.db-journal").exists()
            or not (archive.home / "catalog.db-journal").stat().st_size
        )


def test_the_mean_and_the_index_are_those_of_the_scans_that_stay(full: tuple[Archive, DrawnArchive, Drawn]) -> None:
    archive, drawn_home, drawn = full
    archive.erase(patient=PATIENT)
    stay = np.setdiff1d(np.arange(N), of_patient(drawn))
    (version,) = archive.catalog.index_versions(drawn_home.stored.id)
    generation = archive.catalog.generation(version.generation_id)
    assert (generation.volumes, generation.centring) == (N - 2, "archive")
    assert generation.mean == pytest.approx(drawn.vectors[stay].astype(np.float64).mean(axis=0), rel=1e-6)
    assert [path.name for path in (archive.home / "indexes").iterdir()] == [version.file]
    assert archive.verify().problems == ()
    for query in drawn.vectors[of_patient(drawn)]:
        hits = drawn_home.search(query, N).hits
        assert sorted(hit.volume_id for hit in hits) == drawn.ids[stay].tolist()


def again(drawn_home: DrawnArchive, drawn: Drawn, row: int, **changes: object) -> NewVolume:
    return dataclasses.replace(drawn_home._new(drawn, row, row), **changes)


def test_what_was_erased_is_not_indexed_again_by_source_by_bytes_or_by_patient(
    full: tuple[Archive, DrawnArchive, Drawn],
) -> None:
    archive, drawn_home, drawn = full
    key, row = archive.key, of_patient(drawn)[0]
    archive.erase(patient=PATIENT)
    elsewhere = {"source_key": key.digest("source", "/new"), "locator": "/new"}
    other_bytes = {"content_key": key.digest("content", "new")}
    for changes in (
        {},
        {**other_bytes, "patient_key": None},
        {**elsewhere, "patient_key": None},
        {**elsewhere, **other_bytes},
        {**elsewhere, **other_bytes, "patient_key": None, "subject_key": key.digest("patient", PATIENT)},
    ):
        with pytest.raises(ErasedError, match="was erased from the archive: it is not indexed again"):
            archive.catalog.commit_volume(again(drawn_home, drawn, row, **changes))
    assert archive.catalog.count() == N - 2
    archive.catalog.commit_volume(again(drawn_home, drawn, row, **elsewhere, **other_bytes, patient_key=None))
    assert archive.catalog.count() == N - 1


def test_a_broken_file_that_was_erased_leaves_no_row_when_it_is_met_again(
    full: tuple[Archive, DrawnArchive, Drawn], stored_bytes: Callable[[Path], bytes]
) -> None:
    archive, _, _ = full
    source_key = archive.key.digest("source", "/scans/broken/x.nii")

    def meet() -> None:
        archive.catalog.quarantine(
            source_key, locator="/scans/broken/x.nii", size=1, mtime_ns=1, code="unreadable", reason="cut"
        )

    meet()
    assert archive.erase(["/scans/broken"]) == EraseReport(0, 0, 1)
    meet()
    assert archive.catalog.quarantined() == []
    assert source_key.encode() not in stored_bytes(archive.home)


def test_a_source_goes_with_every_other_of_the_same_bytes(full: tuple[Archive, DrawnArchive, Drawn]) -> None:
    archive, drawn_home, drawn = full
    (copy,) = drawn_home.add(drawn.vectors[5:6], start=N, content="5").ids
    report = archive.erase(["/scans/5.nii.gz"])
    assert report == EraseReport(2, 1, 0)
    assert archive.catalog.volumes([copy, drawn.ids[5]]) == []
    assert archive.verify().problems == ()


def test_the_last_scans_can_be_erased(full: tuple[Archive, DrawnArchive, Drawn]) -> None:
    archive, drawn_home, drawn = full
    assert archive.erase(["/scans"]).volumes == N
    assert archive.catalog.index_versions(drawn_home.stored.id) == []
    assert list((archive.home / "indexes").iterdir()) == []
    assert drawn_home.search(drawn.vectors[0]).hits == ()
    assert archive.verify().problems == ()


def test_a_patient_who_is_not_there_may_still_be_kept_out(full: tuple[Archive, DrawnArchive, Drawn]) -> None:
    archive, drawn_home, drawn = full
    with pytest.raises(UsageError, match="no scan of the archive is of a patient 'nobody'"):
        archive.erase(patient=" nobody ")
    assert archive.erase(patient=" nobody ", even_absent=True).volumes == 0
    assert archive.erase(patient="nobody").volumes == 0  # again: it may have been cut short
    with pytest.raises(ErasedError):
        archive.catalog.commit_volume(again(drawn_home, drawn, 3, patient_key=archive.key.digest("patient", "nobody")))


def test_what_was_removed_before_leaves_indexes_means_and_maps_with_the_erasure_too(
    full: tuple[Archive, DrawnArchive, Drawn], stored_bytes: Callable[[Path], bytes]
) -> None:
    archive, drawn_home, drawn = full
    rows = of_patient(drawn)
    looked_for = traces(drawn_home, drawn, rows)
    archive.remove(patient=PATIENT)
    assert looked_for[f"sketch {rows[0]}"] in stored_bytes(archive.home)

    assert archive.erase(patient=PATIENT, even_absent=True) == EraseReport(0, 0, 0)

    after = stored_bytes(archive.home)
    assert [name for name, trace in looked_for.items() if trace in after] == []
    assert archive.latest_map() is None
    serving = archive.catalog.serving(drawn_home.stored.id)
    assert serving is not None
    assert serving[1].volumes == N - 2


def test_a_patient_is_erased_by_the_pseudonym_that_hits_show(full: tuple[Archive, DrawnArchive, Drawn]) -> None:
    archive, drawn_home, drawn = full
    hit = next(hit for hit in drawn_home.search(drawn.vectors[0]).hits if hit.metadata["patient"])
    key = archive.catalog.volume(hit.volume_id).patient_key
    theirs = archive.catalog.volumes_of(str(key))
    assert archive.erase(patient=str(hit.metadata["patient"])).volumes >= theirs.size > 0
    with pytest.raises(UsageError, match="no patient of the archive goes by P-00000000"):
        archive.erase(patient="P-00000000")


@pytest.mark.parametrize("settings", [{}, {"sources": ["/scans/1.nii.gz"], "patient": "x"}, {"patient": " "}])
def test_what_is_to_be_erased_is_said_in_one_way(
    full: tuple[Archive, DrawnArchive, Drawn], settings: dict[str, object]
) -> None:
    with pytest.raises(UsageError):
        full[0].erase(**settings)  # type: ignore[arg-type]
    assert full[0].catalog.count() == N


def test_a_source_that_the_archive_does_not_know_is_refused(full: tuple[Archive, DrawnArchive, Drawn]) -> None:
    for unknown in ("/scans/1.nii", "/scan", "/scans/1.nii.gz/x", "/scans/1.nii.gz#member"):
        with pytest.raises(UsageError, match="the archive has no scan from"):
            full[0].erase(["/scans/2.nii.gz", unknown])
    assert full[0].catalog.count() == N


def test_participants_of_two_data_sets_are_not_erased_by_one_name(full: tuple[Archive, DrawnArchive, Drawn]) -> None:
    archive, drawn_home, drawn = full
    subject = archive.key.digest("patient", "sub-01")
    for number in (1, 2):
        archive.catalog.commit_volume(
            again(
                drawn_home, drawn, number, subject_key=subject, patient_key=archive.key.digest("patient", f"{number}")
            )
        )
    with pytest.raises(UsageError, match="2 data sets have a participant of this name"):
        archive.erase(patient="sub-01")
    assert archive.catalog.count() == N


def test_an_erasure_that_was_cut_short_is_finished_by_the_next_writer(
    full: tuple[Archive, DrawnArchive, Drawn], monkeypatch: pytest.MonkeyPatch, stored_bytes: Callable[[Path], bytes]
) -> None:
    archive, drawn_home, drawn = full
    looked_for = traces(drawn_home, drawn, of_patient(drawn))

    def busy(*_: object) -> None:
        raise CatalogError("the catalog is busy")

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "end_erasure", busy)
        with pytest.raises(CatalogError, match="busy"):
            archive.erase(patient=PATIENT)
    assert [p.kind for p in archive.verify().problems] == ["erasure"]
    for query in drawn.vectors[of_patient(drawn)]:  # hidden at once
        assert not set(drawn.ids[of_patient(drawn)]) & {hit.volume_id for hit in drawn_home.search(query).hits}
    with archive.writing():
        pass
    assert archive.verify().problems == ()
    after = stored_bytes(archive.home)
    assert [name for name, trace in looked_for.items() if trace in after] == []


def test_an_erasure_waits_for_no_writer(full: tuple[Archive, DrawnArchive, Drawn]) -> None:
    archive, _, _ = full
    with Catalog.open(archive.home, archive.key) as other, other.writing(), pytest.raises(LockedError):
        archive.erase(patient=PATIENT)
    assert archive.catalog.count() == N


def test_a_copy_that_cannot_be_deleted_leaves_the_erasure_pending(
    full: tuple[Archive, DrawnArchive, Drawn], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, _, _ = full

    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    with monkeypatch.context() as patch:
        patch.setattr(erasure.shutil, "rmtree", refuse)
        with pytest.raises(CatalogError, match="still holds what was erased and could not be deleted"):
            archive.erase(patient=PATIENT)
    assert archive.catalog.pending_erasure() is not None
    archive.rebuild()
    assert archive.catalog.pending_erasure() is None


def test_the_audit_log_counts_and_names_nobody(full: tuple[Archive, DrawnArchive, Drawn]) -> None:
    archive, _, _ = full
    archive.erase(patient=PATIENT, author="ann")
    entry = archive.catalog.audits()[0]
    assert (entry.author, entry.action, entry.detail) == ("ann", "erase", "2 volumes")
