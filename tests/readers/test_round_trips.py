"""Real slices written as DICOM in every syntax and acquisition, and read back: bits, places and HU exact.

The truth is where each stored pixel was said to lie, one by one in LPS mm, never an affine of ours. SimpleITK and, for
mosaics, nibabel read the same files as a second opinion.
"""

import importlib.util
import itertools
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 - as its documentation has it
from numpy.typing import NDArray
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from raptor_search.errors import ReadError
from raptor_search.readers import Scan, Source, discover, read
from raptor_search.readers.dicom import read_dicom
from raptor_search.readers.dicom_decoding import stored_frames
from raptor_search.readers.dicom_files import parse_dicom
from raptor_search.readers.dicom_frames import frames_of
from raptor_search.readers.dicom_mosaic import mosaic_of
from raptor_search.volume import Volume
from tests.dicom_stacks import Acquisition, acquisition, enhanced, write_stack
from tests.real_slices import CT_INTERCEPT, DATA, ct_stack, real_volume

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
COMPRESSED = (RLELossless, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, HTJ2KLossless)

ACQUISITIONS = {
    "axial": acquisition((1, 0, 0), (0, 1, 0)),
    "coronal": acquisition((1, 0, 0), (0, 0, -1)),
    "sagittal": acquisition((0, 1, 0), (0, 0, -1)),
    "oblique": acquisition((1, 0, 0), (0, 1, 0), turn=True),
    # Each slice one row of 3 mm further, 8 mm apart: a gantry tilted by 20.6 degrees.
    "tilted": acquisition((1, 0, 0), (0, 1, 0), tilt_rows=1),
    "tilted the other way": acquisition((1, 0, 0), (0, 1, 0), tilt_rows=-1),
}

LPS = np.array([-1.0, -1, 1])
MM = 1e-4


def one_scan(folder: Path) -> Scan:
    (source,) = (one for one in discover([folder]) if isinstance(one, Source))
    return read(source)


def assert_every_pixel_is_where_it_was(volume: Volume, truth: NDArray[np.generic], lie: Acquisition) -> None:
    """Every stored pixel [slice, row, column] lies at its place of the volume, to `MM`, with its value."""
    k, r, c = (axis.reshape(-1) for axis in np.meshgrid(*map(np.arange, truth.shape), indexing="ij"))
    points = LPS * (
        lie.first + k[:, None] * lie.step
        + (c * lie.between_columns)[:, None] * lie.row + (r * lie.between_rows)[:, None] * lie.column
    )  # fmt: skip
    inverse = np.linalg.inv(volume.affine)
    index = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    back = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    assert np.abs(back - points).max() < MM
    np.testing.assert_array_equal(volume.voxels[tuple(index.T)], truth.reshape(-1))


@pytest.mark.parametrize("name", ACQUISITIONS)
@pytest.mark.parametrize("syntax", [*NATIVE, *COMPRESSED], ids=lambda uid: uid.name)
def test_a_real_ct_comes_back_to_the_bit_and_to_its_place(tmp_path: Path, name: str, syntax: UID) -> None:
    stored, lie = ct_stack(), ACQUISITIONS[name]
    write_stack(tmp_path / "ct", stored, lie, syntax, intercept=CT_INTERCEPT)
    scan = one_scan(tmp_path / "ct")
    hu = stored.astype(np.int16) + CT_INTERCEPT
    assert_every_pixel_is_where_it_was(scan.volume, hu, lie)
    tilt = float(np.degrees(np.arctan2(3, 8))) if name.startswith("tilted") else 0
    assert scan.geometry.tilt_deg == pytest.approx(tilt, abs=1e-3)
    assert scan.geometry.sheared is (tilt > 0)
    if not tilt:
        assert scan.volume.voxels.size == stored.size
    axes = scan.volume.affine[:3, :3] / scan.volume.spacing
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4"])
@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.name)
def test_a_real_mr_comes_back_in_every_width_and_sign(tmp_path: Path, dtype: str, syntax: UID) -> None:
    mr = real_volume("icbm-nonlinear-t1")[60:100, 100:130, 90:98].astype(np.float64)
    least, most = mr.min(), mr.max()
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    stored = np.rint(low + (mr - least) / (most - least) * (float(high) - low)).clip(low, high).astype(dtype)
    stack = np.ascontiguousarray(stored.transpose(2, 1, 0))
    write_stack(tmp_path / "mr", stack, ACQUISITIONS["oblique"], syntax, modality="MR")
    assert_every_pixel_is_where_it_was(one_scan(tmp_path / "mr").volume, stack, ACQUISITIONS["oblique"])


@pytest.mark.parametrize("name", ["axial", "oblique", "tilted"])
def test_an_enhanced_file_is_the_same_volume(tmp_path: Path, name: str) -> None:
    files = write_stack(tmp_path / "ct", ct_stack(), ACQUISITIONS[name], intercept=CT_INTERCEPT)
    (tmp_path / "enhanced").mkdir()
    enhanced(tmp_path / "enhanced" / "IM1", sorted(files))
    hu = ct_stack().astype(np.int16) + CT_INTERCEPT
    assert_every_pixel_is_where_it_was(one_scan(tmp_path / "enhanced").volume, hu, ACQUISITIONS[name])


