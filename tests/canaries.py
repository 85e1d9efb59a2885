"""An archive in which every place that may hold a person's traces holds a token of its own, to be looked for later."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pydicom
from nibabel.nifti1 import Nifti1Extension
from pydicom.datadict import dictionary_VR, keyword_dict
from pydicom.dataset import Dataset

from raptor_search.readers.writing import write_dicom_series
from tests.indexer.scans import AFFINE, blob

TEXT_VRS = {"LO": 60, "SH": 16, "PN": 60, "ST": 200, "LT": 200, "UT": 200, "UC": 200}
"""Kinds of text, and how long a value may be (PS3.5 6.2)."""

KEPT = frozenset({"Manufacturer", "ManufacturerModelName", "ConvolutionKernel"})
"""Text that is kept on purpose: it is the scanner's. Whether one was given is kept of the contrast agent, not which."""

STANDARD = [
    keyword
    for keyword in sorted(keyword_dict)
    if dictionary_VR(keyword) in TEXT_VRS
    and keyword not in KEPT
    and keyword_dict[keyword] >> 16 in {0x0008, 0x0010, 0x0018, 0x0020, 0x0032, 0x0038, 0x0040}
]
"""Standard text attributes of the groups that speak of patients, visits, people and procedures."""

DATES = ("19370217", "20190317", "20190318", "20190319")


class Canaries:
    """Tokens, each used once."""

    def __init__(self) -> None:
        self.tokens: list[str] = []

    def text(self) -> str:
        """A word that occurs nowhere by chance, of 12 letters and digits."""
        number = len(self.tokens)
        self.tokens.append(f"Zq{number:03d}Kx{(number * 7919 + 13) % 99991:05d}")
        return self.tokens[-1]

    def uid(self) -> str:
        """A UID of its own."""
        number = len(self.tokens)
        self.tokens.append(f"2.25.31415926535{number:05d}")
        return self.tokens[-1]

    def date(self, text: str) -> str:
        """A date, which is a token too: only its year may be kept."""
        self.tokens.append(text)
        return text


def planted(folder: Path) -> list[str]:
    """Write the archive; returns every token in it."""
    canaries = Canaries()
    root = folder / canaries.text()
    _dicom(root / canaries.text(), canaries)
    _nifti(root / f"sub-{canaries.text()}" / f"ses-{canaries.date(DATES[3])}", canaries)
    _nrrd(root / canaries.text(), canaries)
    _mha(root / canaries.text(), canaries)
    _refused(root / canaries.text(), canaries)
    names = ["participant_id", "patient_name", "birth_date", "comments", "mrn", "age"]
    cells = [
        f"sub-{canaries.text()}",
        canaries.text(),
        canaries.date("19370218"),
        canaries.text(),
        canaries.text(),
        "95",
    ]
    (root / "participants.tsv").write_text("\t".join(names) + "\n" + "\t".join(cells) + "\n")
    return canaries.tokens


def _dicom(folder: Path, canaries: Canaries) -> None:
    """Two series: tokens in every text attribute, in private ones, in nested sequences, in dates and UIDs."""
    half = len(STANDARD) // 2
    for number, keywords in enumerate((STANDARD[:half], STANDARD[half:])):
        target = folder / canaries.text()
        files = write_dicom_series(target, blob(number), AFFINE, modality="CT", patient_id="p", seed=str(number))
        told = _told(keywords, canaries)
        study, series, name = canaries.uid(), canaries.uid(), canaries.text()
        for slice_number, file in enumerate(files):
            dataset = pydicom.dcmread(file)
            dataset.update(told)
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
            dataset.FrameOfReferenceUID = study + ".1"
            dataset.save_as(target / f"{name}-{slice_number:03d}")
            file.unlink()


def _told(keywords: list[str], canaries: Canaries) -> Dataset:
    told = Dataset()
    for keyword in keywords:
        setattr(told, keyword, canaries.text()[: TEXT_VRS[dictionary_VR(keyword)]])
    told.PatientBirthDate, told.StudyDate = DATES[0], DATES[1]
    told.AcquisitionDate = told.SeriesDate = told.ContentDate = DATES[2]
    for date in DATES[:3]:
        if date not in canaries.tokens:
            canaries.date(date)
    block = told.private_block(0x0011, canaries.text(), create=True)
    for element, vr in enumerate(("LO", "UN", "LT", "PN")):
        text = canaries.text()
        block.add_new(element, vr, text.encode() if vr == "UN" else text)
    inner, middle, outer = Dataset(), Dataset(), Dataset()
    inner.PatientComments, inner.CodeMeaning = canaries.text(), canaries.text()
    middle.ConceptNameCodeSequence, middle.PersonName = [inner], canaries.text()
    outer.ReferencedStudySequence, outer.RequestedProcedureID = [middle], canaries.text()
    told.RequestAttributesSequence = [outer]
    return told


