"""How a row finds its scan: by file, by series, or by participant and session."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from raptor_search.errors import UsageError
from raptor_search.readers.bids import bids_session, bids_subject
from raptor_search.readers.scan import Identity
from raptor_search.readers.source import Source, bare_name

__all__ = ["SERIES_COLUMNS", "Join", "Key", "join_of"]

FILE_COLUMNS = ("file", "filename", "path")
SERIES_COLUMNS = ("series", "series_uid", "series_instance_uid")
PATIENT_COLUMNS = ("participant_id", "participant", "subject", "subject_id", "patient", "patient_id")
SESSION_COLUMNS = ("session_id", "session")

Key = tuple[str, str]
"""What a row is found by: a file or series and "", or a participant and a session."""


@dataclass(frozen=True)
class Join:
    """The columns of one table by which its rows are found; the first that is there serves.

    Attributes:
        file: a path, relative to `folder`, absolute, or the last parts of one.
        series: a SeriesInstanceUID.
        patient: a PatientID or a BIDS subject.
        session: a BIDS session.
        folder: of the table.
    """

    file: str | None
    series: str | None
    patient: str | None
    session: str | None
    folder: Path

    @property
    def columns(self) -> frozenset[str]:
        """Every column that finds a scan, or names the patient, and so is no label."""
        used = () if self.file else (self.series,) if self.series else (self.session,)
        return frozenset((*FILE_COLUMNS, *PATIENT_COLUMNS, *filter(None, used)))

    def row_key(self, row: dict[str, str]) -> Key | None:
        """What a row is found by; None where its cell is empty."""
        if self.file or self.series:
            value = row.get(self.file or self.series or "")
            return (value.replace("\\", "/").removeprefix("./"), "") if value else None
        patient, session = row.get(self.patient or ""), row.get(self.session or "", "")
        return (patient.removeprefix("sub-"), session.removeprefix("ses-")) if patient else None

    def is_bare(self, key: Key) -> bool:
        """Whether a row's key is a file's name without a folder, which files of several folders may have."""
        return self.file is not None and "/" not in key[0]

    def scan_keys(self, source: Source, identity: Identity) -> list[Key]:
        """What a scan may be found by, the most exact first."""
        if self.file:
            return [(name, "") for name in _file_names(source, self.folder)]
        if self.series:
            series = identity.series or (source.member if source.format == "dicom" else None)
            return [(series, "")] if series else []
        session = (bids_session(source.place) or "").removeprefix("ses-")
        patients = [patient for patient in (identity.patient, bids_subject(source.place)) if patient]
        return [(p.removeprefix("sub-"), s) for p in patients for s in dict.fromkeys((session, ""))]


def join_of(path: Path, columns: Sequence[str]) -> Join:
    """How rows of the table at `path` are found.

    Raises:
        UsageError: no column to join on.
    """

    def first(names: Sequence[str]) -> str | None:
        return next((name for name in names if name in columns), None)

    join = Join(
        file=first(FILE_COLUMNS),
        series=first(SERIES_COLUMNS),
        patient=first(PATIENT_COLUMNS),
        session=first(SESSION_COLUMNS),
        folder=path.resolve().parent,
    )
    if not (join.file or join.series or join.patient):
        raise UsageError(
            f"{path.name}: no column to join on; expected one of file, filename, series, participant_id, subject, "
            "patient"
        )
    return join


def _file_names(source: Source, folder: Path) -> list[str]:
    """Every name that may mean the source: from the table's folder, absolute, its last parts, without the ending."""
    path = source.path.resolve()
    outer = _ways(path, folder)
    names = _ways(path / source.inner, folder)
    if source.is_zipped:  # and as hits show it
        names += [f"{name}#{source.inner}" for name in outer]
    elif source.inner:  # the zip's own name means its only scan
        names += [*outer, bare_name(path)]
    if source.format == "npz":
        return [f"{name}#{source.own_member}" for name in names] + [source.own_member]
    return [*names, source.name]


def _ways(path: Path, folder: Path) -> list[str]:
    names = [path.as_posix(), *(PurePath(*path.parts[start:]).as_posix() for start in range(1, len(path.parts)))]
    return [path.relative_to(folder).as_posix(), *names] if path.is_relative_to(folder) else names
