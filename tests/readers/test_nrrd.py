"""NRRD: anatomical spaces, encodings and units; the header's paths are never followed."""

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path

import nrrd
import numpy as np
import pytest
from numpy.typing import NDArray

from raptor_search.errors import ReadError
from raptor_search.readers.nrrd import read_nrrd

SIGNS = {
    "right-anterior-superior": (1, 1, 1),
    "RAS": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "LPS": (-1, -1, 1),
}


def written(path: Path, fields: dict[str, str], data: bytes) -> Path:
    """A file by hand, as a writer that is not pynrrd would make it."""
    lines = ["NRRD0004", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    path.write_bytes("\n".join(lines).encode() + data)
    return path


def fields_of(voxels: NDArray[np.int16], **changed: str) -> dict[str, str]:
    fields = {
        "type": "short",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, voxels.shape)),
        "space directions": "(1.5,0,0) (0,2,0) (0,0,2.5)",
        "endian": "little",
        "encoding": "raw",
        "space origin": "(20,31.5,12.25)",
    }
    fields |= {name.replace("_", " "): value for name, value in changed.items()}
    return {name: value for name, value in fields.items() if value}


@pytest.mark.parametrize("space", SIGNS)
@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
def test_each_space_and_encoding_gives_the_same_scan(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64], space: str, encoding: str
) -> None:
    signs = np.array(SIGNS[space])
    header = {
        "space": space,
        "space directions": (signs[:, None] * affine[:3, :3]).T,
        "space origin": signs * affine[:3, 3],
        "encoding": encoding,
    }
    nrrd.write(str(tmp_path / "scan.nrrd"), voxels, header)
    volume = read_nrrd(tmp_path / "scan.nrrd")
    np.testing.assert_array_equal(volume.voxels, voxels)
    np.testing.assert_allclose(volume.affine, affine)
    assert volume.oriented
    assert volume.format == "nrrd"


def test_left_stays_left_when_axes_are_stored_as_lps(tmp_path: Path, voxels: NDArray[np.int16]) -> None:
    data = voxels.astype("<i2").tobytes(order="F")
    volume = read_nrrd(written(tmp_path / "scan.nrrd", fields_of(voxels), data))
    np.testing.assert_array_equal(volume.voxels, voxels[::-1, ::-1])
    np.testing.assert_array_equal(volume.stored, voxels)
    assert volume.stored_axes == ((0, -1), (1, -1), (2, 1))


def test_big_endian_numbers_are_read(tmp_path: Path, voxels: NDArray[np.int16]) -> None:
    data = voxels.astype(">i2").tobytes(order="F")
    volume = read_nrrd(written(tmp_path / "scan.nrrd", fields_of(voxels, endian="big"), data))
    np.testing.assert_array_equal(volume.stored, voxels)


@pytest.mark.parametrize(("unit", "mm"), [("mm", 1), ("cm", 10), ("m", 1000), ("um", 0.001)])
def test_units_become_millimetres(tmp_path: Path, voxels: NDArray[np.int16], unit: str, mm: float) -> None:
    fields = fields_of(voxels, space_units=" ".join([f'"{unit}"'] * 3))
    volume = read_nrrd(written(tmp_path / "scan.nrrd", fields, voxels.tobytes(order="F")))
    np.testing.assert_allclose(volume.spacing, np.array([1.5, 2.0, 2.5]) * mm)


@pytest.mark.parametrize("space", ["", "scanner-xyz", "3D-right-handed"])
def test_a_space_that_says_nothing_of_the_patient_is_marked(
    tmp_path: Path, voxels: NDArray[np.int16], space: str
) -> None:
    fields = fields_of(voxels, space=space) | ({} if space else {"space dimension": "3"})
    volume = read_nrrd(written(tmp_path / "scan.nrrd", fields, voxels.tobytes(order="F")))
    assert not volume.oriented
    assert volume.spacing == (1.5, 2.0, 2.5)
    np.testing.assert_array_equal(volume.voxels, voxels)


