"""DICOM series: values, geometry and left/right as the standard has them, and refusals that say what is wrong."""

import logging
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from raptor_search.errors import ReadError
from raptor_search.readers import Scan, Source, discover
from raptor_search.readers.dicom import read_dicom
from raptor_search.readers.nifti import read_nifti
from raptor_search.readers.writing import Plane, write_dicom_series, write_nifti

Edit = Callable[..., None]


def refused(files: list[Path], code: str, words: str | None = None) -> None:
    with pytest.raises(ReadError, match=words) as caught:
        read_dicom(files)
    assert caught.value.code == code
    assert "SECRET" not in caught.value.message
    assert str(files[0].parent) not in caught.value.message


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_hu_and_geometry_come_back_exactly(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64], plane: Plane
) -> None:
    files = write_dicom_series(tmp_path, voxels, affine, modality="CT", patient_id="p", seed="s", plane=plane)
    volume = read_dicom(files).volume
    np.testing.assert_array_equal(volume.voxels, voxels)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    assert volume.format == "dicom"
    assert min(volume.voxels.strides) > 0


def test_a_scan_is_the_same_from_dicom_and_from_nifti(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    files = write_dicom_series(tmp_path / "d", voxels, affine, modality="MR", patient_id="p", seed="s")
    flipped = nib.Nifti1Image(voxels, affine).as_reoriented(np.array([[0, -1], [2, 1], [1, -1]]))
    nib.save(flipped, tmp_path / "scan.nii.gz")
    from_dicom, from_nifti = read_dicom(files).volume, read_nifti(tmp_path / "scan.nii.gz")
    np.testing.assert_array_equal(from_dicom.voxels, from_nifti.voxels)
    np.testing.assert_allclose(from_dicom.affine, from_nifti.affine, atol=1e-4)


def test_the_first_pixel_of_a_head_first_supine_axial_slice_is_at_the_patients_right_front(
    series: list[Path], voxels: NDArray[np.int16]
) -> None:
    # By hand: rows of HFS axial images run to the patient's left, columns to the back, so RAS flips both.
    top = pydicom.dcmread(series[-1])
    assert list(top.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]
    stored = top.pixel_array.astype(int) - 1024
    np.testing.assert_array_equal(stored[::-1, ::-1].T, voxels[:, :, -1])
    np.testing.assert_array_equal(read_dicom(series).volume.voxels[:, :, -1], voxels[:, :, -1])


def test_an_oblique_series_keeps_where_each_voxel_is(tmp_path: Path, voxels: NDArray[np.int16]) -> None:
    a, b = np.deg2rad([25, -15])
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.7, 0.8, 2.0])
    affine[:3, 3] = [-11.1, 22.2, 33.3]
    files = write_dicom_series(tmp_path, voxels, affine, modality="MR", patient_id="p", seed="s")
    volume = read_dicom(files).volume
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    np.testing.assert_array_equal(volume.voxels, voxels)


def test_each_slice_is_rescaled_by_its_own_slope(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    activity = np.abs(voxels).astype(np.float64) * np.linspace(0.01, 5, voxels.shape[2])
    files = write_dicom_series(tmp_path, activity, affine, modality="PT", patient_id="p", seed="s")
    slopes = {float(pydicom.dcmread(file).RescaleSlope) for file in files}
    assert len(slopes) == voxels.shape[2]
    read = read_dicom(files).volume.voxels
    assert read.dtype == np.float32
    peak = activity.max(axis=(0, 1))
    assert (np.abs(read - activity) <= 0.5001 * peak / 32767 + 1e-6 * peak).all()


def test_without_rescale_attributes_the_stored_numbers_stand(series: list[Path], edit: Edit) -> None:
    for file in series:
        edit(file, RescaleSlope=None, RescaleIntercept=None)
    volume = read_dicom(series).volume
    assert volume.voxels.dtype == np.uint16
    assert volume.voxels.max() == 3000 + 1024


def test_one_slice_without_the_rescale_attributes_of_the_others_is_refused(series: list[Path], edit: Edit) -> None:
    edit(series[3], RescaleSlope=None, RescaleIntercept=None)
    with pytest.raises(ReadError, match=f"1 of {len(series)} images without a rescale slope") as caught:
        read_dicom(series)
    assert caught.value.code == "unreadable"


def test_monochrome1_is_turned_so_that_the_highest_is_brightest(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64], edit: Edit
) -> None:
    positive = voxels + 1000
    files = write_dicom_series(tmp_path, positive, affine, modality="MR", patient_id="p", seed="s")
    for file in files:
        edit(file, PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(read_dicom(files).volume.voxels, 4095 - positive)


def test_hu_stay_hu_whatever_the_display_polarity(series: list[Path], voxels: NDArray[np.int16], edit: Edit) -> None:
    for file in series:
        edit(file, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_dicom(series).volume.voxels, voxels)


@pytest.mark.parametrize("padding", [-2000, 63536])
def test_padding_takes_the_value_of_the_lowest_pixel(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64], padding: int
) -> None:
    # Stored as 16 signed bits -2000; some scanners write the same number as 63536.
    padded = voxels.copy()
    padded[0] = -2000
    files = write_dicom_series(tmp_path, padded, affine, modality="MR", patient_id="p", seed="s")
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.add_new("PixelPaddingValue", "US" if padding > 0 else "SS", padding)
        dataset.save_as(file)
    expected = padded.copy()
    expected[0] = voxels[1:].min()
    np.testing.assert_array_equal(read_dicom(files).volume.voxels, expected)