DIRECTIONS = [tuple(sign * axis) for axis in np.eye(3) for sign in (1, -1)]
ORIENTATIONS = [(row, column) for row, column in itertools.product(DIRECTIONS, DIRECTIONS) if not np.dot(row, column)]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(("row", "column"), ORIENTATIONS)
def test_a_mark_at_the_left_front_top_stays_there(
    tmp_path: Path, row: tuple[float, ...], column: tuple[float, ...], backwards: bool
) -> None:
    # 24 ways to lay rows and columns, slices numbered up and down: the 48 permutations and flips of the axes.
    lie = acquisition(row, column, gap=2.0)
    stored = np.zeros((5, 6, 7), np.int16)
    stored[1:4, 1:5, 1:6] = 100
    corners = list(itertools.product((0, 4), (0, 5), (0, 6)))
    # By hand: the corner whose place in LPS is furthest to the left (+x), to the front (-y) and to the top (+z).
    mark = max(corners, key=lambda corner: float(lie.point(*corner) @ [1, -1, 1]))
    stored[mark] = 1000
    files = write_stack(tmp_path / "s", stored, lie, modality="MR")
    for number, file in enumerate(reversed(files) if backwards else files):
        dataset = pydicom.dcmread(file)
        dataset.InstanceNumber = number
        dataset.save_as(file)
    volume = one_scan(tmp_path / "s").volume
    _, a, s = volume.shape
    # RAS+: indices grow to the patient's right, to the front and to the top.
    assert volume.voxels[0, a - 1, s - 1] == 1000
    assert (volume.voxels == 1000).sum() == 1
    assert volume.affine[0, 0] > 0
    assert volume.affine[1, 1] > 0
    assert volume.affine[2, 2] > 0


# The same files, read by others


def itk_series(files: list[Path]) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in files])
    return reader.Execute()


