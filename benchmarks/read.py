"""What reading costs beside SimpleITK, how fast headers are looked through, and what a child process adds.

    python benchmarks/read.py [--slices N] [--files N] [--repeats N] [--folder DIR] [--quick] [--json FILE]
    python benchmarks/read.py --child [--pairs N] [--folder DIR] [--json FILE]
    python benchmarks/read.py --series 1000 --folder DIR [--minutes N] [--json FILE]

One scan, a real chest CT of 128 x 128 x 34 resampled to 300 x 512 x 512 with noise of 15 HU (derived: no hospital's
files are compressed like it to the byte), is written as DICOM uncompressed, RLE, JPEG-LS and JPEG 2000, and as
.nii.gz. Both libraries read the same files in this run, in turn, each from a folder (or file) to an array of HU: ours
discovers the series and reads it, SimpleITK sorts it by GDCM's names and reads it. CPU seconds of one thread, the
least of the repeats; wall times are left out, since they tell what else a machine does.

Discovery: 10,000 DICOM files of one slice in 1,000 series, looked through to sources.

Child process: a .nii.gz and an RLE series of about 150 MB on disk (of 32 MB with `--quick`), as `reading_child.py`
measures them; `--child` is that alone. `--series` is the other modes' tree in full, as `reading_series.py` has it.
"""

import argparse
import dataclasses
import json
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
from reading_child import child_overhead
from reading_series import measured_series
from scipy import ndimage

from raptor_search.readers import Source, discover, read
from raptor_search.readers.nrrd import read_nrrd
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
SERIES_BAR = 0.1
SLICES_A_SERIES = 10

LARGE_SLICES = {"nii.gz": 555, "rle": 622}
"""Slices of which 150 MB are made."""

AFFINE = np.diag([0.75, 0.75, 1.1, 1.0])


def derived(slices: int) -> NDArray[np.int16]:
    """The real chest CT, grown and with noise."""
    whole = read_nrrd(Path(str(files("slicerio").joinpath("data/CTChest4.nrrd")))).voxels.astype(np.float32)
    shape = (SIDE, SIDE, slices)
    grown = ndimage.zoom(whole, [side / n for side, n in zip(shape, whole.shape, strict=True)], order=1)
    grown += 15 * np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    return np.clip(np.rint(grown), -1024, 3071).astype(np.int16)


