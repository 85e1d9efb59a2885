"""Seeded damage to real scans, and what becomes of it: `make fuzz`.

    python -m tests.readers.fuzz [--count 5000] [--first 0] [--seed 0] [--workers N]

Each mutant is a copy of a real scan (a crop of the ICBM template, written in every format and in several transfer
syntaxes) with bytes cut off, replaced, removed, doubled or set to extremes. Every one must be read or refused within
30 seconds and 4 GiB, by a listed code and a sentence, be left as it was, and leave this process alive: its exit status
is 0 only where all of that was seen. `--first` begins at a later mutant, so that one run can be cut into pieces.

Before them come the bombs of `hostile.py`, each by itself: refused within 2 seconds and 512 MiB. Seconds are counted
by the clock on the wall, so that a busy machine counts against the reader.
"""

import argparse
import gzip
import hashlib
import re
import resource
import shutil
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from itertools import islice
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pydicom
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from raptor_search.errors import READ_CODES, ReadError, UsageError
from raptor_search.readers.pool import ReadingPool
from raptor_search.readers.writing import write_dicom_series
from tests.readers.hostile import BOMBS, HOSTILE

TEMPLATE = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
"""A real T1 template inside the package nilearn."""

CUTS = 50

SECONDS = 30.0
MEMORY = 4 * 2**30
"""What reading any file may take."""

BOMB_SECONDS = 2.0
BOMB_MEMORY = 512 * 2**20
"""What refusing a bomb may take."""

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
    dated = made["nrrd.nrrd"].read_bytes()  # in its comments: the same seed must give the same bytes
    made["nrrd.nrrd"].write_bytes(re.sub(rb"(?m)^# .*\n", b"", dated[:400]) + dated[400:])
    sizes = " ".join(map(str, voxels.shape))
    header = f"NDims = 3\nDimSize = {sizes}\nElementSpacing = 1 1 2\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    made["mha.mha"].write_bytes(f"ObjectType = Image\n{header}".encode() + voxels.tobytes(order="F"))
    np.savez_compressed(made["npz.npz"], train_images=np.ascontiguousarray(voxels[None]), train_labels=np.array([[1]]))
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
        archive.writestr(zipfile.ZipInfo("scan.nii"), made["nifti.nii"].read_bytes(), zipfile.ZIP_DEFLATED)
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
        if number == 4:
            (target / file.name).write_bytes(content)
        else:
            (target / file.name).hardlink_to(file)
    return target


def attacked(path: Path) -> bytes:
    """The bytes of a scan that are damaged: of its file, or of one slice of its series."""
    return path.read_bytes() if path.is_file() else sorted(path.iterdir())[4].read_bytes()