def _nifti(folder: Path, canaries: Canaries) -> None:
    folder.mkdir(parents=True)
    image = nib.Nifti1Image(blob(2), AFFINE, dtype=np.int16)
    for field in ("descrip", "aux_file", "intent_name"):
        image.header[field] = canaries.text()
    image.header["db_name"] = canaries.text()
    image.header.extensions.append(Nifti1Extension("comment", canaries.text().encode()))
    image.header.extensions.append(Nifti1Extension("dicom", canaries.text().encode()))
    nib.save(image, folder / f"{canaries.text()}.nii")


def _nrrd(folder: Path, canaries: Canaries) -> None:
    folder.mkdir(parents=True)
    header = {"content": canaries.text(), "patient": canaries.text(), "operator": canaries.text(), "encoding": "raw"}
    header |= {"space": "left-posterior-superior", "space directions": np.eye(3) * 2}
    nrrd.write(str(folder / f"{canaries.text()}.nrrd"), blob(3), header)


def _mha(folder: Path, canaries: Canaries) -> None:
    folder.mkdir(parents=True)
    voxels = blob(4)
    header = {"ObjectType": "Image", "Comment": canaries.text(), "NDims": "3", "PatientName": canaries.text()}
    header |= {"DimSize": " ".join(map(str, voxels.shape)), "ElementType": "MET_SHORT", "ElementSpacing": "2 2 2"}
    header |= {"Name": canaries.text(), "ElementDataFile": "LOCAL"}
    text = "".join(f"{key} = {value}\n" for key, value in header.items())
    (folder / f"{canaries.text()}.mha").write_bytes(text.encode() + voxels.tobytes(order="F"))


def _refused(folder: Path, canaries: Canaries) -> None:
    """Files of many kinds that cannot be read, each full of tokens."""
    for number, change in enumerate(_damages(canaries)):
        target = folder / canaries.text()
        files = write_dicom_series(target, blob(5 + number), AFFINE, modality="MR", patient_id="p", seed=f"r{number}")
        series = canaries.uid()
        for file in files:
            dataset = pydicom.dcmread(file)
            dataset.PatientName, dataset.PatientID, dataset.SeriesInstanceUID = *(canaries.tokens[-2:]), series
            dataset.save_as(file)
        dataset = pydicom.dcmread(files[6])
        dataset.update(change)
        dataset.save_as(files[6])
        if number % 2:
            files[6].write_bytes(files[6].read_bytes()[: -200 - number])
    (folder / f"{canaries.text()}.nii.gz").write_bytes(gzip.compress(f"{canaries.text()} is no scan".encode()))
    (folder / f"{canaries.text()}.nrrd").write_text(f"NRRD0004\n{canaries.text()}\ntype: {canaries.text()}\n")
    (folder / f"{canaries.text()}.mha").write_text(f"ObjectType = Image\nNDims = {canaries.text()}\n")
    (folder / f"{canaries.text()}.npz").write_bytes(b"PK\x03\x04" + canaries.text().encode())
    (folder / f"{canaries.text()}.dcm").write_bytes(bytes(128) + b"DICM" + canaries.text().encode())
    (folder / f"{canaries.text()}.txt").write_text(canaries.text())


def _damages(canaries: Canaries) -> Iterator[Dataset]:
    """Attributes of one slice that refuse a series, with text where numbers belong among them."""
    for keyword, value in {
        "PixelSpacing": [0, 1],
        "ImageOrientationPatient": [1, 0, 0, 1, 0, 0],
        "PhotometricInterpretation": "RGB",
        "BitsAllocated": 64,
        "Rows": 5,
        "ImagePositionPatient": [900, 900, 900],
        "NumberOfFrames": 7,
        "TransferSyntaxUID": None,
    }.items():
        change = Dataset()
        if value is not None:
            setattr(change, keyword, value)
        change.ImageComments = canaries.text()
        yield change