def test_a_padding_value_among_the_pixels_own_is_left_alone(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    files = write_dicom_series(tmp_path, voxels, affine, modality="MR", patient_id="p", seed="s")
    value = int(np.unique(voxels)[5])
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.add_new("PixelPaddingValue", "SS", value)
        dataset.save_as(file)
    np.testing.assert_array_equal(read_dicom(files).volume.voxels, voxels)


def test_padding_right_below_the_darkest_pixel_is_background_and_stays(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    positive = voxels + 1001
    positive[0] = 0
    files = write_dicom_series(tmp_path, positive, affine, modality="MR", patient_id="p", seed="s")
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.add_new("PixelPaddingValue", "US", 0)
        dataset.save_as(file)
    np.testing.assert_array_equal(read_dicom(files).volume.voxels, positive)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_lossless_compression_changes_nothing(
    tmp_path: Path, draw: Callable[..., NDArray[np.int16]], affine: NDArray[np.float64], syntax: str
) -> None:
    voxels = draw(0, (64, 48, 5))
    files = write_dicom_series(tmp_path, voxels, affine, modality="CT", patient_id="p", seed="s")
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(file)
    np.testing.assert_array_equal(read_dicom(files).volume.voxels, voxels)


def test_files_without_the_preamble_are_found_and_read(series: list[Path], voxels: NDArray[np.int16]) -> None:
    for file in series:
        dataset = pydicom.dcmread(file)
        del dataset.file_meta
        dataset.save_as(file.with_suffix(""), implicit_vr=True, little_endian=True, enforce_file_format=False)
        file.unlink()
    (found,) = discover([series[0].parent])
    assert isinstance(found, Source)
    np.testing.assert_array_equal(read_dicom(found.files).volume.voxels, voxels)


def test_values_that_break_the_standard_are_read_without_a_word(series: list[Path], edit: Edit) -> None:
    for file in series:
        content = file.read_bytes()
        file.write_bytes(content.replace(b"20200101", b"2020.1.1", 3).replace(b"HFS ", b"h\xe9s "))
    assert read_dicom(series).metadata.modality == "CT"


def test_what_pydicom_complains_about_reaches_no_log(series: list[Path], edit: Edit) -> None:
    for file in series:
        content = file.read_bytes()
        file.write_bytes(content.replace(b"PAT-SECRET-7", b"PAT\xff\x1b\\CRET-7").replace(b"061Y", b"SE\x00C"))
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        read_dicom(series)
        series[0].write_bytes(series[0].read_bytes()[:-5])
        refused(series, "unreadable")
    finally:
        logging.getLogger().removeHandler(handler)
    assert [record.getMessage() for record in records] == []


# Series that are no volume


def test_a_missing_slice_is_named(series: list[Path]) -> None:
    refused(series[:4] + series[5:], "missing-slice", r"gap 5.0 mm after slice 4, expected 2.5 mm")


def test_several_missing_slices_are_counted(series: list[Path]) -> None:
    refused(series[:3] + series[4:7] + series[8:], "missing-slice", r"after slice 3, expected 2.5 mm; 2 gaps in all")


def test_the_unevenness_of_rounded_positions_is_allowed(series: list[Path], edit: Edit) -> None:
    # Slices 1.25 mm apart, written with one decimal: gaps of 1.2 and 1.3 mm.
    for index, file in enumerate(series):
        edit(file, ImagePositionPatient=[0, 0, f"{1.25 * index + 0.01:.1f}"])
    assert read_dicom(series).volume.spacing[2] == pytest.approx(1.25, abs=0.01)


def test_two_images_at_one_position_are_refused(series: list[Path], edit: Edit) -> None:
    edit(series[-1], ImagePositionPatient=list(pydicom.dcmread(series[2]).ImagePositionPatient))
    refused(series, "duplicate-slice", "10 images at 9 positions, the first two at slice 3")


def test_a_two_slice_series_is_refused(series: list[Path]) -> None:
    refused(series[:2], "too-few-slices", "2 slices along one axis; expected at least 4")


def test_slices_of_two_sizes_are_refused(series: list[Path], edit: Edit) -> None:
    edit(series[2], Rows=6, PixelData=bytes(6 * 14 * 2))
    refused(series, "mixed-geometry", "12x14 and 6x14")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, 1]}, "mixed-geometry"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "mixed-geometry"),
        ({"PixelSpacing": [2.5, 1.5]}, "mixed-geometry"),
        ({"PixelSpacing": [0, 1.5]}, "bad-geometry"),
        ({"PixelSpacing": [-2, 1.5]}, "bad-geometry"),
        ({"PixelSpacing": None}, "bad-geometry"),
        ({"ImageOrientationPatient": None}, "bad-geometry"),
        ({"ImageOrientationPatient": [2, 0, 0, 0, 1, 0]}, "bad-geometry"),
        ({"ImagePositionPatient": None}, "bad-geometry"),
        ({"ImagePositionPatient": [1, 2]}, "bad-geometry"),
        ({"ImagePositionPatient": [500, 31, 24.75]}, "mixed-geometry"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "unsupported"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "unsupported"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "unsupported"),
        ({"NumberOfFrames": 5}, "unsupported"),
        ({"NumberOfFrames": 2**31 - 1, "Rows": 65535, "Columns": 65535}, "too-large"),
        ({"Rows": 0}, "unreadable"),
        ({"BitsAllocated": 64}, "unsupported"),
        ({"PixelData": None}, "unreadable"),
        ({"PixelData": bytes(10)}, "unreadable"),
    ],
)
def test_one_slice_that_does_not_fit_refuses_the_series(
    series: list[Path], edit: Edit, changed: dict[str, object], code: str
) -> None:
    edit(series[5], **changed)
    refused(series, code)


