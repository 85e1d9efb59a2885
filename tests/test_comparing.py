"""One scan of an archive beside another: its voxels from its file, its share of a score, its UIDs, each audited."""

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from indexer.pipeline import index
from indexer.recipe import Options
from raptor_search.access import Principal
from raptor_search.archive import Archive
from raptor_search.errors import AccessError, ReadError, UsageError
from raptor_search.readers import read_file
from tests.indexer.scans import blob, write_scan, written_series


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """An archive of a NIfTI file, a folder with a DICOM series, and a zip of two scans; and the scans' folder."""
    folder = tmp_path_factory.mktemp("comparing")
    scans = folder / "scans #1"
    write_scan(scans / "sub-01_T1w.nii.gz", seed=1)
    written_series(scans / "series", seed="one")
    with zipfile.ZipFile(scans / "two.zip", "w") as archive:
        for seed in (3, 4):
            archive.write(write_scan(folder / f"{seed}.nii", seed=seed), f"{seed}.nii")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAPTOR_KEY_FILE", str(folder / "archive.key"))
        patch.delenv("RAPTOR_DATABASE_URL", raising=False)
        index([scans], home=folder / "home", options=Options(encoder="efficientnet-lite0", components=10))
        yield folder / "home", scans


@pytest.fixture
def archive(made: tuple[Path, Path]) -> Iterator[Archive]:
    with Archive.open(made[0]) as opened:
        yield opened.acting_as(Principal(name="ann", role="curator"))


def case_at(archive: Archive, ending: str) -> int:
    ids = archive.catalog.ids(archive.spec().id)
    found = [case for case, place in zip(ids, archive.catalog.locators(ids), strict=True) if ending in str(place)]
    assert len(found) == 1
    return int(found[0])


def test_every_kind_of_place_is_opened_again(archive: Archive) -> None:
    expected = {"T1w.nii.gz": blob(1), "series": blob(5), "two.zip#3.nii": blob(3), "two.zip#4.nii": blob(4)}
    cases = [case_at(archive, ending) for ending in expected]
    for case, voxels in zip(cases, expected.values(), strict=True):
        np.testing.assert_array_equal(archive.open_source(case).scan.volume.voxels, voxels)
    rows = {(row.author, row.detail) for row in archive.catalog.audits() if row.action == "view"}
    assert rows == {("ann", f"volume {case}") for case in cases}


def test_a_source_that_is_gone_or_changed_is_one_sentence_without_its_path(
    archive: Archive, made: tuple[Path, Path]
) -> None:
    case, file = case_at(archive, "T1w.nii.gz"), made[1] / "sub-01_T1w.nii.gz"
    kept = file.read_bytes()
    try:
        write_scan(file, seed=9)
        with pytest.raises(ReadError, match=f"case {case} has changed since it was indexed"):
            archive.open_source(case)
        file.unlink()
        with pytest.raises(ReadError, match=f"case {case} was read from is no longer there") as gone:
            archive.open_source(case)
        assert str(made[1]) not in gone.value.message
    finally:
        file.write_bytes(kept)
    shutil.move(made[1] / "two.zip", made[1] / "away.zip")
    try:
        with pytest.raises(ReadError, match="no longer there"):
            archive.open_source(case_at(archive, "two.zip#3.nii"))
    finally:
        shutil.move(made[1] / "away.zip", made[1] / "two.zip")
    with pytest.raises(UsageError, match="4711"):
        archive.open_source(4711)


def test_the_uids_come_from_the_header_and_only_a_dicom_series_has_them(
    archive: Archive, made: tuple[Path, Path]
) -> None:
    header = dcmread(next((made[1] / "series").iterdir()), stop_before_pixels=True)
    found = archive.identity_of(case_at(archive, "series"))
    assert (found.study, found.series) == (header.StudyInstanceUID, header.SeriesInstanceUID)
    with pytest.raises(ReadError, match="nifti"):
        archive.identity_of(case_at(archive, "T1w.nii.gz"))
    assert any(row.action == "open in a viewer" for row in archive.catalog.audits())


def test_the_uids_are_nowhere_in_the_archive(made: tuple[Path, Path]) -> None:
    header = dcmread(next((made[1] / "series").iterdir()), stop_before_pixels=True)
    kept = b"".join(file.read_bytes() for file in made[0].rglob("*") if file.is_file())
    for uid in (header.StudyInstanceUID, header.SeriesInstanceUID):
        assert uid.encode() not in kept


def test_the_parts_of_a_pair_add_up_to_the_score_that_a_search_gives(archive: Archive, made: tuple[Path, Path]) -> None:
    result = archive.search(made[1] / "sub-01_T1w.nii.gz", k=4)
    question = archive.ask(made[1] / "sub-01_T1w.nii.gz")
    for hit in result.hits:
        parts = archive.compare(question, hit.volume_id)
        assert parts.score == pytest.approx(hit.score, abs=1e-5)
        np.testing.assert_allclose(parts.cells, archive.explain(result, hit).cells, atol=1e-6)
        assert parts.limit == np.abs(parts.cells).max()
    assert [row.author for row in archive.catalog.audits() if row.action == "compare"] == ["ann"] * 4
    with pytest.raises(UsageError, match="4711"):
        archive.compare(question, 4711)


def test_a_scan_of_several_within_a_zip_is_found_by_its_uri(made: tuple[Path, Path]) -> None:
    _, scan = read_file(made[1] / "two.zip#4.nii")
    np.testing.assert_array_equal(scan.volume.voxels, blob(4))


def test_each_takes_its_role(archive: Archive, made: tuple[Path, Path]) -> None:
    case, question = case_at(archive, "series"), archive.ask(made[1] / "sub-01_T1w.nii.gz")
    viewer = archive.acting_as(Principal(name="v", role="viewer"))
    assert viewer.open_source(case).scan.volume.shape == (20, 24, 18)
    assert viewer.compare(question, case).cells.shape[0] == 3
    before = len(archive.catalog.audits())
    with pytest.raises(AccessError, match="curator"):
        viewer.identity_of(case)
    assert len(archive.catalog.audits()) == before
