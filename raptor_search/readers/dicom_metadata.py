"""What is kept of a DICOM header: an allow-list. Everything else is never read."""

import math
import re
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

from pydicom.dataset import Dataset

from raptor_search.readers.dicom_files import parse_dicom, pydicom_failures
from raptor_search.readers.scan import POOLED_AGE, Identity, ScanMetadata

__all__ = ["dicom_identity", "identity_of", "metadata_of"]

CODE = re.compile(r"[A-Z0-9_ ]{1,16}")
"""A code string (CS, PS3.5 6.2); free text that landed in one is not kept."""

KERNEL = re.compile(r"[A-Za-z0-9_.+\- ]{1,16}")
"""Names of reconstruction kernels, such as B30f, FC08, STANDARD or SOFT TISSUE; longer text is none."""

YEARS_PER_UNIT = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}

MAX_AGE = 130
MAX_TEXT = 64

SERIES_KINDS = {
    **{"MPR": "mpr", "CSA MPR": "mpr", "REFORMATTED": "mpr", "MIP": "mip", "CSA MIP": "mip"},
    **{"MAX_IP": "mip", "MINIP": "minip", "MIN_IP": "minip", "PROJECTION IMAGE": "projection"},
    **{"AVERAGE": "average", "MEAN": "average", "SUBTRACTION": "subtraction", "SUB": "subtraction"},
    **{"ADC": "adc", "APPARENT_DIFFUSION": "adc", "FA": "fa", "TRACEW": "trace", "TRACE": "trace"},
    **{"PHASE": "phase", "P": "phase", "P_FFE": "phase", "PHASE MAP": "phase"},
    **{"WATER": "water", "W": "water", "FAT": "fat", "F": "fat", "IN_PHASE": "in phase", "OUT_PHASE": "out of phase"},
}
"""Words of ImageType that say what an image shows; the first that is met counts (vendors' conformance statements)."""

ORIGINALITY = {"ORIGINAL": "original", "DERIVED": "derived"}


def metadata_of(header: Dataset, places: Sequence[Dataset] = (), *, b_value: float | None = None) -> ScanMetadata:
    """The typed facts; what is absent or malformed is None. Ages are whole years, pooled from 90.

    Args:
        header: of the first file.
        places: the datasets that describe its first image, the most specific first; the header alone where empty.
        b_value: s/mm2 where only a private header says.
    """
    places = places or [header]
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
        series_kind=_series_kind(places),
        slice_thickness_mm=_number(places, "SliceThickness"),
        echo_time_ms=_number(places, "EffectiveEchoTime", "EchoTime"),
        repetition_time_ms=_number(places, "RepetitionTime"),
        inversion_time_ms=_number(places, "InversionTime", "InversionTimes"),
        flip_angle_deg=_number(places, "FlipAngle"),
        b_value=_number(places, "DiffusionBValue") if b_value is None else b_value,
        field_strength_t=_number(places, "MagneticFieldStrength"),
        tube_voltage_kv=_number(places, "KVP"),
        kernel=_kernel(places),
    )


def identity_of(header: Dataset) -> Identity:
    """The raw identifiers, to be hashed and forgotten."""
    return Identity(
        patient=_text(header, "PatientID"),
        study=_text(header, "StudyInstanceUID"),
        series=_text(header, "SeriesInstanceUID"),
        site=_text(header, "InstitutionName"),
    )


def dicom_identity(file: Path) -> Identity:
    """The raw identifiers in the header of one file.

    Raises:
        ReadError: it cannot be parsed.
    """
    header = parse_dicom(file, pixels=False)
    with pydicom_failures("header"):
        return identity_of(header)


def _text(header: Dataset, keyword: str) -> str | None:
    text = str(header.get(keyword) or "").replace("\0", "").strip()
    return text[:MAX_TEXT] if text.isprintable() and text else None


def _code(header: Dataset, keyword: str) -> str | None:
    text = (_text(header, keyword) or "").upper()
    return text if CODE.fullmatch(text) else None


def _one_of(header: Dataset, keywords: tuple[str, ...], values: tuple[str, ...]) -> str | None:
    found = (_code(header, keyword) for keyword in keywords)
    return next((code for code in found if code in values), None)


def _number(places: Sequence[Dataset], *keywords: str) -> float | None:
    """The first number of any of the attributes; None where none is finite."""
    for keyword in keywords:
        for place in places:
            value = place.get(keyword)
            values = [value] if isinstance(value, str | int | float) else list(value or ())
            try:
                number = float(values[0]) if values else math.nan
            except (TypeError, ValueError):
                continue
            if math.isfinite(number):
                return number
    return None


def _kernel(places: Sequence[Dataset]) -> str | None:
    for place in places:
        value = place.get("ConvolutionKernel")
        first = str(value if isinstance(value, str) else next(iter(value or ()), "")).strip()
        if KERNEL.fullmatch(first):
            return first
    return None


def _series_kind(places: Sequence[Dataset]) -> str | None:
    for keyword in ("FrameType", "ImageType"):
        for place in places:
            value = place.get(keyword) or ()
            words = [str(word).strip().upper() for word in ([value] if isinstance(value, str) else value)]
            named = next((SERIES_KINDS[word] for word in words[2:] if word in SERIES_KINDS), None)
            if words:
                return named or ORIGINALITY.get(words[0])
    return None


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
