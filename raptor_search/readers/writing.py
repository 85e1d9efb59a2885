"""Writing scans as real files: NIfTI and DICOM series, the same bytes for the same input.

The demo archive and the tests are made with it. Writers take voxels in RAS+ order, as `Volume` has them.
"""

import gzip
import hashlib
import random
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from raptor_search.readers.orientation import LPS_TO_RAS

__all__ = ["Plane", "write_dicom_series", "write_nifti"]

Plane = Literal["axial", "coronal", "sagittal"]

STORED_AXES: dict[Plane, tuple[tuple[int, int], ...]] = {
    "axial": ((0, -1), (1, -1), (2, 1)),
    "coronal": ((0, -1), (2, -1), (1, 1)),
    "sagittal": ((1, -1), (2, -1), (0, -1)),
}
"""For (column, row, slice) of each plane, the RAS axis it runs along and its sign: columns to the patient's left
or back, rows to the back or the feet, as on a viewing box."""

SOP_CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
}

CT_INTERCEPT = -1024

TYPE_2 = (
    *("PatientName", "PatientBirthDate", "PatientSex", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
    "PositionReferenceIndicator",
)
"""Attributes that must be there, empty where they are not known (PS3.3 C.7.1.1, C.7.2.1)."""


DEMANDED: dict[str, dict[str, str | int | list[str]]] = {
    "CT": {"KVP": "", "AcquisitionNumber": 1},
    "MR": {
        "ScanningSequence": "RM",
        "SequenceVariant": "NONE",
        "ScanOptions": "",
        "MRAcquisitionType": "3D",
        "EchoTime": "",
        "EchoTrainLength": "",
    },
    "PT": {
        "Units": "CNTS",
        "CountsSource": "EMISSION",
        "SeriesType": ["STATIC", "IMAGE"],
        "CorrectedImage": [],
        "DecayCorrection": "NONE",
        "CollimatorType": "",
    },
}
"""What each SOP class demands and nothing here depends on (PS3.3 A.3.3, A.4.3, A.21.3)."""

RIGHT_ANGLE_TOLERANCE = 1e-4
"""Cosine between axes: what single-precision affines of rotated scans show."""


def write_nifti(path: Path, voxels: Shaped[np.ndarray, "r a s"], affine: Float[np.ndarray, "4 4"]) -> Path:
    """Write a NIfTI-1 file, gzipped where the name ends in .gz; the same input gives the same bytes.

    Args:
        path: ends in .nii or .nii.gz; its folder is made.
        voxels: in any axis order that the affine describes; no scaling is applied.
        affine: voxel index to RAS+ mm.
    """
    image = nib.Nifti1Image(voxels, affine, dtype=voxels.dtype)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    image.header.set_xyzt_units("mm")
    content = image.to_bytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    # A time of 0 in the gzip header: the bytes depend on the voxels alone.
    path.write_bytes(gzip.compress(content, compresslevel=4, mtime=0) if path.suffix == ".gz" else content)
    return path


def write_dicom_series(
    folder: Path,
    voxels: Shaped[np.ndarray, "r a s"],
    affine: Float[np.ndarray, "4 4"],
    *,
    modality: Literal["CT", "MR", "PT"],
    patient_id: str,
    seed: str,
    study: str = "1",
    plane: Plane = "axial",
    body_part: str = "",
    sex: str = "",
    age: int | None = None,
    year: int = 2020,
    manufacturer: str = "",
    model: str = "",
    site: str = "",
    description: str = "",
) -> list[Path]:
    """Write one series, one file a slice, under names that do not follow the order of the slices.

    Integers are stored exactly (CT as unsigned numbers with an intercept of -1024); floats as 16 bits with a slope
    of each slice's own, as PET scanners do.

    Args:
        folder: made where it is absent.
        voxels: real-world values in RAS+ order; integers must fit 16 bits.
        affine: voxel index to RAS+ mm, axes at right angles.
        modality: CT, MR or PT.
        patient_id: PatientID.
        seed: with `study` and the patient it decides every UID; equal input gives equal bytes.
        study: which of the patient's studies the series belongs to.
        plane: how the slices lie.
        body_part: BodyPartExamined.
        sex: PatientSex.
        age: in years.
        year: of the study.
        manufacturer: of the scanner.
        model: of the scanner.
        site: InstitutionName.
        description: SeriesDescription.

    Raises:
        ValueError: axes that are not at right angles, or integers beyond 16 bits.
    """
    stored, lps = _as_stored(voxels, affine, plane)
    series = _header(modality, patient_id, study, seed)
    series.PatientSex = sex
    if age is not None:
        series.PatientAge = f"{age:03d}Y"
    series.StudyDate = series.SeriesDate = series.AcquisitionDate = f"{year}0101"
    series.BodyPartExamined = body_part
    series.Manufacturer = manufacturer
    series.ManufacturerModelName = model
    series.InstitutionName = site
    series.SeriesDescription = description
    _add_plane(series, lps, stored.shape)
    numbers, scalings = _quantised(stored, CT_INTERCEPT if modality == "CT" else 0)
    series.PixelRepresentation = int(numbers.dtype.kind == "i")
    names = list(range(stored.shape[2]))
    random.Random(hashlib.sha256(seed.encode()).digest()).shuffle(names)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"IM{name:04d}.dcm" for name in names]
    for index, path in enumerate(paths):
        one = Dataset()
        one.update(series)
        one.InstanceNumber = index + 1
        one.SOPInstanceUID = generate_uid(entropy_srcs=[str(series.SeriesInstanceUID), str(index)])
        one.ImagePositionPatient = [_decimal(x) for x in (lps @ [0, 0, index, 1])[:3]]
        if modality == "PT":
            one.ImageIndex = index + 1
        if scalings[index] != (1, 0) or modality != "MR":
            one.RescaleSlope, one.RescaleIntercept = (_decimal(x) for x in scalings[index])
        one.PixelData = np.ascontiguousarray(numbers[:, :, index].T).tobytes()
        _save(path, one)
    return sorted(paths)