def test_spacings_without_directions_are_kept(tmp_path: Path, voxels: NDArray[np.int16]) -> None:
    fields = fields_of(voxels, space="", space_directions="", space_origin="", spacings="1 2 3")
    volume = read_nrrd(written(tmp_path / "scan.nrrd", fields, voxels.tobytes(order="F")))
    assert volume.spacing == (1.0, 2.0, 3.0)
    assert not volume.oriented


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"data_file": "/etc/passwd"}, "unsupported"),
        ({"datafile": "../other.raw"}, "unsupported"),
        ({"byte_skip": "-1"}, "unsupported"),
        ({"encoding": "ascii"}, "unsupported"),
        ({"type": "block", "block_size": "2"}, "unsupported"),
        ({"sizes": "14 12 0"}, "unreadable"),
        ({"sizes": "14 12"}, "not-3d"),
        ({"sizes": "14 12 11"}, "unreadable"),
        ({"sizes": "140 4 3"}, "too-few-slices"),
        ({"sizes": "90000 90000 90000"}, "too-large"),
        ({"dimension": "2", "sizes": "140 12", "space": "", "space_directions": "", "space_origin": ""}, "not-3d"),
        ({"space_directions": "(1,0,0) (0,0,0) (0,0,1)"}, "bad-geometry"),
        ({"space_directions": "(nan,0,0) (0,1,0) (0,0,1)"}, "bad-geometry"),
        ({"space_directions": "(inf,0,0) (0,1,0) (0,0,1)"}, "bad-geometry"),
        ({"space_units": '"pc" "pc" "pc"'}, "bad-geometry"),
    ],
)
def test_a_header_that_cannot_be_is_refused(
    tmp_path: Path, voxels: NDArray[np.int16], changed: dict[str, str], code: str
) -> None:
    path = written(tmp_path / "scan.nrrd", fields_of(voxels, **changed), voxels.tobytes(order="F"))
    with pytest.raises(ReadError) as caught:
        read_nrrd(path)
    assert caught.value.code == code
    assert "passwd" not in caught.value.message


def test_a_4d_file_is_refused_with_its_sizes(tmp_path: Path, voxels: NDArray[np.int16]) -> None:
    nrrd.write(str(tmp_path / "scan.nrrd"), np.stack([voxels, voxels]))
    with pytest.raises(ReadError, match=r"4D \(2x14x12x10\); expected 3D") as caught:
        read_nrrd(tmp_path / "scan.nrrd")
    assert caught.value.code == "not-3d"


@pytest.mark.parametrize(("encoding", "packed"), [("gzip", gzip.compress), ("bzip2", bz2.compress)])
def test_packed_data_that_claim_too_much_are_refused(
    tmp_path: Path, voxels: NDArray[np.int16], encoding: str, packed: Callable[[bytes], bytes]
) -> None:
    fields = fields_of(voxels, sizes="1000 1000 1000", encoding=encoding)
    path = written(tmp_path / "scan.nrrd", fields, packed(bytes(10**6)))
    with pytest.raises(ReadError) as caught:
        read_nrrd(path)
    assert caught.value.code == "too-large"


def test_damage_anywhere_gives_a_read_error_or_a_volume(
    tmp_path: Path, voxels: NDArray[np.int16], mutants: Callable[[bytes, int], list[bytes]]
) -> None:
    outcomes = set()
    path = written(tmp_path / "scan.nrrd", fields_of(voxels, encoding="gzip"), gzip.compress(voxels.tobytes(order="F")))
    for content in mutants(path.read_bytes(), 200):
        path.write_bytes(content)
        try:
            outcomes.add(read_nrrd(path).format)
        except ReadError as error:
            outcomes.add(error.code)
    assert {"nrrd", "unreadable"} <= outcomes
