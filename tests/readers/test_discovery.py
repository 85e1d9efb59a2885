"""Discovery: what is found in a tree, what is passed over, what is refused; by content, never by name."""

import gzip
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from raptor_search.errors import UsageError
from raptor_search.readers import Refused, Skipped, Source, discover, read
from raptor_search.readers.writing import write_dicom_series, write_nifti

Edit = Callable[..., None]


def sources(*paths: Path) -> list[Source]:
    found = list(discover(paths))
    assert not [one for one in found if isinstance(one, Refused)]
    return [one for one in found if isinstance(one, Source)]


def skipped(*paths: Path) -> dict[str, str]:
    return {one.path.name: one.reason for one in discover(paths) if isinstance(one, Skipped)}


@pytest.fixture
def scan(tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]) -> Callable[[str], Path]:
    return lambda name: write_nifti(tmp_path / name, voxels, affine)


@pytest.mark.parametrize("path", ["nowhere", "no/where.nii.gz"])
def test_a_path_that_does_not_exist_is_an_error_at_once(tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        discover([tmp_path, tmp_path / path])


def test_an_empty_folder_and_one_of_text_files_hold_nothing(tmp_path: Path) -> None:
    assert list(discover([tmp_path])) == []
    (tmp_path / "notes.txt").write_text("nothing to see")
    (tmp_path / "participants.tsv").write_text("participant_id\n")
    (tmp_path / "empty").touch()
    assert skipped(tmp_path) == dict.fromkeys(["notes.txt", "participants.tsv", "empty"], "not a scan")
    assert sources(tmp_path) == []


def test_scans_come_in_sorted_order_and_every_file_is_announced(tmp_path: Path, scan: Callable[[str], Path]) -> None:
    expected = [scan(name) for name in ("a/2.nii", "b/1.nii.gz", "c.nii")]
    announced: list[Path] = []
    found = [one.path for one in discover([tmp_path], on_file=announced.append) if isinstance(one, Source)]
    assert found == expected
    assert announced == expected


def test_content_decides_and_not_the_name(tmp_path: Path, scan: Callable[[str], Path]) -> None:
    scan("real.nii.gz").rename(tmp_path / "scan.bin")
    scan("plain.nii").rename(tmp_path / "scan.dcm")
    assert [one.format for one in sources(tmp_path)] == ["nifti", "nifti"]
    for one in sources(tmp_path):
        read(one)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.nii.gz", b"not even gzip", "not-a-volume"),
        ("a.nii.gz", gzip.compress(b"some text", mtime=0), "not-a-volume"),
        ("a.nii.gz", gzip.compress(bytes(1000), mtime=0)[:-20], "not-a-volume"),
        ("a.nii", b"", "unreadable"),
        ("a.nrrd", b"NRDD0004\n", "not-a-volume"),
        ("a.dcm", bytes(200), "not-a-volume"),
        ("a.dcm", bytes(128) + b"DICM" + b"\xff" * 40, "unreadable"),
        ("noname", bytes(128) + b"DICM" + b"\xff" * 40, "unreadable"),
        ("a.npz", b"PK\x03\x04 cut short", "unreadable"),
    ],
)
def test_a_file_that_calls_itself_a_scan_and_is_none_is_refused(
    tmp_path: Path, name: str, content: bytes, code: str
) -> None:
    (tmp_path / name).write_bytes(content)
    (found,) = discover([tmp_path])
    assert isinstance(found, Refused)
    assert found.error.code == code
    assert found.source.path == tmp_path / name
    assert name not in found.error.message


def test_header_and_image_in_two_files_are_refused_with_the_way_out(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    nib.save(nib.Nifti1Pair(voxels, affine), tmp_path / "pair.hdr")
    (found,) = (one for one in discover([tmp_path]) if isinstance(one, Refused))
    assert found.error.code == "unsupported"
    assert "convert" in found.error.message


def test_a_segmentation_of_slicer_is_passed_over(tmp_path: Path) -> None:
    header = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 8 8 8\nencoding: raw\nSegment0_ID:=Segment_1\n\n"
    (tmp_path / "lung.seg.nrrd").write_bytes(header + bytes(512))
    assert skipped(tmp_path) == {"lung.seg.nrrd": "segmentation"}


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path, scan: Callable[[str], Path]) -> None:
    for name in (".git/x.nii", "._a.nii", "__MACOSX/a.nii"):
        scan(name)
    kept = scan("a.nii")
    assert [one.path for one in sources(tmp_path)] == [kept]
    assert set(skipped(tmp_path).values()) == {"hidden"}
    assert len(sources(tmp_path / ".git")) == 1


