"""Hostile input: every crafted file, every cut and 150 mutants of real scans cost a code and a sentence, no more."""

import ast
import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from raptor_search.errors import READ_CODES, ReadError, UsageError
from raptor_search.readers.limits import Limits
from raptor_search.readers.pool import ReadingPool
from tests.readers.fuzz import cuts, mutants, originals
from tests.readers.hostile import BOMBS, HOSTILE

ROOT = Path(__file__).parents[2]
LIMITS = Limits(seconds=30)

MUTANTS = 150

BOMB_MEMORY = 512 * 2**20


@pytest.fixture(scope="module")
def pool() -> Iterator[ReadingPool]:
    with ReadingPool(limits=LIMITS) as pool:
        yield pool


@pytest.fixture(scope="module")
def spared() -> Iterator[ReadingPool]:
    """For bombs alone, so that the most that its process ever held is what they took."""
    with ReadingPool(limits=LIMITS) as pool:
        yield pool


def outcome(pool: ReadingPool, path: Path) -> tuple[str, str]:
    """The code, "read" where there is none, and the sentence."""
    try:
        pool.read_file(path)
    except (ReadError, UsageError) as error:
        return error.code, error.message
    return "read", "read"


def fingerprint(folder: Path) -> str:
    """Of every file's name, content and time below a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(f"{path} {path.lstat().st_mtime_ns} {path.lstat().st_mode}".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def reading_memory(pool: ReadingPool) -> int:
    """The most that the reading process has ever held, in bytes."""
    process = pool._idle[0]._process
    assert process is not None
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_there_are_as_many_hostile_files_as_promised() -> None:
    assert len(HOSTILE) >= 60
    assert len(BOMBS) >= 8
    assert len(READ_CODES) <= 20
    for one in HOSTILE.values():
        assert one.codes <= READ_CODES.keys() | {"usage", "read"}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_by_a_code_and_a_sentence(
    pool: ReadingPool, spared: ReadingPool, tmp_path: Path, name: str
) -> None:
    hostile = HOSTILE[name]
    path = hostile.make(tmp_path)
    before = fingerprint(tmp_path)
    reading = spared if name in BOMBS else pool
    code, sentence = outcome(reading, path)
    assert code in hostile.codes, sentence
    assert sentence.strip()
    assert "\n" not in sentence
    assert code == "usage" or str(tmp_path) not in sentence  # a sentence that is stored names no path
    assert fingerprint(tmp_path) == before
    assert not Path("/tmp/raptor-npz-ran").exists()
    assert reading_memory(reading) < (BOMB_MEMORY if name in BOMBS else LIMITS.memory)


@pytest.mark.parametrize("kind", ["nifti-gz", "dicom-rle"])
def test_a_real_scan_cut_anywhere_is_refused(pool: ReadingPool, tmp_path: Path, kind: str) -> None:
    path = originals(tmp_path)[kind]
    for target in cuts(path, tmp_path / "cut"):
        code, sentence = outcome(pool, target)
        assert code in {"unreadable", "not-a-volume"}, sentence


def test_mutants_of_real_scans_are_read_or_refused(pool: ReadingPool, tmp_path: Path) -> None:
    drawn = mutants(originals(tmp_path), tmp_path / "mutant", count=MUTANTS, seed=0)
    outcomes = Counter(outcome(pool, path)[0] for path in drawn)
    assert outcomes.keys() <= {"read", "usage", *READ_CODES}
    assert outcomes["unreadable"] > MUTANTS / 10
    assert outcomes["read"] > MUTANTS / 10


def test_every_code_that_a_reader_gives_is_listed_and_every_listed_code_is_given() -> None:
    given = set()
    for path in [*(ROOT / "raptor_search").rglob("*.py"), *(ROOT / "indexer").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "ReadError":
                (code, *_) = node.args
                if isinstance(code, ast.Constant):
                    given.add(code.value)
    assert given == READ_CODES.keys()
