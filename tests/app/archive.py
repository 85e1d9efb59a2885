"""A small archive for the pages: drawn vectors under a spec of the packaged encoder, with pictures and labels."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from raptor_search.archive import Archive
from raptor_search.catalog import NewVolume, writer_lock
from raptor_search.encoders import load_encoder, spec_for
from raptor_search.preview import three_planes
from raptor_search.readers import content_digest, read_file
from raptor_search.specs import PRESETS
from tests.indexer.scans import write_scan

KINDS = ("T1w", "T2w", "bold")
PATIENTS = 12
SCANS_EACH = 3
UNLABELLED_SESSION = 2
FEW_SLICES = replace(PRESETS["default"], preset="custom", slices_per_plane=2)
CANARY = "<img src=x onerror=alert(1)> **bold** $x$ :red[no]"
"""A label that must be shown as it is."""


@dataclass(frozen=True)
class SmallArchive:
    """Where it lies, and a scan file that is one of its volumes."""

    home: Path
    key_file: Path
    scan: Path
    scan_case: int


def make(folder: Path) -> SmallArchive:
    """Fill a new archive: a patient's scans share a `kind` and lie close together; the last one has no label."""
    home, rng = folder / "home", np.random.default_rng(5)
    with Archive.open(home, create=True) as archive, writer_lock(home):
        encoder = load_encoder("efficientnet-lite0")
        stored = archive.catalog.add_spec(spec_for(encoder, FEW_SLICES, components=10), {})
        archive.use_encoder(stored, encoder)
        scan = write_scan(folder / "sub-99_T1w.nii.gz", seed=7)
        source, read = read_file(scan)
        png, own = three_planes(read.volume), archive.embed(read.volume).vector
        centres = own + rng.normal(0, own.std(), (len(KINDS), own.size)).astype(np.float32)
        for patient in range(PATIENTS):
            kind = patient % len(KINDS)
            for session in range(SCANS_EACH):
                near = rng.normal(0, own.std() / 2, own.size).astype(np.float32)
                archive.catalog.commit_volume(_volume(archive, patient, session, centres[kind] + near, png))
        digest = archive.key.digest("content", content_digest(source))
        own_scan = replace(_volume(archive, 99, 0, own, png, content_key=digest), locator=str(scan))
        case = archive.catalog.commit_volume(own_scan)
        archive.catalog.quarantine(
            archive.key.digest("source", "/scans/sub-77/bad.zip#1.2.840.77"),
            locator="/scans/sub-77/bad.zip#1.2.840.77",
            size=3,
            mtime_ns=1,
            code="not-3d",
            reason="4D with 120 volumes; expected 3D",
        )
        archive.publish()
    return SmallArchive(home, archive.key.path, scan, case)


def add_copy(small: SmallArchive, case: int) -> int:
    """File a scan of patient 0 that equals a case byte by byte; gives the copy's case."""
    with Archive.open(small.home) as archive, writer_lock(small.home):
        catalog = archive.catalog
        vector = catalog.vectors([case], archive.spec().id)[0]
        png, key = catalog.preview(case), catalog.volume(case).content_key
        assert png is not None
        return catalog.commit_volume(_volume(archive, 0, 9, vector.astype(np.float32), png, content_key=key))


def _volume(
    archive: Archive,
    patient: int,
    session: int,
    vector: Float32[np.ndarray, " length"],
    png: bytes,
    content_key: str | None = None,
) -> NewVolume:
    key, name = archive.key, f"sub-{patient:02d}/ses-{session}"
    labels = {} if session == UNLABELLED_SESSION else {"kind": KINDS[patient % len(KINDS)]}
    if patient == 0 and session == 0:
        labels["remark"] = CANARY
    return NewVolume(
        source_key=key.digest("source", name),
        locator=f"/scans/{name}.nii.gz",
        size=1,
        mtime_ns=1,
        content_key=content_key or key.digest("content", name),
        format="nifti",
        shape=(20, 24, 18),
        spacing=(2.0, 2.0, 2.0),
        orientation="RAS",
        oriented=True,
        spec_id=archive.spec().id,
        vector=vector,
        intensity_rule="percentile",
        labels=labels,
        preview=png,
        patient_key=key.digest("patient", f"sub-{patient:02d}"),
        modality="MR" if patient % 4 else "CT",
        body_part="HEAD",
        sex="F" if patient % 2 else "M",
        age=30.0 + patient,
    )
