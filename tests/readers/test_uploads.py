"""One scan out of a file, a folder or a zip: what is uploaded, and what an attacker uploads."""

import shutil
import stat
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from raptor_search.errors import ReadError, UsageError
from raptor_search.readers import Refused, Source, content_digest, discover, inflating, read, read_file
from raptor_search.readers import zips as zips_module
from raptor_search.readers.writing import write_nifti


def zipped(path: Path, files: list[Path], prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, f"{prefix}{file.name}")
    return path


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go, so that a test sees what is left of them."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_file_and_a_folder_of_one_series_are_read(
    tmp_path: Path, series: list[Path], voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    nifti = write_nifti(tmp_path / "scan.nii.gz", voxels, affine)
    for path in (nifti, tmp_path / "ct"):
        source, scan = read_file(path)
        assert source.path == path
        np.testing.assert_array_equal(scan.volume.voxels, voxels)


def test_a_zip_of_a_series_is_read_and_leaves_nothing_behind(
    tmp_path: Path, temporary: Path, series: list[Path], voxels: NDArray[np.int16]
) -> None:
    path = zipped(tmp_path / "Case 12.zip", series, prefix="study/series/")
    source, scan = read_file(path)
    np.testing.assert_array_equal(scan.volume.voxels, voxels)
    assert (source.path, source.format, source.name, source.files) == (path, "dicom", "Case 12", (path,))
    assert scan.metadata.modality == "CT"
    assert list(temporary.iterdir()) == []