def write_scans(folder: Path, voxels: NDArray[np.int16]) -> dict[str, Path]:
    """The derived scan in every encoding."""
    scans = {name: folder / name for name in SYNTAXES}
    for file in write_dicom_series(
        scans["uncompressed"], voxels, AFFINE, modality="CT", patient_id="BENCH", seed="bench"
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
    nib.save(nib.Nifti1Image(voxels, AFFINE), scans["nii.gz"])
    return scans


def write_large(folder: Path, slices: dict[str, int]) -> dict[str, Path]:
    """Scans of so many slices, for the child process."""
    voxels = derived(max(slices.values()))
    scans = {"nii.gz": folder / "large.nii.gz", "rle": folder / "large-rle"}
    nib.save(nib.Nifti1Image(voxels[:, :, : slices["nii.gz"]], AFFINE), scans["nii.gz"])
    for file in write_dicom_series(
        scans["rle"], voxels[:, :, : slices["rle"]], AFFINE, modality="CT", patient_id="BENCH", seed="large"
    ):
        dataset = pydicom.dcmread(file)
        dataset.BitsStored, dataset.HighBit = 12, 11
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(file)
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


def write_archive(folder: Path, count: int, voxels: NDArray[np.int16] | None = None) -> Path:
    """`count` DICOM files in series of ten, each with its own identifiers, from one series written in full."""
    if voxels is None:
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


def child_report(folder: Path, slices: dict[str, int], pairs: int) -> dict[str, object]:
    found_at = write_large(folder, slices)
    print(
        f"\nchild process: CPU seconds, medians of {pairs} warm pairs; overhead and its quartiles, bar {CHILD_BAR:+.0%}"
    )
    overheads = {name: child_overhead(found(path), pairs) for name, path in found_at.items()}
    for name, one in overheads.items():
        print(
            f"{name:8}{one.megabytes:6.0f} MB  alone {one.here:.2f}  with a child {one.there:.2f}  "
            f"{one.median:+.0%} [{one.low:+.0%}, {one.high:+.0%}]  by the least of each {one.of_least:+.0%}\n"
            f"{'':19}first reading of a fresh child {one.first:.2f}"
        )
    return {
        "child_overhead": max(one.median for one in overheads.values()),
        "child_overhead_by_file": {name: dataclasses.asdict(one) for name, one in overheads.items()},
    }


def series_report(folder: Path, series: int, minutes: float) -> dict[str, object]:
    tree = folder / "archive"
    if not tree.exists():
        # A cube in air: slices without it are alike and are encoded once, so that a thousand series take minutes.
        voxels = np.zeros((32, 32, SLICES_A_SERIES), np.int16)
        voxels[12:16, 12:16, 4:6] = 1000
        write_archive(folder, series * SLICES_A_SERIES, voxels)
    costs = measured_series(tree, folder / "home", minutes)
    print(f"{series:,} series of {SLICES_A_SERIES} slices of 32 x 32 in one tree\n")
    print(f"{'':34}{'wall s':>9}{'CPU s':>9}{'peak MiB':>10}")
    for name, cost in costs.items():
        print(f"{name:34}{cost.wall:9.1f}{cost.cpu:9.1f}{cost.peak_mib:10.0f}  {cost.said}")
    report: dict[str, object] = {"series": {name: dataclasses.asdict(cost) for name, cost in costs.items()}}
    *_, (_, first), (name, second) = costs.items()
    if name == "index, second run":
        report["second_run_ratio"] = second.wall / first.wall
        print(f"\nsecond run over first: {second.wall / first.wall:.3f} (bar {SERIES_BAR})")
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=9, help="readings with and without a child process")
    parser.add_argument("--folder", type=Path, help="where the files are written (2 GB; a temporary folder)")
    parser.add_argument("--quick", action="store_true", help="60 slices, 2,000 files")
    parser.add_argument("--child", action="store_true", help="the child process alone")
    parser.add_argument("--series", type=int, help="so many series in one tree, alone; the files stay in the folder")
    parser.add_argument("--minutes", type=float, default=60, help="after which the first run over them is cut off")
    parser.add_argument("--json", type=Path, help="write the figures")
    given = parser.parse_args()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    if given.series:
        if given.folder is None:
            parser.error("--series needs --folder DIR: the first run takes minutes, and may go on there")
        report = series_report(given.folder, given.series, given.minutes)
    else:
        with tempfile.TemporaryDirectory(prefix="raptor-read-", dir=given.folder) as name:
            report = report_on(Path(name), given)
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n")


def report_on(folder: Path, given: argparse.Namespace) -> dict[str, object]:
    large = dict.fromkeys(LARGE_SLICES, 120) if given.quick else LARGE_SLICES
    if given.child:
        return child_report(folder, large, given.pairs)
    slices, count = (60, 2000) if given.quick else (given.slices, given.files)
    report = measured(folder, slices, count, given.repeats)
    return report | child_report(folder, large, given.pairs)


def measured(folder: Path, slices: int, count: int, repeats: int) -> dict[str, object]:
    scans = write_scans(folder, derived(slices))
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
    return {
        "slices": slices,
        "cpu_seconds": {name: {"ours": mine, "simpleitk": other} for name, (mine, other) in seconds.items()},
        "cpu_ratio_simpleitk": ratios,
        "headers_per_second": max(rates),
        "headers_per_second_median": statistics.median(rates),
    }


if __name__ == "__main__":
    main()
