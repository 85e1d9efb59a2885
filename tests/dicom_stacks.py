"""Stored slices written as a DICOM series in any direction and syntax: the tests' own writer, not the product's."""

import random
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEGLossless,
    JPEGLosslessSV1,
    generate_uid,
)

from tests.real_slices import DATA

CODESTREAMS = {HTJ2KLossless: "htj2k", JPEGLossless: "jpeg-lossless", JPEGLosslessSV1: "jpeg-lossless"}
"""Syntaxes that pydicom cannot write: frames of `ct_stack`, encoded beforehand."""


@dataclass(frozen=True)
class Acquisition:
    """How slices lie: LPS directions, spacings in mm, and the way from one slice to the next."""

    row: NDArray[np.float64]
    column: NDArray[np.float64]
    between_columns: float
    between_rows: float
    step: NDArray[np.float64]
    first: NDArray[np.float64]

    def point(self, k: int, r: int, c: int) -> NDArray[np.float64]:
        """Where the centre of a pixel lies, LPS mm (PS3.3 C.7.6.2.1.1)."""
        along = c * self.between_columns * self.row + r * self.between_rows * self.column
        return self.first + k * self.step + along


def acquisition(
    row: tuple[float, ...], column: tuple[float, ...], *, gap: float = 8.0, tilt_rows: int = 0, turn: bool = False
) -> Acquisition:
    """Pixels of 2.5 x 3 mm in these directions; with `tilt_rows` each slice begins that many rows further."""
    directions = np.array([row, column])
    if turn:
        directions = directions @ np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0].T
    row_, column_ = directions
    step = gap * np.cross(row_, column_) + tilt_rows * 3.0 * column_
    return Acquisition(row_, column_, 2.5, 3.0, step, np.array([-61.25, 40.5, -17.125]))


def write_stack(
    folder: Path,
    stored: NDArray[np.integer],
    lie: Acquisition,
    syntax: UID = ExplicitVRLittleEndian,
    *,
    intercept: int = 0,
    modality: str = "CT",
) -> list[Path]:
    """One file a slice, under shuffled names; instance numbers are shuffled too. The files in order of the slices."""
    folder.mkdir(parents=True)
    names = list(range(len(stored)))
    random.Random(7).shuffle(names)
    frames = _codestreams(syntax)
    paths = []
    for k, image in enumerate(stored):
        one = Dataset()
        ending = {"CT": "2", "MR": "4"}[modality]
        one.SOPClassUID, one.SOPInstanceUID = f"1.2.840.10008.5.1.4.1.1.{ending}", generate_uid()
        one.SeriesInstanceUID, one.Modality, one.InstanceNumber = "1.2.3.4", modality, names[k]
        one.ImagePositionPatient = [f"{x:.10g}" for x in lie.first + k * lie.step]
        one.ImageOrientationPatient = [f"{x:.10g}" for x in (*lie.row, *lie.column)]
        one.PixelSpacing = [lie.between_rows, lie.between_columns]
        one.RescaleSlope, one.RescaleIntercept = 1, intercept
        one.Rows, one.Columns = image.shape
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        bits = 8 * image.dtype.itemsize
        one.BitsAllocated, one.BitsStored, one.HighBit = bits, bits, bits - 1
        one.PixelRepresentation = int(image.dtype.kind == "i")
        one.ensure_file_meta()
        paths.append(folder / f"{names[k]:04d}.dcm")
        _save(paths[-1], one, image, syntax, frames[k] if frames else None)
    return paths


def _save(path: Path, one: Dataset, image: NDArray[np.integer], syntax: UID, frame: bytes | None) -> None:
    plain = frame is None and not syntax.is_encapsulated
    swapped = image.astype(image.dtype.newbyteorder(">" if syntax == ExplicitVRBigEndian else "<"))
    one.PixelData = encapsulate([frame]) if frame is not None else swapped.tobytes()
    one["PixelData"].VR = "OB" if frame is not None or image.itemsize == 1 else "OW"
    one["PixelData"].is_undefined_length = frame is not None
    one.file_meta.TransferSyntaxUID = syntax if plain or frame is not None else ExplicitVRLittleEndian
    if not plain and frame is None:
        one.compress(syntax, generate_instance_uid=False)
    one.save_as(path, enforce_file_format=True)


def _codestreams(syntax: UID) -> list[bytes]:
    if syntax not in CODESTREAMS:
        return []
    with zipfile.ZipFile(DATA / "codestreams" / f"{CODESTREAMS[syntax]}.zip") as archive:
        return [archive.read(name) for name in sorted(archive.namelist())]


def enhanced(path: Path, files: list[Path]) -> Path:
    """The slices of a CT series as one enhanced CT file (PS3.3 A.38), frames in the order of `files`."""
    slices = [pydicom.dcmread(file) for file in files]
    whole, shared = slices[0], Dataset()
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    whole.NumberOfFrames = len(slices)
    for sequence, keywords in {
        "PixelMeasuresSequence": ("PixelSpacing",),
        "PlaneOrientationSequence": ("ImageOrientationPatient",),
        "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    }.items():
        item = Dataset()
        for keyword in keywords:
            item[keyword] = whole[keyword]
            delattr(whole, keyword)
        setattr(shared, sequence, [item])
    shared.PixelMeasuresSequence[0].SliceThickness = 8
    whole.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for one in slices:
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = one.ImagePositionPatient
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    del whole.ImagePositionPatient
    whole.PerFrameFunctionalGroupsSequence = frames
    whole.PixelData = b"".join(one.PixelData for one in slices)
    whole.save_as(path)
    return path