def _as_stored(
    voxels: Shaped[np.ndarray, "r a s"], affine: Float[np.ndarray, "4 4"], plane: Plane
) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    """Voxels [column, row, slice], and the affine from these indices to LPS mm."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.abs(directions.T @ directions - np.eye(3)).max() > RIGHT_ANGLE_TOLERANCE:
        raise ValueError("the affine's axes are not at right angles; DICOM cannot hold them")
    orientation = np.zeros((3, 2))
    for place, (axis, sign) in enumerate(STORED_AXES[plane]):
        orientation[axis] = (place, sign)
    stored = nib.orientations.apply_orientation(voxels, orientation)
    return stored, LPS_TO_RAS @ affine @ nib.orientations.inv_ornt_aff(orientation, voxels.shape)


def _quantised(
    values: NDArray[np.generic], intercept: int
) -> tuple[NDArray[np.integer[Any]], list[tuple[float, float]]]:
    """Numbers of 16 bits, and slope and intercept of each slice."""
    if values.dtype.kind == "f":
        peaks = np.abs(values).max(axis=(0, 1))
        # The slope is rounded as the file will hold it, so that writing and reading use the same number.
        slopes = [float(_decimal(peak / 32767)) or 1.0 for peak in peaks]
        return np.rint(values / np.array(slopes)).clip(-32768, 32767).astype("<i2"), [(s, 0.0) for s in slopes]
    numbers = values.astype(np.int64) - intercept
    kind = np.dtype("<u2") if numbers.min() >= 0 else np.dtype("<i2")
    if numbers.min() < np.iinfo(kind).min or numbers.max() > np.iinfo(kind).max:
        raise ValueError(f"values from {values.min()} to {values.max()} do not fit 16 bits")
    return numbers.astype(kind), [(1.0, float(intercept))] * values.shape[2]


def _header(modality: str, patient_id: str, study: str, seed: str) -> Dataset:
    """What all slices share whatever they show: identifiers, and the attributes that the SOP class demands."""
    header = Dataset()
    header.SOPClassUID = SOP_CLASSES[modality]
    header.Modality = modality
    for keyword in TYPE_2:
        setattr(header, keyword, "")
    header.PatientID = patient_id
    header.StudyTime = header.SeriesTime = header.AcquisitionTime = "120000"
    header.StudyInstanceUID = generate_uid(entropy_srcs=["study", patient_id, study])
    header.SeriesInstanceUID = generate_uid(entropy_srcs=["series", patient_id, study, seed])
    header.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame", patient_id, study, seed])
    header.SeriesNumber = 1
    header.PatientPosition = "HFS"
    header.ImageType = ["DERIVED", "PRIMARY", "AXIAL"]
    for keyword, value in DEMANDED[modality].items():
        setattr(header, keyword, value)
    return header


def _add_plane(header: Dataset, lps: NDArray[np.float64], shape: tuple[int, ...]) -> None:
    """Size, spacing and direction of the slices (PS3.3 C.7.6.2 and C.7.6.3)."""
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    directions = lps[:3, :3] / spacing
    header.ImageOrientationPatient = [_decimal(x) for x in (*directions[:, 0], *directions[:, 1])]
    header.PixelSpacing = [_decimal(spacing[1]), _decimal(spacing[0])]
    header.SliceThickness = _decimal(spacing[2])
    header.Columns, header.Rows = shape[0], shape[1]
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit = 15


def _decimal(value: float) -> str:
    """A decimal string (DS) of at most 16 characters: ten digits hold 1e-4 mm over kilometres."""
    return f"{value:.10g}"


def _save(path: Path, dataset: Dataset) -> None:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
