"""What reading costs beside SimpleITK, how fast headers are looked through, and what a child process adds.

    python benchmarks/read.py [--slices N] [--files N] [--repeats N] [--folder DIR] [--quick] [--json FILE]

One scan, a real chest CT of 128 x 128 x 34 resampled to 300 x 512 x 512 with noise of 15 HU (derived: no hospital's
files are compressed like it to the byte), is written as DICOM uncompressed, RLE, JPEG-LS and JPEG 2000, and as
.nii.gz. Both libraries read the same files in this run, in turn, each from a folder (or file) to an array of HU: ours
discovers the series and reads it, SimpleITK sorts it by GDCM's names and reads it. CPU seconds of one thread, the
least of the repeats; wall times are left out, since they tell what else a machine does.

Discovery: 10,000 DICOM files of one slice in 1,000 series, looked through to sources. A second run over an
unchanged archive is not measured here.

Child process: reading, hashing, choosing the window and drawing the preview of the largest files, here and in a
process of a `ReadingPool`; CPU seconds of both processes, voxels summed in the parent. The child's are counted in the
kernel's steps (10 ms as a rule) and each side's least is taken apart, so that differences of a few steps say nothing.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813 - its own documentation's name
from numpy.typing import NDArray
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless, RLELossless
from scipy import ndimage

from raptor_search.intensity import choose_rule
from raptor_search.preview import three_planes
from raptor_search.readers import Source, discover, read
from raptor_search.readers.nrrd import read_nrrd
from raptor_search.readers.pool import ReadingPool
from raptor_search.readers.reading import read_with_digest
from raptor_search.readers.writing import write_dicom_series

SIDE = 512
SYNTAXES: dict[str, UID | None] = {
    "uncompressed": None,
    "rle": RLELossless,
    "jpeg-ls": JPEGLSLossless,
    "jpeg-2000": JPEG2000Lossless,
}
BARS = dict.fromkeys((*SYNTAXES, "nii.gz"), 1.2) | {"rle": 1.0}
"""Our CPU time over SimpleITK's, at most."""

HEADERS_BAR = 2000
CHILD_BAR = 0.15
SLICES_A_SERIES = 10


def write_scans(folder: Path, slices: int) -> dict[str, Path]:
    """The derived scan in every encoding."""
    whole = read_nrrd(Path(str(files("slicerio").joinpath("data/CTChest4.nrrd")))).voxels.astype(np.float32)
    shape = (SIDE, SIDE, slices)
    grown = ndimage.zoom(whole, [side / n for side, n in zip(shape, whole.shape, strict=True)], order=1)
    grown += 15 * np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    voxels = np.clip(np.rint(grown), -1024, 3071).astype(np.int16)
    affine = np.diag([0.75, 0.75, 1.1, 1.0])
    scans = {name: folder / name for name in SYNTAXES}
    for file in write_dicom_series(
        scans["uncompressed"], voxels, affine, modality="CT", patient_id="BENCH", seed="bench"
    ):
        dataset = pydicom.dcmread(file)
        dataset.BitsStored, dataset.HighBit = 12, 11  # as scanners write CT
        dataset.save_as(file)
        for name, syntax in SYNTAXES.items():
            if syntax is not None:
                scans[name].mkdir(exist_ok=True)
                one = pydicom.dcmread(file)
                one.compress(syntax, generate_instance_uid=False)
                one.save_as(scans[name] / file.name)
    scans["nii.gz"] = folder / "scan.nii.gz"
    nib.save(nib.Nifti1Image(voxels, affine), scans["nii.gz"])
    return scans


def found(path: Path) -> Source:
    (source,) = (one for one in discover([path]) if isinstance(one, Source))
    return source


def ours(path: Path) -> NDArray[np.generic]:
    return read(found(path)).volume.voxels


def theirs(path: Path) -> NDArray[np.generic]:
    if not path.is_dir():
        image = sitk.ReadImage(str(path))
    else:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
        image = reader.Execute()
    return np.asarray(sitk.GetArrayViewFromImage(image)).copy()


def summary(voxels: NDArray[np.generic]) -> tuple[int, int, int]:
    """What does not depend on the order of the axes."""
    return int(voxels.min()), int(voxels.max()), int(voxels.sum(dtype=np.int64))


def cpu_seconds(do: Callable[[], object]) -> float:
    started = time.process_time()
    do()
    return time.process_time() - started


