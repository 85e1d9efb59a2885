"""What a run takes of 4D files and of tables: only what was asked for, and it says what it left."""

import sqlite3
from contextlib import closing
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from indexer.pipeline import IndexReport, index
from indexer.recipe import Options
from raptor_search.archive import Archive
from raptor_search.encoders import spec_for
from raptor_search.errors import UsageError
from raptor_search.specs import PRESETS
from tests.indexer.command import Raptor
from tests.indexer.scans import AFFINE, blob, write_scan
from tests.phantoms import Cells


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder that takes no time."""
    encoder = Cells()
    spec = spec_for(encoder, PRESETS["default"], components=3, seed=0)
    monkeypatch.setattr(Options, "load", lambda *_, **__: (encoder, spec))
    monkeypatch.setattr(Archive, "use_encoder", lambda *_, **__: None)


@pytest.fixture
def series_in_time(tmp_path: Path) -> Path:
    path = tmp_path / "scans" / "sub-01_bold.nii.gz"
    path.parent.mkdir()
    nib.save(nib.Nifti1Image(np.stack([blob(n) for n in range(3)], axis=-1), AFFINE), path)
    return path


def known(report: IndexReport, home: Path) -> list[tuple[int | None, str]]:
    with Archive.open(home) as archive:
        ids = archive.catalog.ids(archive.catalog.specs()[0].id)
        rows = zip(archive.catalog.volumes(ids), archive.catalog.locators(ids), strict=True)
        return sorted((row.t, str(uri).rpartition("/")[2]) for row, uri in rows)


@pytest.mark.usefixtures("quick")
def test_volumes_of_a_4d_file_are_taken_when_they_are_asked_for(series_in_time: Path, home: Path) -> None:
    refused = index([series_in_time], home=home)
    assert [error.code for _, error in refused.quarantined] == ["not-3d"]
    assert "--volume-index" in refused.quarantined[0][1].message
    one = index([series_in_time], home=home, volume_index=1)
    assert (one.added, known(one, home)) == (1, [(1, "sub-01_bold.nii.gz#t1")])
    every = index([series_in_time], home=home, volume_index="all")
    assert (every.added, every.present) == (2, 1)
    assert [t for t, _ in known(every, home)] == [0, 1, 2]
    with Archive.open(home) as archive:
        assert archive.catalog.quarantined() == []


@pytest.mark.usefixtures("quick")
def test_columns_to_keep_are_named_and_rows_without_a_scan_are_listed(tmp_path: Path, home: Path) -> None:
    for number in range(2):
        write_scan(tmp_path / "scans" / f"s{number}.nii.gz", number)
    table = tmp_path / "labels.csv"
    table.write_text("file,finding,grade,note\ns0.nii.gz,nodule,1,x\ngone.nii.gz,clear,2,y\ns1.nii.gz,clear,3,z\n")
    with pytest.raises(UsageError, match=r"--keep grad: no table has such a column; expected one of .*grade"):
        index([tmp_path / "scans"], home=home, labels=[table], keep=["grad"])
    report = index([tmp_path / "scans"], home=home, labels=[table], keep=["grade"])
    assert report.matched == {str(table): 2}
    assert report.unmatched_lines == {str(table): (3,)}
    assert report.dropped == {str(table): ("finding", "note")}
    with Archive.open(home) as archive:
        assert archive.catalog.label_names() == ["grade"]
    # Other columns asked for later are joined, though the file is the same.
    index([tmp_path / "scans"], home=home, labels=[table], keep=["grade", "finding"])
    with Archive.open(home) as archive:
        assert archive.catalog.label_names() == ["finding", "grade"]


def test_a_wrong_volume_index_is_one_line(raptor: Raptor, series_in_time: Path, home: Path) -> None:
    outcome = raptor("index", series_in_time, "--home", home, "--volume-index", "first")
    assert outcome.status == 1
    assert outcome.error_lines == ["raptor: --volume-index first: expected a number from 0 on, or `all`"]


@pytest.mark.usefixtures("quick")
def test_what_older_readers_read_is_read_again_without_being_embedded_again(tmp_path: Path, home: Path) -> None:
    write_scan(tmp_path / "scans" / "sub-01_ses-pre_T1w.nii.gz", 1)
    index([tmp_path / "scans"], home=home)
    with closing(sqlite3.connect(home / "catalog.db")) as database, database:
        database.execute("UPDATE volume SET reader = NULL, session = NULL, tilt_deg = NULL, patient_key = source_key")
        vectors = database.execute("SELECT id, sha256 FROM vector").fetchall()
    report = index([tmp_path / "scans"], home=home)
    assert (report.added, report.present) == (0, 1)
    with closing(sqlite3.connect(home / "catalog.db")) as database:
        assert database.execute("SELECT id, sha256 FROM vector").fetchall() == vectors
    with Archive.open(home) as archive:
        row = archive.catalog.volume(1)
        assert (row.session, row.tilt_deg, row.patient_key) == ("pre", 0, row.subject_key)


@pytest.mark.usefixtures("quick")
def test_a_participant_is_left_out_within_its_data_set_and_a_bare_name_in_all(tmp_path: Path, home: Path) -> None:
    for number, name in enumerate(("a", "b")):
        write_scan(tmp_path / name / "sub-01" / "sub-01_T1w.nii.gz", number)
        (tmp_path / name / "dataset_description.json").write_text("{}")
    index([tmp_path / "a", tmp_path / "b"], home=home)
    with Archive.open(home) as archive:
        spec = archive.catalog.specs()[0].id
        one, two = archive.catalog.volumes([1, 2])
        assert one.patient_key != two.patient_key
        assert one.subject_key == two.subject_key == archive.key.digest("patient", "sub-01")
        assert archive.catalog.patient_volumes(spec, one.patient_key).tolist() == [1]
        assert archive.catalog.patient_volumes(spec, one.subject_key).tolist() == [1, 2]
