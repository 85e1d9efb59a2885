"""DICOMDIR and zip: what they hold is found, and nothing outside of them is."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.config import IGNORE
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from raptor_search.readers import Refused, Skipped, Source, content_digest, discover, read, read_file
from raptor_search.readers.writing import write_dicom_series, write_nifti

Draw = Callable[..., NDArray[np.int16]]


@pytest.fixture
def disc(tmp_path: Path, series: list[Path]) -> Path:
    """A CD: a DICOMDIR and the series in folders of its own; another scan lies on it that it does not name."""
    (tmp_path / "cd" / "PT000" / "SE000").mkdir(parents=True)
    records = [Dataset()]
    records[0].DirectoryRecordType = "PATIENT"
    for number, file in enumerate(series):
        one = Dataset()
        one.DirectoryRecordType = "IMAGE"
        one.ReferencedFileID = ["PT000", "SE000", f"IM{number:03d}"]
        shutil.copy(file, tmp_path / "cd" / Path(*one.ReferencedFileID))
        records.append(one)
    directory = Dataset()
    directory.DirectoryRecordSequence = records
    directory.ensure_file_meta()
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.save_as(tmp_path / "cd" / "DICOMDIR", enforce_file_format=True)
    return tmp_path / "cd" / "DICOMDIR"


def of_kind(found: list[object], kind: type) -> list:
    return [one for one in found if isinstance(one, kind)]


def test_the_files_that_a_dicomdir_names_are_read(disc: Path, voxels: NDArray[np.int16]) -> None:
    found = list(discover([disc]))
    (source,) = of_kind(found, Source)
    assert len(source.files) == 10
    np.testing.assert_array_equal(read(source).volume.voxels, voxels)
    assert [one.reason for one in of_kind(found, Skipped)] == ["DICOMDIR (the files it names are read)"]
    np.testing.assert_array_equal(read_file(disc)[1].volume.voxels, voxels)
    # The folder gives the same volume: the directory is one file more.
    (again,) = of_kind(list(discover([disc.parent])), Source)
    assert again == source


def test_a_dicomdir_in_lower_case_letters_and_with_a_file_that_is_gone(disc: Path) -> None:
    root = disc.parent
    first = next(path for path in root.iterdir() if path.is_dir())
    for path in sorted(root.rglob("*"), key=lambda path: -len(path.parts)):
        path.rename(path.with_name(path.name.lower()))
    found = list(discover([root / "dicomdir"]))
    (source,) = of_kind(found, Source)
    assert all(part == part.lower() for file in source.files for part in file.relative_to(root).parts)
    assert first.name.lower() in {file.relative_to(root).parts[0] for file in source.files}
    source.files[0].unlink()
    reasons = [one.reason for one in of_kind(list(discover([root / "dicomdir"])), Skipped)]
    assert reasons.count("named by the DICOMDIR and not there") == 1


@pytest.mark.parametrize("target", ["..", "../..", "LINK"])
def test_no_name_in_a_dicomdir_leads_out_of_its_folder(
    tmp_path: Path, disc: Path, series: list[Path], target: str
) -> None:
    root = disc.parent
    for path in root.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    (root / "LINK").symlink_to(series[0].parent)
    directory = pydicom.dcmread(disc)
    for record in directory.DirectoryRecordSequence:
        if "ReferencedFileID" in record:
            name = {"..": ["..", "ct", series[0].name], "../..": ["../ct", series[0].name]}
            record["ReferencedFileID"].validation_mode = IGNORE
            record["ReferencedFileID"].value = name.get(target, ["LINK", series[0].name])
    directory.save_as(disc)
    found = list(discover([disc]))
    assert of_kind(found, Source) == []
    absent = [one for one in of_kind(found, Skipped) if one.reason == "named by the DICOMDIR and not there"]
    assert len(absent) == 10


def zipped(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return path


def test_every_scan_of_a_zip_is_a_source(tmp_path: Path, draw: Draw, affine: NDArray[np.float64]) -> None:
    inside, home = tmp_path / "inside", tmp_path / "archive"
    home.mkdir()
    for number in range(2):
        write_dicom_series(inside / f"s{number}", draw(number), affine, modality="CT", patient_id="p", seed=str(number))
    write_nifti(inside / "t.nii.gz", draw(2), affine)
    (inside / "notes.txt").write_text("hello")
    path = zipped(home / "study.zip", inside)
    found = list(discover([home]))
    sources = of_kind(found, Source)
    assert [one.reason for one in of_kind(found, Skipped)] == ["not a scan"]
    assert {source.path for source in sources} == {path}
    assert len({source.uri for source in sources}) == len({source.name for source in sources}) == 3
    assert [source.uri for source in of_kind(list(discover([home])), Source)] == [source.uri for source in sources]
    read_back = sorted(int(read(source).volume.voxels.astype(np.int64).sum()) for source in sources)
    assert read_back == sorted(int(draw(n).astype(np.int64).sum()) for n in range(3))
    assert len({content_digest(source) for source in sources}) == 3
    named, scan = read_file(Path(sources[0].uri))
    assert named == sources[0]
    np.testing.assert_array_equal(scan.volume.voxels, read(sources[0]).volume.voxels)


def test_a_zip_of_one_series_is_that_scan(tmp_path: Path, series: list[Path], voxels: NDArray[np.int16]) -> None:
    path = zipped(tmp_path / "one.zip", tmp_path / "ct")
    (source,) = of_kind(list(discover([path])), Source)
    assert (source.path, source.member, source.format) == (path, "", "dicom")
    assert source == read_file(path)[0]
    np.testing.assert_array_equal(read(source).volume.voxels, voxels)


def test_a_damaged_zip_is_refused_and_one_without_a_scan_counted(tmp_path: Path, series: list[Path]) -> None:
    path = zipped(tmp_path / "one.zip", tmp_path / "ct")
    (tmp_path / "cut.zip").write_bytes(path.read_bytes()[:-40])
    (refused,) = discover([tmp_path / "cut.zip"])
    assert isinstance(refused, Refused)
    assert refused.error.code == "unreadable"
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("hello")
    (skipped,) = discover([zipped(tmp_path / "text.zip", tmp_path / "text")])
    assert (skipped.path.name, skipped.reason) == ("text.zip", "not a scan")