def test_deflated_files_are_read(series: list[Path], voxels: NDArray[np.int16]) -> None:
    for file in series:
        dataset = pydicom.dcmread(file)
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        dataset.save_as(file)
    np.testing.assert_array_equal(read_dicom(series).volume.voxels, voxels)


def test_implicit_vr_is_read(series: list[Path], voxels: NDArray[np.int16]) -> None:
    for file in series:
        dataset = pydicom.dcmread(file)
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        dataset.save_as(file, implicit_vr=True, little_endian=True)
    np.testing.assert_array_equal(read_dicom(series).volume.voxels, voxels)


# Enhanced multi-frame


def enhanced(files: list[Path], path: Path, *, temporal: bool = False) -> Path:
    """The series as one enhanced CT file, frames in the order of the files' names."""
    slices = [pydicom.dcmread(file) for file in sorted(files)]
    whole = slices[0]
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    frames = []
    for one in slices * (2 if temporal else 1):
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = one.ImagePositionPatient
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    shared, measures, direction, values = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = whole.PixelSpacing
    direction.ImageOrientationPatient = whole.ImageOrientationPatient
    values.RescaleSlope, values.RescaleIntercept = whole.RescaleSlope, whole.RescaleIntercept
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [direction]
    shared.PixelValueTransformationSequence = [values]
    whole.PixelData = b"".join(one.PixelData for one in slices) * (2 if temporal else 1)
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
    ):
        delattr(whole, keyword)
    whole.NumberOfFrames = len(frames)
    whole.SharedFunctionalGroupsSequence = [shared]
    whole.PerFrameFunctionalGroupsSequence = frames
    path.parent.mkdir(exist_ok=True)
    whole.save_as(path)
    return path


def test_an_enhanced_multiframe_file_is_the_same_volume(
    tmp_path: Path, series: list[Path], voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    file = enhanced(series, tmp_path / "enhanced" / "IM1")
    (found,) = discover([file])
    assert isinstance(found, Source)
    assert found.path == file
    volume = read_dicom(found.files).volume
    np.testing.assert_array_equal(volume.voxels, voxels)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)


