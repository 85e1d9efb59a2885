"""Seeded damage to real scans, and what becomes of it: `make fuzz`.

    python -m tests.readers.fuzz [--count 5000] [--seed 0] [--workers N]

Each mutant is a copy of a real scan (a crop of the ICBM template, written in every format and in several transfer
syntaxes) with bytes cut off, replaced, removed, doubled or set to extremes. Every one must
be read or refused within 30 seconds and 4 GiB, by a listed code, and leave this process alive.
"""

import argparse
import gzip
import resource
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pydicom
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from raptor_search.errors import READ_CODES, ReadError, UsageError
from raptor_search.readers.limits import Limits
from raptor_search.readers.pool import ReadingPool
from raptor_search.readers.writing import write_dicom_series

TEMPLATE = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
"""A real T1 template inside the package nilearn."""

CUTS = 50

EXTREMES = (b"\0", b"\xff", b"\x7f", b"\x80")


def originals(folder: Path) -> dict[str, Path]:
    """A real scan in every format, by name: files, and folders of DICOM slices."""
    whole = nib.load(str(files("nilearn").joinpath(TEMPLATE)))  # type: ignore[attr-defined]
    voxels = np.asarray(whole.dataobj[80:112, 100:132, 90:102]).astype(np.int16)  # type: ignore[attr-defined]
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    made = {name: folder / name for name in ("nifti-gz.nii.gz", "nifti.nii", "nrrd.nrrd", "mha.mha", "npz.npz")}
    nib.save(nib.Nifti1Image(voxels, affine), made["nifti.nii"])
    made["nifti-gz.nii.gz"].write_bytes(gzip.compress(made["nifti.nii"].read_bytes(), mtime=0))
    nrrd.write(str(made["nrrd.nrrd"]), voxels, {"space": "RAS", "space directions": affine[:3, :3]})
    sizes = " ".join(map(str, voxels.shape))
    header = f"NDims = 3\nDimSize = {sizes}\nElementSpacing = 1 1 2\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    made["mha.mha"].write_bytes(f"ObjectType = Image\n{header}".encode() + voxels.tobytes(order="F"))
    np.savez_compressed(made["npz.npz"], train_images=voxels[None], train_labels=np.array([[1]]))
    scans = {path.name.partition(".")[0]: path for path in made.values()}
    for name, syntax in (
        ("dicom", None),
        ("dicom-rle", RLELossless),
        ("dicom-jpeg-ls", JPEGLSLossless),
        ("dicom-jpeg-2000", JPEG2000Lossless),
        ("dicom-deflated", DeflatedExplicitVRLittleEndian),
    ):
        target = folder / name
        write_dicom_series(target, voxels, affine, modality="MR", patient_id="p", seed="fuzz")
        for file in target.iterdir():
            dataset = pydicom.dcmread(file)
            if syntax is not None and syntax.is_encapsulated:
                dataset.compress(syntax, generate_instance_uid=False)
            elif syntax is not None:
                dataset.file_meta.TransferSyntaxUID = syntax
            dataset.save_as(file)
        scans[name] = target
    with zipfile.ZipFile(folder / "zip.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(made["nifti.nii"], "scan.nii")
    return scans | {"zip": folder / "zip.zip"}


def damaged(path: Path, target: Path, content: bytes) -> Path:
    """A copy of a scan at `target` with these bytes as the file, or as one slice of its series."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        target = target.with_name(target.name + "".join(path.suffixes))
        target.write_bytes(content)
        return target
    target.mkdir()
    for number, file in enumerate(sorted(path.iterdir())):
        (target / file.name).write_bytes(content if number == 4 else file.read_bytes())
    return target


def attacked(path: Path) -> bytes:
    """The bytes of a scan that are damaged: of its file, or of one slice of its series."""
    return path.read_bytes() if path.is_file() else sorted(path.iterdir())[4].read_bytes()


def cuts(path: Path, folder: Path) -> Iterator[Path]:
    """The scan cut at each fiftieth of its length."""
    content = attacked(path)
    for part in range(CUTS):
        yield damaged(path, folder / str(part), content[: len(content) * part // CUTS])


def mutants(scans: dict[str, Path], folder: Path, *, count: int, seed: int) -> Iterator[Path]:
    """Copies of the scans in turn, each with one to four seeded wounds; half of these within the first 600 bytes."""
    names = sorted(scans)
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        path = scans[names[number % len(names)]]
        content = attacked(path)
        for _ in range(int(rng.integers(1, 5))):
            content = wounded(content, rng)
        yield damaged(path, folder / f"{number:06d}-{names[number % len(names)]}", content)


def wounded(content: bytes, rng: np.random.Generator) -> bytes:
    reach = min(len(content), 600) if rng.integers(2) else len(content)
    place, length = int(rng.integers(0, max(reach, 1))), int(rng.integers(1, 32))
    match int(rng.integers(0, 6)):
        case 0:
            return content[:place]
        case 1:
            return content[:place] + rng.bytes(length) + content[place + length :]
        case 2:
            return content[:place] + content[place + length :]
        case 3:
            return content[: place + length] + content[place:]
        case 4:
            extreme = EXTREMES[int(rng.integers(0, len(EXTREMES)))] * int(rng.integers(1, 9))
            return content[:place] + extreme + content[place + len(extreme) :]
        case _:
            flipped = bytes([content[place] ^ 1 << int(rng.integers(0, 8))]) if place < len(content) else b""
            return content[:place] + flipped + content[place + 1 :]


def main() -> int:
    parser = argparse.ArgumentParser(description="Read seeded mutants of real scans, and say what became of them.")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    limits = Limits(seconds=30)
    outcomes: Counter[str] = Counter()
    worst: list[tuple[float, str, str]] = []
    unlisted = []

    def read(path: Path) -> tuple[str, str, float]:
        started = time.perf_counter()
        try:
            pool.read_file(path)
            outcome, message = "read", ""
        except (ReadError, UsageError) as error:
            outcome, message = error.code, error.message
        seconds = time.perf_counter() - started
        for file in [*path.iterdir()] if path.is_dir() else [path]:
            file.unlink()
        return outcome, message, seconds

    with (
        tempfile.TemporaryDirectory(prefix="raptor-fuzz-") as name,
        ReadingPool(given.workers, limits=limits) as pool,
        ThreadPoolExecutor(given.workers) as threads,
    ):
        scans = originals(Path(name))
        drawn = mutants(scans, Path(name) / "mutants", count=given.count, seed=given.seed)
        while batch := [path for _, path in zip(range(8 * given.workers), drawn, strict=False)]:
            for path, (outcome, message, seconds) in zip(batch, threads.map(read, batch), strict=True):
                outcomes[outcome] += 1
                worst = sorted([*worst, (seconds, path.name, outcome)], reverse=True)[:5]
                if outcome not in {"read", "usage", *READ_CODES} or (outcome != "read" and not message):
                    unlisted.append((path.name, outcome))
                if outcome in {"decoder-crashed", "timed-out"}:
                    print(f"{path.name}: {outcome}: {message}", flush=True)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{sum(outcomes.values())} mutants, seed {given.seed}, of {len(scans)} scans derived from one real volume")
    for outcome, count in outcomes.most_common():
        print(f"  {outcome:16} {count}")
    print("slowest: " + ", ".join(f"{path} {seconds:.2f} s ({outcome})" for seconds, path, outcome in worst))
    print(f"largest reading process {children.ru_maxrss / 1024:.0f} MiB, {children.ru_utime:.0f} CPU-s in all")
    for name, outcome in unlisted:
        print(f"NOT LISTED: {name}: {outcome}")
    return int(bool(unlisted) or worst[0][0] > limits.seconds + 5)


if __name__ == "__main__":
    sys.exit(main())