def write_archive(folder: Path, count: int) -> Path:
    """`count` DICOM files in series of ten, each with its own identifiers, from one series written in full."""
    voxels = np.random.default_rng(0).integers(0, 1000, (32, 32, SLICES_A_SERIES)).astype(np.int16)
    model = write_dicom_series(folder / "model", voxels, np.eye(4), modality="CT", patient_id="P", seed="model")
    first = pydicom.dcmread(model[0])
    old = str(first.SeriesInstanceUID).encode()
    contents = [(pydicom.dcmread(file).SOPInstanceUID.encode(), file.read_bytes()) for file in model]
    tree = folder / "archive"
    for series in range(count // SLICES_A_SERIES):
        target = tree / f"{series // 100:03d}" / f"{series:06d}"
        target.mkdir(parents=True)
        for number, (instance, content) in enumerate(contents):
            new = [uid[:-6] + b"%06d" % series for uid in (old, instance)]
            renamed = content.replace(old, new[0]).replace(instance, new[1])
            (target / f"IM{number}.dcm").write_bytes(renamed)
    return tree


def child_cpu(pool: ReadingPool) -> float:
    """CPU seconds that the pool's process has used so far."""
    process = pool._idle[0]._process
    assert process is not None
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def here(source: Source) -> None:
    scan, _ = read_with_digest(source)
    three_planes(scan.volume, rule=choose_rule(scan.volume.voxels))
    scan.volume.voxels.sum()


def there(pool: ReadingPool, source: Source) -> None:
    pool.read(source).scan.volume.voxels.sum()


def child_overhead(source: Source, repeats: int) -> tuple[float, float]:
    """CPU seconds here, and with a child (both processes)."""
    alone, shared = [], []
    with ReadingPool() as pool:
        pool.read(source)
        for _ in range(repeats):
            alone.append(cpu_seconds(lambda: here(source)))
            before = child_cpu(pool)
            in_parent = cpu_seconds(lambda: there(pool, source))
            shared.append(in_parent + child_cpu(pool) - before)
    return min(alone), min(shared)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the files are written (1 GB; a temporary folder)")
    parser.add_argument("--quick", action="store_true", help="60 slices, 2,000 files")
    parser.add_argument("--json", type=Path, help="write the figures")
    given = parser.parse_args()
    slices, count = (60, 2000) if given.quick else (given.slices, given.files)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    with tempfile.TemporaryDirectory(prefix="raptor-read-", dir=given.folder) as name:
        report = measured(Path(name), slices, count, given.repeats)
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n")


def measured(folder: Path, slices: int, count: int, repeats: int) -> dict[str, object]:
    scans = write_scans(folder, slices)
    print(f"{slices} x {SIDE} x {SIDE}, derived from a real chest CT; CPU seconds, least of {repeats}\n")
    print(f"{'':14}{'ours':>8}{'SimpleITK':>11}{'ratio':>8}{'bar':>6}")
    ratios, seconds = {}, {}
    for name, path in scans.items():
        ours_s, theirs_s = [], []
        for _ in range(repeats):
            theirs_s.append(cpu_seconds(lambda path=path: theirs(path)))  # type: ignore[misc]
            ours_s.append(cpu_seconds(lambda path=path: ours(path)))  # type: ignore[misc]
        assert summary(ours(path)) == summary(theirs(path)), f"{name}: not the same voxels"
        mine, other = min(ours_s), min(theirs_s)
        ratios[name], seconds[name] = mine / other, (mine, other)
        print(f"{name:14}{mine:8.2f}{other:11.2f}{ratios[name]:8.2f}{BARS[name]:6.1f}")
    tree = write_archive(folder, count)
    rates = [count / cpu_seconds(lambda: sum(1 for _ in discover([tree]))) for _ in range(repeats)]
    print(f"\ndiscovery of {count:,} files: {max(rates):,.0f} files per CPU second (bar {HEADERS_BAR:,})")
    overheads = {}
    for name in ("nii.gz", "rle"):
        alone, shared = child_overhead(found(scans[name]), repeats)
        overheads[name] = shared / alone - 1
        print(f"child process, {name}: {shared:.2f} instead of {alone:.2f} CPU s: {overheads[name]:+.0%} (bar +15%)")
    return {
        "slices": slices,
        "cpu_seconds": {name: {"ours": mine, "simpleitk": other} for name, (mine, other) in seconds.items()},
        "cpu_ratio_simpleitk": ratios,
        "headers_per_second": max(rates),
        "headers_per_second_median": statistics.median(rates),
        "child_overhead": max(overheads.values()),
        "child_overhead_by_file": overheads,
    }


if __name__ == "__main__":
    main()
