"""What a path says in BIDS: subject, session, and the modality that a file's suffix stands for."""

import re
from pathlib import Path

__all__ = ["bids_modality", "bids_session", "bids_subject"]

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


def _entity(path: Path, name: str) -> str | None:
    for part in reversed(path.parts):
        found = re.match(rf"(?:.*_)?({name}-[A-Za-z0-9]+)(?:[_.]|$)", part)
        if found:
            return found.group(1)
    return None
