"""Which DICOM objects are images of a volume, told from their class and image type; why the others are not."""

from pydicom.dataset import Dataset

from raptor_search.errors import ReadError

__all__ = ["why_no_volume"]

STORAGE = "1.2.840.10008.5.1.4.1.1."

VOLUME_CLASSES = frozenset(
    STORAGE + ending
    for ending in (
        *("2", "4", "128"),  # CT, MR, PET: one slice a file
        *("2.1", "2.2", "4.1", "4.4", "130", "128.1"),  # enhanced and legacy-converted CT, MR, PET: many
        *("20", "13.1.1", "13.1.2", "13.1.3", "4.3", "6.2"),  # NM, 3D X-ray, tomosynthesis, colour MR, 3D ultrasound
    )
)
"""SOP classes that hold volumes (PS3.4 B.5); the last line is refused on reading, not passed over in silence."""

SECONDARY_CAPTURES = tuple(STORAGE + ending for ending in ("7", "7.1", "7.2", "7.3", "7.4"))
"""Mostly screenshots and dose reports; a volume only where the images carry positions."""

DIRECTORY = "1.2.840.10008.1.3.10"

REASONS = {
    STORAGE + "66.4": "DICOM segmentation",
    STORAGE + "66.7": "DICOM segmentation",
    STORAGE + "66.5": "DICOM surface segmentation",
    STORAGE + "88": "DICOM structured report",
    STORAGE + "88.59": "DICOM key object selection",
    STORAGE + "11": "DICOM presentation state",
    STORAGE + "481": "DICOM radiotherapy object",
    STORAGE + "104": "DICOM document",
    STORAGE + "66": "DICOM registration or raw data",
    STORAGE + "9": "DICOM waveform",
    STORAGE + "1": "DICOM radiograph",
    STORAGE + "12": "DICOM angiography",
    STORAGE + "3": "DICOM ultrasound",
    STORAGE + "6": "DICOM ultrasound",
    STORAGE + "77": "DICOM microscopy or photograph",
    STORAGE + "4.2": "DICOM spectroscopy",
}
"""Reasons by the class or by what it begins with; the longest that fits counts."""

REASONS_OF_WORDS = {
    **dict.fromkeys(("LOCALIZER", "SCOUT", "SURVEY", "TOPOGRAM"), "DICOM localizer"),
    **dict.fromkeys(("SCREEN SAVE", "SCREENSHOT", "SCREEN CAPTURE", "SCREEN_SAVE"), "DICOM screenshot"),
    **dict.fromkeys(
        ("DOSE", "DOSE_INFO", "PROTOCOL", "REPORT", "PATIENT PROTOCOL", "CSA REPORT"), "DICOM report image"
    ),
}
"""Words of ImageType, as scanners write them."""


def why_no_volume(header: Dataset) -> str:
    """In a few words why the object is no image of a volume; empty where it is one.

    Raises:
        ReadError: a header without an SOP class.
    """
    # A DICOMDIR names its class in the meta group alone.
    kind = str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "")
    if not kind:
        raise ReadError("unreadable", "the DICOM header names no SOP class: it is damaged")
    if kind == DIRECTORY:
        return "DICOMDIR (the files it names are read)"
    image_type = header.get("ImageType") or []
    words = [str(word).strip().upper() for word in ([image_type] if isinstance(image_type, str) else image_type)]
    if named := next((REASONS_OF_WORDS[word] for word in words if word in REASONS_OF_WORDS), None):
        return named
    if kind in VOLUME_CLASSES or (kind in SECONDARY_CAPTURES and header.get("ImagePositionPatient")):
        return ""
    if kind in SECONDARY_CAPTURES:
        return "DICOM secondary capture"
    fitting = [start for start in REASONS if kind == start or kind.startswith(start + ".")]
    return REASONS[max(fitting, key=len)] if fitting else "DICOM object that is no volume"
