"""What a path says in BIDS: subject, session, and the modality that a file's suffix stands for."""

import re
from collections.abc import Callable
from pathlib import Path

__all__ = ["bids_dataset", "bids_modality", "bids_session", "bids_subject", "kept_session"]

DATASET_FILES = ("dataset_description.json", "participants.tsv")
"""What lies at the root of a data set."""

DERIVATIVES = "derivatives"
"""The folder of a data set that holds others about the same participants."""

LOOKS_LIKE_A_DATE = re.compile(r"\d{6,}")
MAX_SESSION = 16

MODALITY_OF_SUFFIX = {
    **dict.fromkeys(("t1w", "t2w", "pdw", "flair", "t2starw", "t2star", "inplanet1", "inplanet2", "angio"), "MR"),
    **dict.fromkeys(("bold", "sbref", "dwi", "epi", "asl", "m0scan", "swi", "unit1", "mp2rage"), "MR"),
    "pet": "PT",
    "ct": "CT",
}
"""BIDS suffixes, lower case, and the DICOM code of each (suffixes.yaml of the BIDS schema; CT is customary)."""


def bids_subject(path: Path) -> str | None:
    """The subject, "sub-01", as the innermost part of the path has it; None where no part does."""
    return _entity(path, "sub")


def bids_session(path: Path) -> str | None:
    """The session, "ses-1", as the innermost part of the path has it; None where no part does."""
    return _entity(path, "ses")


def bids_modality(path: Path) -> str | None:
    """The DICOM code that the suffix of "sub-01_T1w.nii.gz" stands for; None for names that are not BIDS."""
    stem = path.name.partition(".")[0].lower()
    return MODALITY_OF_SUFFIX.get(stem.rpartition("_")[2]) if stem.startswith("sub-") else None


def bids_dataset(path: Path, on_disk: Callable[[Path], Path] = Path) -> str | None:
    """The root of the data set that a path lies in; None where nothing marks one.

    Participants of two data sets may share a name; those of a data set and of its derivatives are the same. Where
    nothing marks a data set a name counts everywhere: two patients taken for one are left out of a search together,
    one patient taken for two would be found as if it were another.

    Args:
        path: of a scan, which need not lie there.
        on_disk: where each folder above it lies, such as those in a zip.
    """
    for folder in path.absolute().parents:
        if any((on_disk(folder) / name).is_file() for name in DATASET_FILES):
            places = folder.parts
            if DERIVATIVES in places:
                return str(Path(*places[: places.index(DERIVATIVES)]))
            return str(folder)
    return None


def kept_session(session: str | None) -> str | None:
    """The session as metadata; None for one that is too long, or that holds what may be a date."""
    name = (session or "").removeprefix("ses-")
    return name if name and len(name) <= MAX_SESSION and not LOOKS_LIKE_A_DATE.search(name) else None


def _entity(path: Path, name: str) -> str | None:
    for part in reversed(path.parts):
        found = re.match(rf"(?:.*_)?({name}-[A-Za-z0-9]+)(?:[_.]|$)", part)
        if found:
            return found.group(1)
    return None