def test_links_within_the_tree_are_followed_and_loops_end(tmp_path: Path, scan: Callable[[str], Path]) -> None:
    elsewhere = scan("elsewhere/a.nii")
    scan("tree/.annex/blob.nii")
    tree = tmp_path / "tree"
    (tree / "linked.nii").symlink_to(".annex/blob.nii")
    (tree / "loop").symlink_to(tree)
    (tree / "gone.nii").symlink_to(tmp_path / "nowhere")
    (tree / "outside.nii").symlink_to(elsewhere)
    (tree / "folder").symlink_to(elsewhere.parent)
    (tmp_path / "named").symlink_to(elsewhere.parent)
    assert [one.path for one in sources(tree)] == [tree / "linked.nii"]
    assert skipped(tree) == {
        ".annex": "hidden",
        "loop": "folder met before",
        "gone.nii": "broken link",
        "outside.nii": "link that leads outside",
        "folder": "link that leads outside",
    }
    assert [one.path for one in sources(tmp_path / "named")] == [tmp_path / "named" / "a.nii"]


def test_a_deep_tree_is_walked(tmp_path: Path) -> None:
    import os

    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):  # deeper than Python recurses
        os.mkdir("d", dir_fd=folder)
        folder, above = os.open("d", os.O_RDONLY, dir_fd=folder), folder
        os.close(above)
    os.close(folder)
    assert list(discover([tmp_path])) == []
    subprocess.run(["rm", "-r", tmp_path / "d"], check=True)  # pytest's own clean-up would recurse


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.nii")
    assert skipped(tmp_path) == {"pipe.nii": "not a regular file"}


def test_overlapping_paths_give_each_scan_once(tmp_path: Path, scan: Callable[[str], Path]) -> None:
    one = scan("a/b/1.nii")
    assert [s.path for s in sources(tmp_path / "a" / "b", tmp_path / "a", one, one)] == [one]


