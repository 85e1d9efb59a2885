"""An archive whose vectors carry a label: what evaluation, propagation and maps are tried on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raptor_search.catalog import Catalog, NewVolume, StoredSpec
from raptor_search.keys import ArchiveKey
from raptor_search.searching.publishing import publish
from tests.archives import SPEC

CLASSES = ("adenoma", "cyst", "none")


@dataclass(frozen=True)
class LabelledArchive:
    """What was stored, and where."""

    home: Path
    key: ArchiveKey
    stored: StoredSpec
    ids: tuple[int, ...]
    truth: tuple[str, ...]

    def open(self) -> Catalog:
        return Catalog.open(self.home, self.key)


def labelled_archive(
    home: Path,
    *,
    patients: int = 60,
    labelled: int = 45,
    signal: float = 1.5,
    splits: bool = False,
    source: str = "/scans/{n}.nii.gz",
    patients_known: bool = True,
) -> LabelledArchive:
    """Two scans a patient of one class, the first `labelled` patients with the label "finding"; published."""
    rng = np.random.default_rng(5)
    codes = np.repeat(np.arange(patients) % 3, 2)
    vectors = 4 + signal * rng.normal(size=(3, SPEC.length))[codes]
    vectors += rng.normal(size=(patients, SPEC.length)).repeat(2, axis=0) + 0.3 * rng.normal(size=vectors.shape)
    key = ArchiveKey.load(create=True, home=home)
    ids = []
    with Catalog.open(home, key, mode="write") as catalog:
        stored = catalog.add_spec(SPEC, {})
        for n, code in enumerate(codes.tolist()):
            patient = n // 2
            ids.append(
                catalog.commit_volume(
                    NewVolume(
                        source_key=key.digest("source", f"{n}"),
                        locator=source.format(n=n),
                        size=1,
                        mtime_ns=1,
                        content_key=key.digest("content", f"{n}"),
                        format="nifti",
                        shape=(4, 5, 6),
                        spacing=(1.0, 1.0, 2.0),
                        orientation="RAS",
                        oriented=True,
                        spec_id=stored.id,
                        vector=vectors[n].astype(np.float16),
                        intensity_rule="percentile",
                        labels={"finding": CLASSES[code], "size": f"{code + n / 100:.2f}"}
                        if patient < labelled
                        else {},
                        patient_key=key.digest("patient", f"{patient}") if patients_known else None,
                        manufacturer=("GE", "Siemens")[patient % 2],
                        split=("train", "train", "train", "val", "test")[patient % 5] if splits else None,
                    )
                )
            )
        publish(catalog, home, stored)
    return LabelledArchive(home, key, stored, tuple(ids), tuple(CLASSES[code] for code in codes))