def cuts(path: Path, folder: Path) -> Iterator[Path]:
    """The scan cut at each fiftieth of its length."""
    content = attacked(path)
    for part in range(CUTS):
        yield damaged(path, folder / str(part), content[: len(content) * part // CUTS])


def mutants(scans: dict[str, Path], folder: Path, *, count: int, seed: int, first: int = 0) -> Iterator[Path]:
    """Copies of the scans in turn, each with one to four seeded wounds; half of these within the first 600 bytes."""
    names = sorted(scans)
    for number in range(first, first + count):
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


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Attributes:
        name: of the file.
        code: "read", "usage" or one of `READ_CODES`; the class of what was raised, where that is none of ours.
        sentence: the error's.
        seconds: that it took.
        is_untouched: whether its bytes are what they were.
    """

    name: str
    code: str
    sentence: str
    seconds: float
    is_untouched: bool

    @property
    def fault(self) -> str:
        """What must not be, in a few words; empty where all is well."""
        if self.code not in {"read", "usage", *READ_CODES}:
            return f"{self.code} is no stable code: {self.sentence}"
        if self.code != "read" and not self.sentence.strip():
            return f"{self.code} without a sentence"
        if not self.is_untouched:
            return "the source was changed"
        return "" if self.seconds <= SECONDS else f"{self.seconds:.1f} s ({self.code})"


def tried(pool: ReadingPool, path: Path) -> Outcome:
    """Read a file or a folder, whatever comes of it."""
    before = fingerprint(path)
    started = time.perf_counter()
    try:
        pool.read_file(path)
        code, sentence = "read", ""
    except (ReadError, UsageError) as error:
        code, sentence = error.code, error.message
    except Exception as error:  # a fault of ours, to be told with its file
        code, sentence = type(error).__name__, str(error)
    return Outcome(path.name, code, sentence, time.perf_counter() - started, fingerprint(path) == before)


def fingerprint(path: Path) -> str:
    """Of the names, contents and times of a file, or of all files below a folder."""
    digest = hashlib.sha256()
    for one in [path, *sorted(path.rglob("*"))]:
        digest.update(f"{one} {one.lstat().st_mtime_ns} {one.lstat().st_mode}".encode())
        if one.is_file():
            digest.update(one.read_bytes())
    return digest.hexdigest()


def largest_child() -> int:
    """The most memory that any process which ended so far held at once, in bytes."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def explode(folder: Path) -> list[str]:
    """Read every bomb in one process that reads nothing else; print what they cost, return what must not be."""
    with ReadingPool() as pool:
        outcomes = []
        for name in sorted(BOMBS):
            (folder / name).mkdir(parents=True)
            outcomes.append(tried(pool, HOSTILE[name].make(folder / name)))
    slowest = max(outcomes, key=lambda one: one.seconds)
    memory = largest_child()
    print(f"{len(outcomes)} bombs: the slowest refused in {slowest.seconds:.2f} s, {memory / 2**20:.0f} MiB at most")
    faults = [f"{one.name}: {one.fault}" for one in outcomes if one.fault]
    faults += [f"{one.name}: not refused" for one in outcomes if one.code == "read"]
    faults += [f"{one.name}: {one.seconds:.1f} s" for one in outcomes if one.seconds > BOMB_SECONDS]
    return faults + ([f"bombs: {memory / 2**20:.0f} MiB"] if memory > BOMB_MEMORY else [])


def attack(folder: Path, given: argparse.Namespace) -> list[str]:
    """Read the mutants; print what became of them, return what must not be."""
    codes: Counter[str] = Counter()
    slowest: list[tuple[float, str, str]] = []
    faults: list[str] = []
    with (
        ReadingPool(given.workers) as pool,
        ThreadPoolExecutor(given.workers) as threads,
    ):
        scans = originals(folder)
        drawn = mutants(scans, folder / "mutants", count=given.count, first=given.first, seed=given.seed)
        while batch := list(islice(drawn, 8 * given.workers)):
            for path, one in zip(batch, threads.map(partial(tried, pool), batch), strict=True):
                codes[one.code] += 1
                slowest = sorted([*slowest, (one.seconds, one.name, one.code)], reverse=True)[:5]
                if one.code in {"decoder-crashed", "timed-out"}:
                    print(f"{one.name}: {one.code}: {one.sentence}", flush=True)
                if one.fault:
                    faults.append(f"{one.name}: {one.fault}")
                remove(path)
    memory = largest_child()
    through = f"{given.first} to {given.first + given.count - 1}"
    print(f"{codes.total()} mutants ({through}, seed {given.seed}) of {len(scans)} scans derived from one real volume")
    for code, count in codes.most_common():
        print(f"  {code:16} {count}")
    print("slowest: " + ", ".join(f"{name} {seconds:.2f} s ({code})" for seconds, name, code in slowest))
    print(f"largest reading process: {memory / 2**20:.0f} MiB")
    return faults + ([f"a reading process of {memory / 2**20:.0f} MiB"] if memory > MEMORY else [])


def remove(path: Path) -> None:
    """A mutant, once it was read."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description="Read bombs and seeded mutants, and say what became of them.")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="raptor-fuzz-") as name:
        faults = explode(Path(name) / "bombs") + attack(Path(name), given)
    for fault in faults:
        print(f"FAULT {fault}")
    print(f"{len(faults)} faults" if faults else "no faults")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
