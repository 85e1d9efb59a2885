"""Hostile input: every crafted file, every cut and 150 mutants of real scans cost a code and a sentence, no more."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from raptor_search.errors import READ_CODES, ReadError, UsageError
from raptor_search.readers.limits import Limits
from raptor_search.readers.pool import ReadingPool
from tests.readers.fuzz import BOMB_MEMORY, CUTS, cuts, fingerprint, mutants, originals
from tests.readers.hostile import BOMBS, HOSTILE

ROOT = Path(__file__).parents[2]
LIMITS = Limits()

MUTANTS = 150

KINDS = (
    *("nifti", "nifti-gz", "nrrd", "mha", "npz", "zip"),
    *("dicom", "dicom-rle", "dicom-jpeg-ls", "dicom-jpeg-2000", "dicom-deflated"),
)


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


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return originals(tmp_path_factory.mktemp("scans"))


def test_every_kind_of_scan_is_cut(scans: dict[str, Path]) -> None:
    assert scans.keys() == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_real_scan_cut_anywhere_is_refused(
    pool: ReadingPool, scans: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    assert outcome(pool, scans[kind]) == ("read", "read")
    codes = Counter(outcome(pool, target)[0] for target in cuts(scans[kind], tmp_path / "cut"))
    assert codes.total() == CUTS
    # What is left of a text header may lack a direction, and an empty file of no known ending holds no scan.
    assert codes.keys() <= {"unreadable", "not-a-volume"} | {"nrrd": {"bad-geometry"}, "zip": {"usage"}}.get(
        kind, set()
    )
    assert codes["usage"] <= 1


def test_mutants_of_real_scans_are_read_or_refused(pool: ReadingPool, scans: dict[str, Path], tmp_path: Path) -> None:
    drawn = mutants(scans, tmp_path / "mutant", count=MUTANTS, seed=0)
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
