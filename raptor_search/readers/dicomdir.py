"""The files that a DICOMDIR names (PS3.10 section 8, PS3.3 Annex F), within its own folder."""

from pathlib import Path

from raptor_search.readers.dicom_files import parse_dicom, pydicom_failures

__all__ = ["dicomdir_files", "is_dicomdir"]

DIRECTORY = "1.2.840.10008.1.3.10"

MAX_RECORDS = 1_000_000


def is_dicomdir(path: Path) -> bool:
    """Whether the file is a DICOM directory, by its content.

    Raises:
        ReadError: a malformed DICOM file.
    """
    meta = parse_dicom(path, pixels=False, tags=("SOPClassUID",)).file_meta
    return str(meta.get("MediaStorageSOPClassUID", "")) == DIRECTORY


def dicomdir_files(path: Path) -> tuple[list[Path], int]:
    """The files that the directory names and that are there, sorted; and how many names lead nowhere or elsewhere.

    Raises:
        ReadError: a malformed directory.
    """
    header = parse_dicom(path, pixels=False)
    root = path.parent
    found, absent = set(), 0
    with pydicom_failures("directory"):
        for record in list(header.get("DirectoryRecordSequence") or [])[:MAX_RECORDS]:
            named = record.get("ReferencedFileID")
            if not named:
                continue
            file = _within(root, [named] if isinstance(named, str) else [str(part) for part in named])
            if file is None:
                absent += 1
            else:
                found.add(file)
    return sorted(found), absent


def _within(root: Path, parts: list[str]) -> Path | None:
    """The file of these components, as written or in the case that the disk has them in; None where there is none."""
    if any(part in {"", ".", ".."} or "/" in part or "\\" in part or "\0" in part for part in parts):
        return None
    for spelled in (parts, [part.lower() for part in parts], [part.upper() for part in parts]):
        file = root.joinpath(*spelled)
        if file.is_file() and file.resolve().is_relative_to(root.resolve()):
            return file
    return None