def test_an_enhanced_file_of_two_time_points_is_refused(tmp_path: Path, series: list[Path]) -> None:
    refused([enhanced(series, tmp_path / "e" / "IM1", temporal=True)], "duplicate-slice", "20 images at 10 positions")


def test_an_enhanced_file_that_describes_too_few_frames_is_refused(
    tmp_path: Path, series: list[Path], edit: Edit
) -> None:
    file = enhanced(series, tmp_path / "e" / "IM1")
    edit(file, NumberOfFrames=12)
    refused([file], "unreadable", "12 frames announced, 10 described")


# What is kept


def scan_with(series: list[Path], edit: Edit, **changed: object) -> Scan:
    for file in series:
        edit(file, **changed)
    return read_dicom(series)


def test_the_allow_list_is_kept_and_typed(series: list[Path], edit: Edit) -> None:
    scan = scan_with(
        series,
        edit,
        BodyPartExamined="CHEST",
        Laterality="L",
        ContrastBolusAgent="Iohexol 300",
        Manufacturer=" ACME ",
        ManufacturerModelName="Scan-o-mat 3",
    )
    meta = scan.metadata
    assert (meta.modality, meta.body_part, meta.sex, meta.age, meta.year) == ("CT", "CHEST", "F", 61.0, 2020)
    assert (meta.laterality, meta.contrast_agent, meta.manufacturer, meta.model) == ("L", True, "ACME", "Scan-o-mat 3")


def test_identifiers_are_there_to_be_hashed_and_in_no_repr(series: list[Path], edit: Edit) -> None:
    scan = scan_with(series, edit, InstitutionName="SECRET General", PatientName="SECRET^Jane")
    assert scan.identity.patient == "PAT-SECRET-7"
    assert scan.identity.site == "SECRET General"
    assert scan.identity.series == pydicom.dcmread(series[0]).SeriesInstanceUID
    assert scan.identity.study == pydicom.dcmread(series[0]).StudyInstanceUID
    assert "SECRET" not in repr(scan)
    assert str(scan.identity.series) not in repr(scan)


@pytest.mark.parametrize(
    ("age", "years"), [("045Y", 45), ("089Y", 89), ("090Y", 90), ("099Y", 90), ("018M", 1), ("010W", 0), ("400D", 1)]
)
def test_ages_are_whole_years_pooled_from_90(series: list[Path], edit: Edit, age: str, years: float) -> None:
    assert scan_with(series, edit, PatientAge=age).metadata.age == years


@pytest.mark.parametrize(
    ("born", "years"), [("19500102", 69), ("19500101", 70), ("19000101", 90), ("20300101", None), ("", None)]
)
def test_without_an_age_birth_and_study_date_give_it(
    series: list[Path], edit: Edit, born: str, years: float | None
) -> None:
    assert scan_with(series, edit, PatientAge="", PatientBirthDate=born).metadata.age == years


def test_free_text_in_a_coded_field_is_not_kept(series: list[Path], edit: Edit) -> None:
    for file in series:
        content = file.read_bytes()
        file.write_bytes(content.replace(b"CS\x02\x00CT", b"CS\x02\x00c?"))
    scan = scan_with(series, edit, PatientSex="", PatientAge="", StudyDate="", AcquisitionDate="")
    assert scan.metadata.modality is None
    assert (scan.metadata.sex, scan.metadata.age, scan.metadata.year) == (None, None, None)


def test_damage_to_one_file_gives_a_read_error_or_a_volume(
    series: list[Path], mutants: Callable[[bytes, int], list[bytes]]
) -> None:
    outcomes = set()
    for content in mutants(series[4].read_bytes(), 60):
        series[4].write_bytes(content)
        try:
            outcomes.add(read_dicom(series).volume.format)
        except ReadError as error:
            outcomes |= {error.code, error.message}
    assert {"dicom", "unreadable"} <= outcomes
    assert not any("SECRET" in outcome for outcome in outcomes)


def test_written_nifti_and_dicom_of_one_scan_agree(
    tmp_path: Path, draw: Callable[..., NDArray[np.int16]], affine: NDArray[np.float64]
) -> None:
    for seed in range(3):
        voxels = draw(seed, (9, 11, 7))
        files = write_dicom_series(
            tmp_path / str(seed), voxels, affine, modality="CT", patient_id="p", seed=str(seed), plane="sagittal"
        )
        nifti = read_nifti(write_nifti(tmp_path / f"{seed}.nii.gz", voxels, affine))
        np.testing.assert_array_equal(read_dicom(files).volume.voxels, nifti.voxels)
