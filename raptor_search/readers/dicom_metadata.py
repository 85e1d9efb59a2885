"""What is kept of a DICOM header: an allow-list. Everything else is never read."""

import re
from datetime import date, datetime

from pydicom.dataset import Dataset

from raptor_search.readers.scan import POOLED_AGE, Identity, ScanMetadata

__all__ = ["identity_of", "metadata_of"]

CODE = re.compile(r"[A-Z0-9_ ]{1,16}")
"""A code string (CS, PS3.5 6.2); free text that landed in one is not kept."""

YEARS_PER_UNIT = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}

MAX_AGE = 130
MAX_TEXT = 64


def metadata_of(header: Dataset) -> ScanMetadata:
    """The typed facts; what is absent or malformed is None. Ages are whole years, pooled from 90."""
    return ScanMetadata(
        modality=_code(header, "Modality"),
        body_part=_code(header, "BodyPartExamined"),
        sex=_one_of(header, ("PatientSex",), ("M", "F", "O")),
        age=_age(header),
        year=_year(header),
        laterality=_one_of(header, ("ImageLaterality", "Laterality"), ("L", "R", "B")),
        contrast_agent=True if _text(header, "ContrastBolusAgent") else None,
        manufacturer=_text(header, "Manufacturer"),
        model=_text(header, "ManufacturerModelName"),
    )


def identity_of(header: Dataset) -> Identity:
    """The raw identifiers, to be hashed and forgotten."""
    return Identity(
        patient=_text(header, "PatientID"),
        study=_text(header, "StudyInstanceUID"),
        series=_text(header, "SeriesInstanceUID"),
        site=_text(header, "InstitutionName"),
    )


def _text(header: Dataset, keyword: str) -> str | None:
    text = str(header.get(keyword) or "").replace("\0", "").strip()
    return text[:MAX_TEXT] if text.isprintable() and text else None


def _code(header: Dataset, keyword: str) -> str | None:
    text = (_text(header, keyword) or "").upper()
    return text if CODE.fullmatch(text) else None


def _one_of(header: Dataset, keywords: tuple[str, ...], values: tuple[str, ...]) -> str | None:
    found = (_code(header, keyword) for keyword in keywords)
    return next((code for code in found if code in values), None)


def _age(header: Dataset) -> float | None:
    """PatientAge ("045Y"), else the years between birth and study."""
    given = re.fullmatch(r"(\d{1,3})([YMWD])", _code(header, "PatientAge") or "")
    if given:
        years = float(int(int(given[1]) * YEARS_PER_UNIT[given[2]]))
    else:
        born, studied = _date(header, "PatientBirthDate"), _date(header, "StudyDate")
        if born is None or studied is None or studied < born:
            return None
        years = float(studied.year - born.year - ((studied.month, studied.day) < (born.month, born.day)))
    return min(years, POOLED_AGE) if years <= MAX_AGE else None


def _year(header: Dataset) -> int | None:
    found = _date(header, "StudyDate") or _date(header, "AcquisitionDate")
    return found.year if found else None


def _date(header: Dataset, keyword: str) -> date | None:
    try:
        return datetime.strptime((_text(header, keyword) or "")[:8], "%Y%m%d").date()
    except ValueError:
        return None
