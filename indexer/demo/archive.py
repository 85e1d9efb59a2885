"""The demo archive on disk: real files as a hospital or a lab has them, every one derived from a real volume.

    FOLDER/demo.json     what made it: written first, marked complete last
    FOLDER/archive/      BIDS-like: sub-XX/ses-YY/..., NIfTI and DICOM series, with tables and a README
    FOLDER/held-out/     two scans that are not in the archive, to search with

One seed gives the same bytes. A subject is a source volume: all its scans are derived from that one.
"""

import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal, cast

import numpy as np
from jaxtyping import Float, Shaped

from indexer.demo.derive import antialias, derive
from indexer.demo.documents import write_documents
from indexer.demo.plan import DemoPlan, DemoScan, plan
from indexer.demo.sources import load
from raptor_search.errors import UsageError
from raptor_search.readers.writing import Plane, write_dicom_series, write_nifti
from raptor_search.volume import Volume

__all__ = ["DemoArchive", "build_demo"]

VERSION = 1
"""Of what `build_demo` writes; raised whenever one seed gives other bytes."""

Progress = Callable[[int, int], None]
"""Called after each scan with the scans done and the scans in all."""

PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
ZIP_DATE = (2020, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class DemoArchive:
    """A demo on disk.

    Attributes:
        folder: that holds the archive and the held-out scans.
        plan: what each scan is.
    """

    folder: Path
    plan: DemoPlan

    @property
    def root(self) -> Path:
        """The folder to index: the scans with their tables."""
        return self.folder / "archive"

    @property
    def scans(self) -> tuple[DemoScan, ...]:
        """The scans in the archive."""
        return self.plan.archived

    @property
    def held_out(self) -> tuple[DemoScan, ...]:
        """The scans beside it: a NIfTI file and a zip of a DICOM series."""
        return tuple(scan for scan in self.plan.scans if scan.held_out)

    @property
    def tables(self) -> tuple[Path, ...]:
        """participants.tsv and labels.tsv."""
        return self.root / "participants.tsv", self.root / "labels.tsv"

    def path(self, scan: DemoScan) -> Path:
        """Where a scan lies: a file, or the folder of a DICOM series."""
        return self.folder / scan.path


def build_demo(folder: Path, *, seed: int = 0, progress: Progress | None = None) -> DemoArchive:
    """Make the demo in a folder, or find the complete one that is there; a build cut short starts again.

    Args:
        folder: made where it is absent.
        seed: of every choice.
        progress: called after each scan that is made.

    Raises:
        UsageError: a package of the sources is missing, the folder cannot be written, or holds something else.
    """
    demo = DemoArchive(folder, plan(seed))
    try:
        if not _complete(demo):
            _build(demo, progress)
    except OSError as error:
        raise UsageError(
            f"{folder}: the demo cannot be written there: {error.strerror}; choose another folder"
        ) from error
    return demo


def _complete(demo: DemoArchive) -> bool:
    """Whether the folder holds this demo whole; False where there is nothing or a build that was cut short."""
    marker = demo.folder / "demo.json"
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if demo.root.exists() and any(demo.root.iterdir()):
            raise UsageError(f"{demo.root} exists and is no demo; choose another folder") from None
        return False
    except ValueError as error:
        raise UsageError(f"{marker} is damaged; delete {demo.folder} or choose another folder") from error
    if not isinstance(found, dict) or found.get("version") != VERSION or found.get("seed") != demo.plan.seed:
        raise UsageError(
            f"{demo.folder} holds a demo of another version or seed, expected version {VERSION} and "
            f"seed {demo.plan.seed}; delete it or choose another folder"
        )
    return found.get("complete") is True and all(demo.path(scan).exists() for scan in demo.plan.scans)


def _build(demo: DemoArchive, progress: Progress | None) -> None:
    demo.root.mkdir(parents=True, exist_ok=True)
    _mark(demo, complete=False)
    done = 0
    for subject, scans in groupby(demo.plan.scans, key=lambda scan: scan.subject):
        volume = antialias(load(subject.source))
        for scan in scans:
            rng = np.random.default_rng([demo.plan.seed, subject.number, scan.session])
            _write(demo.path(scan), scan, derive(volume, rng, modality=subject.source.modality))
            done += 1
            if progress is not None:
                progress(done, len(demo.plan.scans))
    write_documents(demo.root, demo.plan)
    _mark(demo, complete=True)


def _mark(demo: DemoArchive, *, complete: bool) -> None:
    text = json.dumps({"version": VERSION, "seed": demo.plan.seed, "complete": complete}) + "\n"
    written = demo.folder / "demo.json.new"
    written.write_text(text, encoding="utf-8")
    written.replace(demo.folder / "demo.json")


def _write(path: Path, scan: DemoScan, volume: Volume) -> None:
    if scan.kind == "nifti":
        # Many converters store the patient's left first; a reader must turn it back.
        voxels, affine = _left_first(volume) if scan.session % 2 == 0 else (volume.voxels, volume.affine)
        write_nifti(path, voxels, affine)
    elif scan.kind == "dicom":
        _write_series(path, scan, volume)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            _write_series(Path(folder), scan, volume)
            _zip(path, sorted(Path(folder).iterdir()))


def _left_first(volume: Volume) -> tuple[Shaped[np.ndarray, "l a s"], Float[np.ndarray, "4 4"]]:
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = volume.voxels.shape[0] - 1
    return volume.voxels[::-1], volume.affine @ flip


def _write_series(folder: Path, scan: DemoScan, volume: Volume) -> None:
    subject, source = scan.subject, scan.source
    write_dicom_series(
        folder,
        volume.voxels,
        volume.affine,
        modality=cast("Literal['CT', 'MR', 'PT']", source.modality),
        patient_id=subject.id,
        seed=f"{source.name} {scan.session}",
        study=f"ses-{scan.session:02d}",
        plane="axial" if source.modality == "CT" else PLANES[subject.number % 3],
        body_part=source.body_part,
        sex=subject.sex,
        age=subject.age,
        site=subject.site,
        description=f"derived from {source.name}",
    )


def _zip(path: Path, files: list[Path]) -> None:
    """Files at fixed times: the same scan gives the same bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.writestr(zipfile.ZipInfo(f"series/{file.name}", ZIP_DATE), file.read_bytes(), zipfile.ZIP_DEFLATED)