def assert_as_simpleitk_has_it(volume: Volume, image: sitk.Image, mm: float = 2e-4) -> None:
    """Voxels by value, and their places by asking ITK for a few; it keeps no shear."""
    array = sitk.GetArrayFromImage(image)
    inverse = np.linalg.inv(volume.affine)
    corners = np.array(list(itertools.product(*((0, n // 3, n - 1) for n in array.shape))))
    for k, r, c in corners.tolist():
        point = LPS * image.TransformIndexToPhysicalPoint((c, r, k))
        place = inverse @ [*point, 1]
        index = np.rint(place[:3]).astype(int)
        assert np.linalg.norm(volume.affine[:3, :3] @ (place[:3] - index)) < mm
        assert volume.voxels[tuple(index)] == array[k, r, c]
    assert (
        np.sort(volume.voxels, axis=None).tobytes() == np.sort(array.astype(volume.voxels.dtype), axis=None).tobytes()
    )


@pytest.mark.parametrize("name", ["axial", "coronal", "sagittal", "oblique"])
@pytest.mark.parametrize("syntax", [*NATIVE, RLELossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless], ids=str)
def test_simpleitk_reads_the_same_of_a_series(tmp_path: Path, name: str, syntax: UID) -> None:
    files = write_stack(tmp_path / "ct", ct_stack(), ACQUISITIONS[name], syntax, intercept=CT_INTERCEPT)
    assert_as_simpleitk_has_it(one_scan(tmp_path / "ct").volume, itk_series(files))


def test_simpleitk_reads_the_same_of_an_enhanced_file(tmp_path: Path) -> None:
    files = write_stack(tmp_path / "ct", ct_stack(), ACQUISITIONS["axial"], intercept=CT_INTERCEPT)
    file = enhanced(tmp_path / "enhanced.dcm", files)
    assert_as_simpleitk_has_it(read_dicom([file]).volume, sitk.ReadImage(str(file)))


def test_simpleitk_reads_the_same_of_a_series_of_a_real_scanner() -> None:
    files = sorted((DATA / "ge_series").glob("*.dcm"))
    scan = one_scan(DATA / "ge_series")
    record = scan.geometry
    assert (record.slices, record.plane, record.resampled, record.sheared) == (20, "axial", False, False)
    assert record.gap_mm == pytest.approx(6.97, abs=0.02)
    assert record.oblique_deg == pytest.approx(7.71, abs=0.01)
    assert (record.smallest_gap_mm, record.largest_gap_mm) == (
        pytest.approx(6.95, abs=0.03),
        pytest.approx(7.07, abs=0.01),
    )
    # Its positions are rounded to 0.1 mm and ITK takes the first two slices for all gaps: they agree to a few of these.
    reader = itk_series(files)
    volume = scan.volume
    array = sitk.GetArrayFromImage(reader)
    for number, file in enumerate(files):
        header = pydicom.dcmread(file, stop_before_pixels=True)
        place = np.linalg.inv(volume.affine) @ [*(LPS * np.array(header.ImagePositionPatient, float)), 1]
        index = np.rint(place[:3]).astype(int)
        assert np.linalg.norm(volume.affine[:3, :3] @ (place[:3] - index)) < 0.15
        # Rows run to the patient's left and columns to the back: the first pixel is the last along R and A.
        assert index.tolist() == [255, 255, number]
        np.testing.assert_array_equal(volume.voxels[::-1, ::-1, number].T, array[number])
    meta = scan.metadata
    assert (meta.modality, meta.echo_time_ms, meta.slice_thickness_mm, meta.series_kind) == ("MR", 22, 5, "mpr")


@pytest.fixture(scope="module")
def multiframe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The enhanced CT and MR files of the package pydicom-data 1.0.0, whole; its licence lies beside the zip."""
    folder = tmp_path_factory.mktemp("multiframe")
    with zipfile.ZipFile(DATA / "multiframe" / "pydicom-data.zip") as archive:
        archive.extractall(folder)
    return folder


def test_simpleitk_reads_the_same_of_a_real_enhanced_ct_of_two_slices(multiframe: Path) -> None:
    path = multiframe / "eCT_Supplemental.dcm"
    image = sitk.ReadImage(str(path))
    frames = frames_of(path, parse_dicom(path))
    stored = list(stored_frames(path))
    assert len(frames) == len(stored) == image.GetSize()[2] == 2
    for number, (frame, pixels) in enumerate(zip(frames, stored, strict=True)):
        slope, intercept = frame.scaling or (1.0, 0.0)
        np.testing.assert_array_equal(pixels * slope + intercept, sitk.GetArrayViewFromImage(image)[number])
        assert frame.position == pytest.approx(image.TransformIndexToPhysicalPoint((0, 0, number)), abs=MM)
        row, column = np.array(frame.cosines).reshape(2, 3) * np.array(frame.spacing)[::-1, None]
        there = np.array(frame.position) + 511 * row + 300 * column
        assert there == pytest.approx(image.TransformIndexToPhysicalPoint((511, 300, number)), abs=MM)
    (source,) = (one for one in discover([path]) if isinstance(one, Source))
    with pytest.raises(ReadError, match="2 slices along one axis") as caught:
        read(source)
    assert caught.value.code == "too-few-slices"


@pytest.mark.parametrize("ending", ["", "_big_endian", "_RLE", "_jpeg_ls_lossless", "_jpeg_2k_lossless"])
def test_simpleitk_reads_the_same_frames_of_a_real_enhanced_mr_which_says_no_places(
    multiframe: Path, ending: str
) -> None:
    path = multiframe / f"emri_small{ending}.dcm"
    frames = np.stack(list(stored_frames(path)))
    assert frames.shape == (10, 64, 64)
    np.testing.assert_array_equal(frames, sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
    (source,) = (one for one in discover([path]) if isinstance(one, Source))
    with pytest.raises(ReadError, match="many frames in one file without positions") as caught:
        read(source)
    assert caught.value.code == "unsupported"


def mosaics() -> list[Path]:
    spec = importlib.util.find_spec("heudiconv")
    assert spec is not None
    assert spec.submodule_search_locations
    return sorted((Path(spec.submodule_search_locations[0]) / "tests" / "data" / "b0dwiForFmap").glob("*.dcm"))


def test_real_mosaics_are_unpacked_as_nibabel_and_simpleitk_have_them() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls itself experimental
        from nibabel.nicom.dicomwrappers import wrapper_from_data
    files = mosaics()
    sources = [one for one in discover([files[0].parent]) if isinstance(one, Source)]
    # One volume a file: two of b = 5 and one of b = 1500, which only the private header says.
    assert [len(source.files) for source in sources] == [1, 1, 1]
    scans = {source.files[0]: read(source) for source in sources}
    assert [scans[file].metadata.b_value for file in files] == [5, 5, 1500]
    assert [(scans[file].metadata.stack, scans[file].metadata.stacks) for file in files] == [(1, 3), (2, 3), (3, 3)]
    header = pydicom.dcmread(files[2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = wrapper_from_data(header)
        data = wrapped.get_data()
    volume = scans[files[2]].volume
    assert volume.shape == (150, 152, 81)
    assert scans[files[2]].geometry.slices == 81
    for index in itertools.product((0, 70, 149), (0, 80, 151), (0, 40, 80)):
        i, j, k = np.rint(np.linalg.inv(wrapped.affine) @ LPS4 @ volume.affine @ [*index, 1]).astype(int)[:3]
        assert data[i, j, k] == volume.voxels[index]
        np.testing.assert_allclose(LPS4 @ wrapped.affine @ [i, j, k, 1], volume.affine @ [*index, 1], atol=1e-3)
    flat = sitk.GetArrayFromImage(sitk.ReadImage(str(files[2])))[0]
    assert np.sort(flat[flat > 0]).tolist() == np.sort(volume.voxels[volume.voxels > 0]).tolist()
    assert mosaic_of(header).count == 81


LPS4 = np.diag([-1.0, -1, 1, 1])
