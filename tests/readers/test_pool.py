"""Reading in child processes: the same scans, and nothing that a decoder does reaches the parent."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from raptor_search.errors import RaptorError, ReadError, UsageError
from raptor_search.intensity import choose_rule
from raptor_search.preview import three_planes
from raptor_search.readers import Source, content_digest, discover, read
from raptor_search.readers.limits import Limits
from raptor_search.readers.pool import ReadingPool, _stored
from raptor_search.readers.writing import write_dicom_series, write_nifti

ROOT = Path(__file__).parents[2]
PRELUDE = Path(__file__).with_name("misbehaving.py")
LIMITS = Limits(memory=2**30, seconds=3)


@pytest.fixture(scope="module")
def pool() -> Iterator[ReadingPool]:
    with ReadingPool(limits=LIMITS, prelude=PRELUDE) as pool:
        yield pool


@pytest.fixture
def scan(tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]) -> Callable[[str], Source]:
    return lambda name: Source.at(write_nifti(tmp_path / f"{name}.nii", voxels, affine), "nifti")


def refused(pool: ReadingPool, source: Source) -> ReadError:
    before = {file: file.read_bytes() for file in source.files}
    with pytest.raises(ReadError) as caught:
        pool.read(source)
    assert {file: file.read_bytes() for file in source.files} == before
    assert caught.value.message
    assert not {part for part in source.path.parts[1:] if part in caught.value.message}
    return caught.value


def blocks(pid: str = "self") -> int:
    return Path(f"/proc/{pid}/maps").read_text().count("raptor-voxels")


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(400):
        if holds():
            return
        time.sleep(0.05)
    assert holds()


def test_a_child_reads_what_the_parent_would(pool: ReadingPool, tmp_path: Path, series: list[Path]) -> None:
    write_nifti(tmp_path / "sub-01_T1w.nii.gz", np.arange(4000).reshape(10, 20, 20).astype(np.int16), np.eye(4))
    found = [one for one in discover([tmp_path]) if isinstance(one, Source)]
    assert {one.format for one in found} == {"dicom", "nifti"}
    for source in found:
        result, scan = pool.read(source), read(source)
        np.testing.assert_array_equal(result.scan.volume.voxels, scan.volume.voxels)
        np.testing.assert_array_equal(result.scan.volume.affine, scan.volume.affine)
        assert result.scan.volume.voxels.dtype == scan.volume.voxels.dtype
        assert (result.scan.volume.stored_axes, result.scan.volume.format) == (scan.volume.stored_axes, source.format)
        assert (result.scan.metadata, result.scan.identity) == (scan.metadata, scan.identity)
        assert result.digest == content_digest(source) == pool.digest(source)
        assert result.rule == choose_rule(scan.volume.voxels)
        assert result.preview == three_planes(scan.volume)
        assert result.seconds > 0
        assert result.cpu_seconds > 0


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("kind", ["dicom", "nifti", "nifti-scaled"])
def test_voxels_are_shared_read_only_and_freed_when_array_and_child_are_gone(tmp_path: Path, kind: str) -> None:
    drawn = np.random.default_rng(0).integers(-1000, 2000, (200, 160, 100)).astype(np.int16)
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    if kind == "dicom":
        write_dicom_series(tmp_path, drawn, affine, modality="CT", patient_id="p", seed="a")
        expected: NDArray[np.generic] = drawn
    else:
        expected = drawn.astype(np.float32) if kind == "nifti-scaled" else drawn
        write_nifti(tmp_path / "pid.nii.gz", expected, affine)
    (source,) = (one for one in discover([tmp_path]) if isinstance(one, Source))
    gc.collect()
    before = blocks()
    with ReadingPool(limits=LIMITS, prelude=PRELUDE) as pool:
        result = pool.read(source)
        np.testing.assert_array_equal(result.scan.volume.voxels, expected)
        assert blocks() == before + 1
        with pytest.raises(ValueError, match="read-only"):
            result.scan.volume.voxels[0, 0, 0] = 1
        if kind != "dicom":
            wait_until(lambda: blocks((tmp_path / "pid").read_text()) == 0)
        del result
    gc.collect()
    assert blocks() == before


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("abort", "decoder-crashed", "SIGABRT"),
        ("segfault", "decoder-crashed", "SIGSEGV"),
        ("leave", "decoder-crashed", "exit status 3"),
        ("hang", "timed-out", "longer than 3 s"),
        ("hog", "too-large", "memory"),
        ("raise", "unreadable", "ZeroDivisionError"),
    ],
)
def test_what_a_decoder_does_costs_its_file_alone(
    pool: ReadingPool, scan: Callable[[str], Source], name: str, code: str, words: str
) -> None:
    error = refused(pool, scan(name))
    assert error.code == code
    assert words in error.message
    assert "PATIENT" not in error.message
    assert pool.read(scan("sound")).scan.volume.voxels.size


def test_a_crash_that_does_not_come_again_costs_nothing(pool: ReadingPool, scan: Callable[[str], Source]) -> None:
    source = scan("once")
    assert pool.read(source).digest == content_digest(source)
    assert source.path.with_suffix(".aborted").exists()


def test_what_a_decoder_prints_is_dropped(
    pool: ReadingPool, scan: Callable[[str], Source], capfd: pytest.CaptureFixture[str]
) -> None:
    pool.read(scan("print"))
    assert capfd.readouterr() == ("", "")


def test_one_child_reads_file_after_file(pool: ReadingPool, scan: Callable[[str], Source]) -> None:
    source = scan("pid")
    pids = set()
    for _ in range(5):
        pool.read(source)
        pids.add((source.path.parent / "pid").read_text())
    assert len(pids) == 1
    assert pids != {str(os.getpid())}


def test_several_children_read_at_a_time_and_threads_may_ask(scan: Callable[[str], Source]) -> None:
    sources = [scan(f"slow.{number}") for number in range(6)]
    with ReadingPool(2, prelude=PRELUDE) as pool:
        futures = [pool.submit(source) for source in sources]
        results: list[bytes] = []
        threads = [threading.Thread(target=lambda: results.append(pool.read(sources[0]).digest)) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert [future.result().digest for future in futures] == [content_digest(source) for source in sources]
        for thread in threads:
            thread.join()
        assert results == [content_digest(sources[0])] * 2
        assert len(pool._idle) == 2


def test_a_path_is_read_and_named_as_without_a_child(
    pool: ReadingPool, scan: Callable[[str], Source], tmp_path: Path
) -> None:
    source = scan("a")
    assert pool.read_file(source.path)[0] == source
    scan("b")
    with pytest.raises(UsageError, match="holds 2 volumes"):
        pool.read_file(tmp_path)
    with pytest.raises(UsageError, match="no such file"):
        pool.read_file(tmp_path / "nowhere.nii")


def test_a_closed_pool_says_so_and_leaves_no_process(scan: Callable[[str], Source]) -> None:
    pool = ReadingPool(prelude=PRELUDE)
    waiting = pool.submit(scan("hang"))
    wait_until(lambda: any(child._socket for child in list(pool._busy)))
    process = next(iter(pool._busy))._process
    assert process is not None
    pool.close()
    with pytest.raises(RaptorError):
        waiting.result(timeout=10)
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(RaptorError, match="ended"):
        pool.read(scan("a"))
    pool.close()


def test_a_child_that_cannot_start_is_no_fault_of_the_file(tmp_path: Path, scan: Callable[[str], Source]) -> None:
    prelude = tmp_path / "broken.py"
    prelude.write_text("raise SystemExit('no such thing')")
    with (
        ReadingPool(prelude=prelude) as pool,
        pytest.raises(RaptorError, match="did not start: no such thing") as caught,
    ):
        pool.read(scan("a"))
    assert not isinstance(caught.value, ReadError)


def test_a_scan_has_thirty_seconds_and_a_large_one_a_second_a_mebibyte() -> None:
    limits = Limits()
    assert [limits.seconds_for(stored) for stored in (0, 30 * 2**20, 150 * 2**20)] == [30, 30, 150]
    assert Limits(seconds=90).seconds_for(2**20) == 90


def test_what_a_path_holds_on_disk_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a#b").mkdir()
    (tmp_path / "a#b" / "one.zip").write_bytes(bytes(300))
    (tmp_path / "a#b" / "two").write_bytes(bytes(40))
    (tmp_path / "a#b" / "broken").symlink_to(tmp_path / "nowhere")
    assert _stored(tmp_path / "a#b" / "one.zip") == _stored(tmp_path / "a#b" / "one.zip#x/y.nii#t3") == 300
    assert 340 <= _stored(tmp_path) <= 340 + len(str(tmp_path / "nowhere"))
    assert _stored(tmp_path / "nowhere") == 0


def test_limits_that_allow_nothing_are_refused() -> None:
    for limits in ({"memory": 2**20}, {"seconds": 0}, {"inflated": 0}):
        with pytest.raises(UsageError, match="expected at least"):
            Limits(**limits)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least 1"):
        ReadingPool(0)


def test_a_child_loads_no_more_than_it_needs() -> None:
    check = "import raptor_search.readers.child, sys; print(*sorted(set(sys.modules) & set(sys.argv[1:])))"
    absent = [
        "torch",
        "sqlalchemy",
        "faiss",
        "streamlit",
        "transformers",
        "sklearn",
        "cryptography",
        "indexer",
        "app",
    ]
    done = subprocess.run([sys.executable, "-c", check, *absent], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_a_script_without_a_guard_reads_and_its_children_end_with_it(
    tmp_path: Path, scan: Callable[[str], Source]
) -> None:
    source = scan("pid")
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from raptor_search.readers.pool import ReadingPool\n"
        f"pool = ReadingPool(prelude=Path({str(PRELUDE)!r}))\n"
        f"print(pool.read_file(Path({str(source.path)!r}))[1].scan.volume.voxels.shape, flush=True)\n"
        "print(pool._idle[0]._folder, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    shape, folder = done.stdout.splitlines()
    assert (shape, done.returncode, done.stderr) == ("(14, 12, 10)", -signal.SIGKILL, "")
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not Path(f"/proc/{pid}").exists() and not Path(folder).exists())
