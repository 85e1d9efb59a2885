"""Two real scans that are no source of the demo, for `retrieval.py --more`: other people, so independent evidence.

Chosen for being at hand and of nobody else in the demo, before any figure with them was seen. Derived as the demo's
scans are (`indexer/demo/derive.py`, same amplitudes) and kept under `more/` of the demo's folder.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from indexer.demo import DemoArchive, DemoScan
from indexer.demo.derive import antialias, derive
from indexer.demo.plan import SESSIONS, Subject
from indexer.demo.sources import SOURCES, DemoSource
from raptor_search.errors import UsageError
from raptor_search.readers import read_file
from raptor_search.readers.writing import write_nifti

__all__ = ["more_scans"]

GE_SERIES = Path(__file__).parent.parent / "tests" / "data" / "ge_series"
MOSAIC = "tests/data/b0dwiForFmap/b0dwi_for_fmap+00001.dcm"


@dataclass(frozen=True)
class More:
    """One real scan: what the demo says of its sources, and where it lies."""

    source: DemoSource
    path: Path


def more_scans(demo: DemoArchive) -> list[DemoScan]:
    """`SESSIONS` derived scans of each, written where they are not there yet.

    Raises:
        UsageError: the package that carries one is not installed.
    """
    return [scan for number, one in enumerate(_more(), start=len(SOURCES) + 1) for scan in _derived(demo, one, number)]


def _more() -> tuple[More, More]:
    package = find_spec("heudiconv")
    if package is None or not package.submodule_search_locations:
        raise UsageError("heudiconv, whose test data has a mosaic, is not here; `make demo` installs it")
    return (
        More(_source("ge-series-pd", "PDw", "one person (GE sample series)", "20 slices of 7 mm"), GE_SERIES),
        More(
            _source("siemens-epi-b0", "EPI", "one person (Siemens mosaic)", "one b = 0 image, not smoothed"),
            Path(package.submodule_search_locations[0]) / MOSAIC,
        ),
    )


def _source(name: str, sequence: str, people: str, note: str) -> DemoSource:
    return DemoSource(
        name=name,
        package="",
        path="",
        sha256="",
        licence="",
        modality="MR",
        sequence=sequence,
        people=people,
        note=note,
    )


def _derived(demo: DemoArchive, one: More, number: int) -> Iterator[DemoScan]:
    subject = Subject(id=f"more-{number:02d}", number=number, source=one.source, age=0, sex="", site="")
    scans = [
        DemoScan(subject, session, f"more/{one.source.name}-{session}.nii.gz", "nifti", False, one.source.sequence)
        for session in range(1, SESSIONS + 1)
    ]
    if not all(demo.path(scan).is_file() for scan in scans):
        volume = antialias(read_file(one.path)[1].volume)
        for scan in scans:
            rng = np.random.default_rng([demo.plan.seed, number, scan.session])
            made = derive(volume, rng, modality=one.source.modality)
            demo.path(scan).parent.mkdir(parents=True, exist_ok=True)
            write_nifti(demo.path(scan), made.voxels, made.affine)
    yield from scans
