"""Writing: the same bytes for the same input, valid headers, names that do not give the order away."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from raptor_search.readers.writing import write_dicom_series, write_nifti


def test_equal_input_gives_equal_bytes(tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]) -> None:
    for name in ("1", "2"):
        write_nifti(tmp_path / name / "scan.nii.gz", voxels, affine)
        write_dicom_series(tmp_path / name / "ct", voxels, affine, modality="CT", patient_id="p", seed="s")
    first = {path.name: path.read_bytes() for path in (tmp_path / "1").rglob("*.*")}
    second = {path.name: path.read_bytes() for path in (tmp_path / "2").rglob("*.*")}
    assert first == second
    assert len(first) == 1 + voxels.shape[2]


def test_the_seed_decides_the_series_and_the_patient_the_study(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    def uids(folder: str, seed: str, patient: str = "p", study: str = "1") -> tuple[str, str, int]:
        files = write_dicom_series(
            tmp_path / folder, voxels, affine, modality="MR", patient_id=patient, seed=seed, study=study
        )
        headers = [pydicom.dcmread(file) for file in files]
        return headers[0].StudyInstanceUID, headers[0].SeriesInstanceUID, len({h.SOPInstanceUID for h in headers})

    first, other, patient, study = uids("a", "1"), uids("b", "2"), uids("c", "1", "q"), uids("d", "1", study="2")
    assert first[0] == other[0]
    assert len({first[1], other[1], patient[1], study[1]}) == 4
    assert len({first[0], patient[0], study[0]}) == 3
    assert first[2] == voxels.shape[2]


def test_file_names_do_not_follow_the_slices(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    files = write_dicom_series(tmp_path, voxels, affine, modality="MR", patient_id="p", seed="s")
    positions = [float(pydicom.dcmread(file).ImagePositionPatient[2]) for file in files]
    assert positions != sorted(positions)
    assert sorted(positions) == [12.25 + 2.5 * index for index in range(voxels.shape[2])]


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_headers_hold_what_they_were_given(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64], modality: str
) -> None:
    (file, *_) = write_dicom_series(
        tmp_path,
        voxels,
        affine,
        modality=modality,  # type: ignore[arg-type]
        patient_id="sub-01",
        seed="s",
        body_part="CHEST",
        sex="F",
        age=61,
        year=2019,
        manufacturer="ACME",
        model="One",
        site="Here",
        description="derived",
    )
    header = pydicom.dcmread(file)
    assert (header.Modality, header.PatientID, header.BodyPartExamined) == (modality, "sub-01", "CHEST")
    assert (header.PatientSex, header.PatientAge, header.StudyDate) == ("F", "061Y", "20190101")
    assert (header.Manufacturer, header.ManufacturerModelName, header.InstitutionName) == ("ACME", "One", "Here")
    assert header.SeriesDescription == "derived"
    assert header.file_meta.MediaStorageSOPInstanceUID == header.SOPInstanceUID
    assert list(header.PixelSpacing) == [2.0, 1.5]


def test_what_dicom_cannot_hold_is_an_error(tmp_path: Path, affine: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="do not fit 16 bits"):
        write_dicom_series(tmp_path, np.full((4, 4, 4), 70000), affine, modality="MR", patient_id="p", seed="s")
    affine[0, 1] = 1.0
    with pytest.raises(ValueError, match="right angles"):
        write_dicom_series(tmp_path, np.zeros((4, 4, 4), np.int16), affine, modality="MR", patient_id="p", seed="s")
