"""Which scans the demo has: subjects, sessions, file kinds and names, all decided by one seed before any is made."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from indexer.demo.sources import SOURCES, DemoSource

__all__ = ["SESSIONS", "DemoPlan", "DemoScan", "Kind", "Subject", "plan"]

Kind = Literal["nifti", "dicom", "dicom-zip"]

SESSIONS = 6
"""Scans of each subject in the archive."""

DICOM_SUBJECTS = frozenset(
    {
        "icbm-nonlinear-t1",
        "icbm-linear-t2",
        "single-subject-t1",
        "pydeface-mean-t1",
        "fil-pet",
        "slicer-chest-ct",
    }
)
"""Sources whose last session lies there as a DICOM series."""

HELD_OUT: dict[str, tuple[str, Kind]] = {
    "single-subject-t1": ("head-t1.nii.gz", "nifti"),
    "slicer-chest-ct": ("chest-ct-dicom.zip", "dicom-zip"),
}
"""Sources with one scan more, kept beside the archive: its file and kind."""

SITES = ("A", "B", "C")
AGES = (20, 88)

BIDS_NAMES = {
    "T1w": ("anat", "T1w"),
    "T2w": ("anat", "T2w"),
    "PDw": ("anat", "PDw"),
    "EPI": ("func", "bold"),
    "PET": ("pet", "pet"),
    "TX": ("pet", "transmission"),
    "SPECT": ("nm", "spect"),
    "CT": ("ct", "ct"),
}
"""Folder and suffix of each sequence: BIDS's where it has them, customary ones elsewhere."""


@dataclass(frozen=True)
class Subject:
    """One source volume as a participant. Age, sex and site are drawn at random.

    Attributes:
        id: as BIDS has it, "sub-01".
        number: from 1.
        source: what all the subject's scans are derived from.
        age: in years.
        sex: M or F.
        site: one of `SITES`.
    """

    id: str
    number: int
    source: DemoSource
    age: int
    sex: str
    site: str


@dataclass(frozen=True)
class DemoScan:
    """One derived scan.

    Attributes:
        subject: whose it is.
        session: from 1; with the subject's number and the seed it decides the derivation.
        path: from the demo's folder; a folder for a DICOM series.
        kind: how it is written.
        held_out: whether it lies beside the archive.
        sequence: what labels.tsv says, "" where that is left open.
    """

    subject: Subject
    session: int
    path: str
    kind: Kind
    held_out: bool
    sequence: str

    @property
    def source(self) -> DemoSource:
        """The volume that it is derived from."""
        return self.subject.source


@dataclass(frozen=True)
class DemoPlan:
    """Everything that one seed makes."""

    seed: int
    subjects: tuple[Subject, ...]
    scans: tuple[DemoScan, ...]

    @property
    def archived(self) -> tuple[DemoScan, ...]:
        """The scans in the archive, those beside it left out."""
        return tuple(scan for scan in self.scans if not scan.held_out)


def plan(seed: int = 0) -> DemoPlan:
    """The subjects and scans of a demo, grouped by subject, held-out ones last in their group."""
    rng = np.random.default_rng(seed)
    subjects = tuple(_subject(number, source, rng) for number, source in enumerate(SOURCES, start=1))
    scans: list[DemoScan] = []
    for subject in subjects:
        # One scan in six, so that there is something to propose.
        unlabelled = int(rng.integers(1, SESSIONS + 1))
        scans += [_scan(subject, session, unlabelled=session == unlabelled) for session in range(1, SESSIONS + 1)]
        if subject.source.name in HELD_OUT:
            name, kind = HELD_OUT[subject.source.name]
            scans.append(DemoScan(subject, SESSIONS + 1, f"held-out/{name}", kind, True, ""))
    return DemoPlan(seed, subjects, tuple(scans))


def _subject(number: int, source: DemoSource, rng: np.random.Generator) -> Subject:
    return Subject(
        id=f"sub-{number:02d}",
        number=number,
        source=source,
        age=int(rng.integers(*AGES, endpoint=True)),
        sex=str(rng.choice(("F", "M"))),
        site=str(rng.choice(SITES)),
    )


def _scan(subject: Subject, session: int, *, unlabelled: bool) -> DemoScan:
    sequence = subject.source.sequence
    folder = f"archive/{subject.id}/ses-{session:02d}"
    dicom = session == SESSIONS and subject.source.name in DICOM_SUBJECTS
    kind_folder, suffix = BIDS_NAMES[sequence]
    name = "dicom" if dicom else f"{kind_folder}/{subject.id}_ses-{session:02d}_{suffix}.nii.gz"
    return DemoScan(
        subject=subject,
        session=session,
        path=f"{folder}/{name}",
        kind="dicom" if dicom else "nifti",
        held_out=False,
        sequence="" if unlabelled else sequence,
    )
