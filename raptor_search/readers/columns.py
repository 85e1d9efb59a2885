"""Which columns of a table are typed facts, and which look personal and are not kept."""

import re
from collections.abc import Callable

from raptor_search.readers.scan import POOLED_AGE

__all__ = ["AGE_COLUMNS", "TYPED_COLUMNS", "column_name", "is_personal"]

PERSONAL = re.compile(
    r"""
      (^|_)(uu?id|uid|id|mrn|ssn|name|surname|initials|dob|birth\w*|born|date\w*|timestamp)(_|$)
    | (^|_)(dt|datetime|admission|admitted|ward)(_|$) | (^|_)path$ | ^(time|day)$
    | (^|_)(acq|acquisition|scan|study|session|visit|exam|content)_?(time|day)(_|$)
    | (^|_)(patient|subject|participant|study|series|scan|visit)(name|uu?id|uid|id|mrn|date\w*|time|dt)(_|$)
    | (^|_)(address|street|city|zip|postcode|phone|telephone|email|e_mail|contact)(_|$)
    | (^|_)(physician|doctor|operator|radiologist|institution\w*|hospital|accession\w*|comments?|notes?|remarks?)(_|$)
    """,
    re.VERBOSE,
)
"""Names, identifiers, dates, addresses, people and free text, as words of a column's name, or two run together."""

AGE_COLUMNS = frozenset({"patient_age", "patientage", "age_at_scan", "age_years"})
"""Columns that are read as "age", and so pooled as it is."""

MODALITIES = {"PET": "PT", "MRI": "MR", "SPECT": "NM", "XRAY": "DX", "ULTRASOUND": "US"}
"""Everyday names of modalities and their DICOM codes (PS3.3 C.7.3.1.1.1)."""

SEXES = {"m": "M", "male": "M", "f": "F", "female": "F", "o": "O", "other": "O"}
SIDES = {"l": "L", "left": "L", "r": "R", "right": "R", "b": "B", "both": "B", "bilateral": "B"}


def column_name(text: str) -> str:
    """The name as used in filters: "PatientAge" and "Patient age" become "patient_age"."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text.strip())
    return re.sub(r"[^a-z0-9]+", "_", split.lower()).strip("_")


def is_personal(name: str) -> bool:
    """Whether a column looks like a name, an identifier, a date, an address or free text."""
    return PERSONAL.search(name) is not None


def _modality(text: str) -> str:
    code = text.upper()
    return MODALITIES.get(code, code)


def _age(text: str) -> float:
    years = float(text.rstrip("+yY "))
    if not 0 <= years <= 130:
        raise ValueError("an age out of range")
    return min(years, POOLED_AGE)


def _year(text: str) -> int:
    year = int(float(text))
    if not 1900 <= year <= 2200:
        raise ValueError("a year out of range")
    return year


TYPED_COLUMNS: dict[str, tuple[Callable[[str], str | float | int], str]] = {
    "modality": (_modality, "a DICOM code such as CT"),
    "body_part": (lambda text: text.upper(), "a body part such as CHEST"),
    "sex": (lambda text: SEXES[text.lower()], "M, F or O"),
    "age": (_age, "years from 0 to 130"),
    "year": (_year, "a year such as 2021"),
    "laterality": (lambda text: SIDES[text.lower()], "L, R or B"),
    "manufacturer": (lambda text: text, "text"),
    "model": (lambda text: text, "text"),
    "split": (lambda text: text.lower(), "a split such as train"),
}
"""Columns of `ScanMetadata` that a table may give: how a cell is understood, and what is expected of it."""