def test_a_zip_has_the_digest_of_the_scan_within(
    tmp_path: Path, series: list[Path], voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    (inside,) = (one for one in discover([tmp_path / "ct"]) if isinstance(one, Source))
    source, _ = read_file(zipped(tmp_path / "a.zip", series))
    assert content_digest(source) == content_digest(inside)
    nifti = write_nifti(tmp_path / "scan.nii.gz", voxels, affine)
    packed, _ = read_file(zipped(tmp_path / "b.zip", [nifti]))
    assert content_digest(packed) == content_digest(read_file(nifti)[0])
    np.testing.assert_array_equal(read(packed).volume.voxels, voxels)


def test_a_series_has_one_digest_whatever_its_files_are_called(tmp_path: Path, series: list[Path]) -> None:
    (first,) = (one for one in discover([tmp_path / "ct"]) if isinstance(one, Source))
    for number, file in enumerate(reversed(series)):
        (tmp_path / "copy").mkdir(exist_ok=True)
        shutil.copy(file, tmp_path / "copy" / f"{number}")
    (second,) = (one for one in discover([tmp_path / "copy"]) if isinstance(one, Source))
    assert content_digest(first) == content_digest(second)
    content = second.files[0].read_bytes()
    second.files[0].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert content_digest(first) != content_digest(second)


def test_one_entry_of_an_npz_is_named_by_its_member(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (3, 5, 6, 7)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", train_images=images)
    with pytest.raises(UsageError, match=r"a.npz holds 3 volumes, expected one: #train_0, #train_1, #train_2"):
        read_file(tmp_path / "a.npz")
    source, scan = read_file(tmp_path / "a.npz#train_1")
    assert source.name == "train_1"
    np.testing.assert_array_equal(scan.volume.voxels, images[1])
    with pytest.raises(UsageError):
        read_file(tmp_path / "a.npz#val_1")


def test_several_scans_are_listed_and_none_is_chosen(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    for number in range(12):
        write_nifti(tmp_path / "many" / f"s{number:02d}.nii", voxels, affine)
    with pytest.raises(UsageError, match=r"many holds 12 volumes, expected one: s00, .*s09, \.\.\."):
        read_file(tmp_path / "many")


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\x89PNG\r\n\x1a\n" + bytes(500), b"%PDF-1.7"])
def test_an_upload_that_is_no_scan_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "upload").write_bytes(content)
    zipped(tmp_path / "upload.zip", [tmp_path / "upload"])
    for path in (tmp_path / "upload", tmp_path / "upload.zip"):
        with pytest.raises(UsageError, match="no scan there; expected NIfTI") as caught:
            read_file(path)
        assert "\n" not in caught.value.message


def test_what_is_refused_says_why(tmp_path: Path, series: list[Path]) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_file(tmp_path / "nowhere.nii")
    (tmp_path / "a.nii.gz").write_bytes(b"text")
    with pytest.raises(ReadError, match="the name says NIfTI"):
        read_file(tmp_path / "a.nii.gz")
    with pytest.raises(ReadError, match="2 slices"):
        read_file(zipped(tmp_path / "two.zip", series[:2]))


def test_a_damaged_last_slice_is_not_left_out_in_silence(tmp_path: Path, series: list[Path]) -> None:
    series[-1].write_bytes(series[-1].read_bytes()[:200])
    with pytest.raises(ReadError, match=r"without a SeriesInstanceUID|header"):
        read_file(tmp_path / "ct")


# Attacks


@pytest.mark.parametrize("name", ["../../evil.dcm", "/raptor-evil.dcm", "a/../../../evil.dcm", "..\\evil.dcm", "C:\\e"])
def test_no_name_in_a_zip_leads_out_of_the_folder(
    tmp_path: Path, temporary: Path, series: list[Path], voxels: NDArray[np.int16], name: str
) -> None:
    path = zipped(tmp_path / "a.zip", series[1:])
    with zipfile.ZipFile(path, "a") as archive:
        archive.write(series[0], name)
    before = sorted(tmp_path.rglob("*"))
    _, scan = read_file(path)
    np.testing.assert_array_equal(scan.volume.voxels, voxels)
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/raptor-evil.dcm").exists()


def test_names_that_cannot_be_one_place_each_are_told_apart(
    tmp_path: Path, temporary: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    scan = write_nifti(tmp_path / "scan.nii", voxels, affine).read_bytes()
    names = [
        "a.nii",
        "A.nii",
        "x/../a.nii",
        "a.nii/b.nii",
        "d/" * 40 + "c.nii",
        "n" * 300 + ".nii",
        "..",
        "/",
        "C:/é.nii",
    ]
    with zipfile.ZipFile(tmp_path / "names.zip", "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), b"" if name == "/" else scan)
    found = [one for one in discover([tmp_path / "names.zip"]) if isinstance(one, Source)]
    assert [one.member for one in found] == [
        "000001/A.nii",
        "000002/a.nii",
        "000003/a.nii/b.nii",
        "000004",
        "000005",
        "000006",
        "a.nii",
        "é.nii",
    ]
    assert len({one.name for one in found}) > 4
    for one in found:
        np.testing.assert_array_equal(read(one).volume.voxels, voxels)
    assert list(temporary.iterdir()) == []


def test_a_broken_scan_in_a_zip_is_refused_by_its_name_and_costs_no_other(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(write_nifti(tmp_path / "scan.nii", voxels, affine), "x/good.nii")
        archive.writestr("x/bad.nii.gz", b"text")
    refused, good = discover([tmp_path / "a.zip"])
    assert isinstance(refused, Refused)
    assert isinstance(good, Source)
    assert (refused.source.member, good.member) == ("x/bad.nii.gz", "x/good.nii")
    np.testing.assert_array_equal(read(good).volume.voxels, voxels)


def test_names_in_a_zip_say_in_bids_who_was_scanned_as_those_of_folders_do(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    scan = write_nifti(tmp_path / "scan.nii", voxels, affine)
    several, alone, dated = (tmp_path / f"{name}.zip" for name in ("several", "alone", "dated"))
    place = "ds/sub-{}/ses-1/anat/sub-{}_ses-1_T1w.nii"
    with zipfile.ZipFile(several, "w") as archive:
        for name in ("01", "02"):
            archive.write(scan, place.format(name, name))
        archive.writestr("ds/dataset_description.json", "{}")
    with zipfile.ZipFile(alone, "w") as archive:
        archive.write(scan, place.format("03", "03"))
    with zipfile.ZipFile(dated, "w") as archive:
        archive.write(scan, "sub-04/ses-19991231/sub-04_ses-19991231_T1w.nii")
    read_by_discovery = [read(one) for one in discover([several, alone, dated]) if isinstance(one, Source)]
    patients = [(one.identity.patient, one.identity.dataset) for one in read_by_discovery]
    assert patients == [(f"sub-{n}", str(several / "ds")) for n in ("01", "02")] + [("sub-03", None), ("sub-04", None)]
    assert [(one.metadata.modality, one.metadata.session) for one in read_by_discovery] == [("MR", "1")] * 3 + [
        ("MR", None)
    ]
    source, uploaded = read_file(alone)
    assert (uploaded.identity, uploaded.metadata.session) == (read_by_discovery[2].identity, "1")
    assert source.uri == str(alone)


def test_a_link_in_a_zip_is_not_followed(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    secret = write_nifti(tmp_path / "secret.nii", voxels, affine)
    link = zipfile.ZipInfo("scan.nii")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, str(secret))
    with pytest.raises(UsageError, match="no scan there"):
        read_file(tmp_path / "a.zip")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(30):
            archive.writestr(f"{number}", bytes(2**20))
    monkeypatch.setattr(inflating, "SMALL", 2**20)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("an entry was opened"))
    with pytest.raises(ReadError, match="would unpack to 31457280;") as caught:
        read_file(tmp_path / "bomb.zip")
    assert caught.value.code == "too-large"
    assert list(temporary.iterdir()) == []


def test_a_zip_of_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zips_module, "MAX_ENTRIES", 5)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(6):
            archive.writestr(f"{number}", b"x")
    with pytest.raises(ReadError, match="6 files in the zip; expected at most 5"):
        read_file(tmp_path / "a.zip")


def test_no_room_to_unpack_is_said_before_anything_is_written(
    tmp_path: Path, series: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(tmp_path / "a.zip", series)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(UsageError, match="set TMPDIR to a folder with more room"):
        read_file(path)


@pytest.mark.parametrize("keep", [10, 500, -30])
def test_a_truncated_zip_is_refused(tmp_path: Path, series: list[Path], keep: int) -> None:
    path = zipped(tmp_path / "a.zip", series)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ReadError, match="the zip is damaged or truncated"):
        read_file(path)


def test_an_encrypted_zip_is_refused(tmp_path: Path, series: list[Path]) -> None:
    path = zipped(tmp_path / "a.zip", series[:1])
    content = bytearray(path.read_bytes())
    local, central = content.index(b"PK\x03\x04"), content.index(b"PK\x01\x02")
    content[local + 6] |= 1
    content[central + 8] |= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ReadError, match="encrypted"):
        read_file(path)