def test_paths_are_absolute_whatever_was_given(
    tmp_path: Path, scan: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = scan("a.nii.gz")
    monkeypatch.chdir(tmp_path)
    (found,) = sources(Path("a.nii.gz"))
    assert found.uri == str(one)
    assert found.name == "a"
    assert (found.size, found.mtime_ns) == (one.stat().st_size, one.stat().st_mtime_ns)


# DICOM


def test_slices_become_a_series_by_its_uid_over_folders(
    tmp_path: Path, series: list[Path], voxels: NDArray[np.int16]
) -> None:
    (tmp_path / "ct" / "more").mkdir()
    for file in series[::2]:
        file.rename(tmp_path / "ct" / "more" / file.name)
    (found,) = sources(tmp_path)
    assert found.path == tmp_path / "ct"
    assert found.name == "ct"
    assert len(found.files) == len(series)
    assert found.size == sum(file.stat().st_size for file in found.files)
    np.testing.assert_array_equal(read(found).volume.voxels, voxels)


def bytes_read() -> int:
    """By this process, since it began."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_many_series_are_found_by_their_headers_alone(tmp_path: Path, draw: Callable[..., NDArray[np.int16]]) -> None:
    for number in range(20):
        write_dicom_series(
            tmp_path / f"{number:03d}", draw(number, (256, 256, 3)), np.eye(4), modality="CT", patient_id="p",
            seed=str(number),
        )  # fmt: skip
    list(discover([tmp_path]))  # imports are over, and the kernel knows the files
    announced: list[Path] = []
    before = bytes_read()
    found = list(discover([tmp_path], on_file=announced.append))
    read_now = bytes_read() - before
    assert [len(one.files) for one in found if isinstance(one, Source)] == [3] * 20
    assert len(announced) == 60
    # 128 KiB of pixels a file: the first 4 KiB to tell its kind, the first 16 KiB for its header.
    assert read_now <= 60 * 22 * 1024


def test_two_series_in_one_folder_are_two_sources(
    tmp_path: Path, series: list[Path], draw: Callable[..., NDArray[np.int16]], affine: NDArray[np.float64]
) -> None:
    others = write_dicom_series(tmp_path / "b", draw(1), affine, modality="MR", patient_id="q", seed="b")
    for file in others:
        file.rename(series[0].parent / f"mr-{file.name}")
    found = sources(tmp_path)
    assert [one.path for one in found] == [tmp_path / "ct"] * 2
    assert len({one.uri for one in found}) == 2
    assert {read(one).metadata.modality for one in found} == {"CT", "MR"}


def test_a_copy_of_a_series_elsewhere_is_a_source_of_its_own(tmp_path: Path, series: list[Path]) -> None:
    shutil.copytree(tmp_path / "ct", tmp_path / "backup" / "ct")
    found = sources(tmp_path)
    assert [one.path for one in found] == [tmp_path / "backup" / "ct", tmp_path / "ct"]
    np.testing.assert_array_equal(read(found[0]).volume.voxels, read(found[1]).volume.voxels)


def test_localizers_and_objects_without_images_are_passed_over(tmp_path: Path, series: list[Path], edit: Edit) -> None:
    edit(series[0], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    edit(series[1], SOPClassUID="1.2.840.10008.5.1.4.1.1.88.22")
    edit(series[2], SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4")
    edit(series[3], SOPClassUID="1.2.840.10008.5.1.4.1.1.1.1")
    edit(series[4], SOPClassUID="1.2.840.10008.5.1.4.1.1.7", ImagePositionPatient=None)
    reasons = list(skipped(tmp_path).values())
    assert sorted(reasons) == [
        "DICOM localizer",
        "DICOM radiograph",
        "DICOM secondary capture",
        "DICOM segmentation",
        "DICOM structured report",
    ]
    (found,) = sources(tmp_path)
    assert len(found.files) == len(series) - 5


def test_secondary_captures_with_positions_are_a_volume(
    tmp_path: Path, series: list[Path], voxels: NDArray[np.int16], edit: Edit
) -> None:
    for file in series:
        edit(file, SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    (found,) = sources(tmp_path)
    np.testing.assert_array_equal(read(found).volume.voxels, voxels)


def test_an_image_without_a_series_is_refused(tmp_path: Path, series: list[Path], edit: Edit) -> None:
    edit(series[0], SeriesInstanceUID=None)
    found, _ = (one for one in discover([tmp_path]) if isinstance(one, Refused))
    assert found.error.code == "unreadable"
    assert "SeriesInstanceUID" in found.error.message


@pytest.mark.parametrize("content", [bytes(128) + b"DICM" + b"\xff" * 40, b""])
@pytest.mark.parametrize("place", [0, 4, -1])
def test_a_series_with_a_damaged_file_beside_it_is_refused(
    tmp_path: Path, series: list[Path], content: bytes, place: int
) -> None:
    shutil.copytree(tmp_path / "ct", tmp_path / "whole")
    series[place].write_bytes(content)
    damaged, refused = (one for one in discover([tmp_path]) if isinstance(one, Refused))
    assert damaged.source.path == series[place]
    assert (refused.source.path, len(refused.source.files)) == (tmp_path / "ct", len(series) - 1)
    assert refused.error.code == "unreadable"
    assert refused.error.message == ("1 file of its folder is damaged: the series may lack slices; mend or remove it")
    (whole,) = (one for one in discover([tmp_path]) if isinstance(one, Source))
    assert whole.path == tmp_path / "whole"


def test_a_file_that_is_no_dicom_leaves_the_series_beside_it(tmp_path: Path, series: list[Path]) -> None:
    (tmp_path / "ct" / "page.dcm").write_text("<html>" * 50)
    (tmp_path / "ct" / "bad.nii").write_bytes(b"")
    assert [len(one.files) for one in discover([tmp_path]) if isinstance(one, Source)] == [len(series)]


def test_one_file_of_a_series_is_a_source_of_one_slice(series: list[Path]) -> None:
    (found,) = sources(series[3])
    assert found.path == series[3]
    assert found.files == (series[3],)
