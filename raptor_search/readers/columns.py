"""Which columns of a table are typed facts, and which look personal and are not kept."""

import re
from collections.abc import Callable, Sequence

from raptor_search.readers.scan import POOLED_AGE

__all__ = ["AGE_COLUMNS", "TYPED_COLUMNS", "column_name", "holds_personal", "is_personal"]

PERSONAL = re.compile(
    r"""
      (^|_)(uu?id|uid|id|mrn|ssn|name|surname|initials|dob|birth\w*|born|date\w*|timestamp)(_|$)
    | (^|_)(dt|datetime|admission|admitted|ward)(_|$) | (^|_)path$ | ^(time|day)$
    | (^|_)(acq|acquisition|scan|study|session|visit|exam|content)_?(time|day)(_|$)
    | (^|_)(patient|subject|participant|study|series|scan|visit)(name|uu?id|uid|id|mrn|date\w*|time|dt)(_|$)
    | (^|_)(address|street|city|zip|postcode|phone|telephone|email|e_mail|contact)(_|$)
    | (^|_)(physician|doctor|operator|radiologist|institution\w*|hospital|accession\w*|comments?|notes?|remarks?)(_|$)
    | (^|_)(patient|subject|case|hospital|insurance|record|file|nhs|hosp|medicare)_?(number|no|num|nr|code|key)(_|$)
    | (^|_)(pid|hospno|passport|forename|lastname|firstname|surnames|consultant|clinician|referr\w+|report\w*)(_|$)
    | (^|_)(dod|death\w*|discharge\w*|postal_?code|postal|freetext|free_text|text|narrative|findings_text)(_|$)
    | ^(first|last|middle)$ | (^|_)(patienten\w*|versich\w*|kvnr|krankenkasse|ueberweiser|pesel|dni|nif)(_|$)
    | (^|_)(nachname|vorname|familienname|geb|gebdat|geburt\w*|datum|\w+datum|fall_?nr|fallnummer|strasse|stra_e)(_|$)
    | (^|_)(plz|wohnort|ort|telefon\w*|arzt|bemerkung\w*|kommentar\w*|befundtext|krankenhaus|klinik|aufnahmetag)(_|$)
    | (^|_)(nom|prenom|pr_nom|naissance|adresse|ville|medecin|m_decin|remarques?|commentaires?|hopital|h_pital)(_|$)
    | (^|_)(nombres?|apellidos?|fecha\w*|nacimiento|direccion|direcci_n|ciudad|medico|m_dico|observaciones)(_|$)
    | (^|_)(nome|cognome|sobrenome|nascita|nascimento|indirizzo|endereco|cidade|citta|codice_fiscale|medica|note)(_|$)
    | (^|_)(naam|voornaam|achternaam|geboorte\w*|adres|woonplaats|bsn|opmerking\w*|tel_?fono|t_?l_?phone)(_|$)
    | ^data(_(di|de|do|da|della|dell)\w*)?$
    """,
    re.VERBOSE,
)
"""Names, identifiers, dates, addresses, people and free text, as words of a column's name, or two run together: in
English, German, French, Spanish, Italian, Portuguese and Dutch; letters beyond a to z read as "_" by then."""

DATE = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](19|20)?\d{2}"
    r"|(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01]))"
    r"([T ]\d{1,2}:\d{2}.*)?"
)
"""A day, as written in most countries or in DICOM, with or without a time."""

LONG_NUMBER = 6
"""Digits from which a column of whole numbers of one length reads as numbers that somebody was given."""

OWN_TEXTS = 10
"""Rows from which a column whose texts are all different reads as names or free text: no label has a class a row."""

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


def holds_personal(cells: Sequence[str]) -> bool:
    """Whether what a column holds looks like dates, e-mail addresses, numbers of people or cases, or free text.

    Args:
        cells: those that say something.
    """
    dates, addresses = (sum(known(cell) for cell in cells) for known in (_is_date, _is_address))
    if 2 * max(dates, addresses) > len(cells):
        return True
    numbers = [re.sub(r"[ /-]", "", cell) for cell in cells]
    lengths = {len(number) for number in numbers}
    if cells and len(lengths) == 1 and max(lengths) >= LONG_NUMBER and all(number.isdecimal() for number in numbers):
        return True
    return OWN_TEXTS <= len(cells) == len(set(cells)) and not any(_is_number(cell) for cell in cells)


def _is_date(cell: str) -> bool:
    return DATE.fullmatch(cell) is not None


def _is_address(cell: str) -> bool:
    return "@" in cell.strip("@")


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


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
