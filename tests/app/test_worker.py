"""The queue of uploads and its one process, with the packaged encoder and with processes that misbehave."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app import worker as queue
from app.worker import Order, Worker
from raptor_search.embedding import embed
from raptor_search.encoders import load_encoder, spec_for
from raptor_search.errors import RaptorError, ReadError, SpecError, UsageError
from raptor_search.specs import EmbeddingSpec
from raptor_search.volume import Volume
from tests.app.archive import FEW_SLICES

ROOT = Path(__file__).parents[2]
ENOUGH_S = 120.0

STAND_IN = """
import os, time
from pathlib import Path
import numpy as np
from app import worker_process
worker_process.load_encoder = lambda *args, **settings: None
class Made:
    stored = np.zeros(3, "<f2")
def embed(volume, encoder, spec, *, progress):
    folder = Path({folder!r})
    (folder / f"{{int(volume.voxels.flat[0])}}.begun").touch()
    for done in range(1, 4):
        progress(done, 3)
        while not (folder / f"go {{done}}").exists():
            {meanwhile}
            time.sleep(0.01)
    made = Made()
    made.stored = np.full(3, volume.voxels.flat[0], "<f2")
    return made
worker_process.embed = embed
"""
"""A process whose embedding is a number of the volume, and which waits for files before it goes on."""


def volume(number: float = 0, size: int = 16) -> Volume:
    voxels = np.random.default_rng(3).normal(100, 20, (size, size, size)).astype(np.float32)
    voxels.flat[0] = number
    return Volume(voxels=voxels, affine=np.eye(4), stored_axes=((0, 1), (1, 1), (2, 1)), format="nifti", oriented=True)


@pytest.fixture(scope="module")
def spec() -> EmbeddingSpec:
    return spec_for(load_encoder("efficientnet-lite0"), FEW_SLICES, components=4)


@contextmanager
def working(tmp_path: Path, meanwhile: str = "progress(done, 3)", silent: float = 60.0) -> Iterator[Worker]:
    prelude = tmp_path / "prelude.py"
    prelude.write_text(STAND_IN.format(folder=str(tmp_path), meanwhile=meanwhile))
    worker = Worker(prelude=prelude, silent_seconds=silent)
    try:
        yield worker
    finally:
        worker.close()


def go(folder: Path) -> None:
    for done in (1, 2, 3):
        (folder / f"go {done}").touch()


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + ENOUGH_S
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def begun(folder: Path, number: int) -> bool:
    return (folder / f"{number}.begun").exists()


def test_the_vector_is_that_of_the_library_and_the_process_is_another_one_that_knows_no_key(
    spec: EmbeddingSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAPTOR_KEY_FILE", "/canary/archive.key")
    worker = Worker()
    try:
        order = worker.order(volume(), spec, None)
        vector = order.vector()
        assert np.array_equal(vector, embed(volume(), load_encoder(spec.encoder), spec).stored)
        assert order.progress().is_over
        assert order.progress().done == order.progress().total == 6
        pid = worker.pid
        assert pid not in (None, os.getpid())
        assert b"RAPTOR_" not in Path(f"/proc/{pid}/environ").read_bytes()
        wrong = replace(spec, weights_sha256="0" * 64)
        with pytest.raises(SpecError, match="weights_sha256"):
            worker.order(volume(), wrong, None).vector()
        assert worker.order(volume(1), spec, None).vector().shape == vector.shape
        assert worker.pid == pid
    finally:
        worker.close()
    assert worker.pid is None


def test_orders_are_served_in_turn_each_knows_its_place_and_gets_its_own_vector(
    tmp_path: Path, spec: EmbeddingSpec
) -> None:
    with working(tmp_path) as worker:
        orders = [worker.order(volume(number), spec, None) for number in range(4)]
        until(lambda: begun(tmp_path, 0))
        assert [order.progress().before for order in orders] == [0, 1, 2, 3]
        until(lambda: orders[0].progress().done == 1)
        assert orders[0].progress().total == 3
        assert orders[0].progress().seconds_left is not None
        assert orders[1].progress().seconds_left is None
        orders[2].cancel()
        assert orders[3].progress().before == 2
        assert not begun(tmp_path, 1)
        go(tmp_path)
        assert [order.vector().tolist() for order in (orders[0], orders[1], orders[3])] == [[0] * 3, [1] * 3, [3] * 3]
        assert not begun(tmp_path, 2)
        with pytest.raises(RaptorError, match="cancelled"):
            orders[2].vector()


def test_a_cancelled_order_stops_between_slices_and_the_process_lives_on(tmp_path: Path, spec: EmbeddingSpec) -> None:
    with working(tmp_path) as worker:
        order = worker.order(volume(1), spec, None)
        until(lambda: begun(tmp_path, 1))
        pid = worker.pid
        order.cancel()
        assert order.wait(ENOUGH_S)
        with pytest.raises(RaptorError, match="cancelled"):
            order.vector()
        go(tmp_path)
        assert worker.order(volume(2), spec, None).vector().tolist() == [2] * 3
        assert worker.pid == pid


def test_an_order_that_nobody_holds_any_more_is_not_served(tmp_path: Path, spec: EmbeddingSpec) -> None:
    with working(tmp_path) as worker:
        first = worker.order(volume(1), spec, None)
        until(lambda: begun(tmp_path, 1))
        dropped = worker.order(volume(2), spec, None)
        last = worker.order(volume(3), spec, None)
        assert last.progress().before == 2
        del dropped
        gc.collect()
        assert last.progress().before == 1
        go(tmp_path)
        assert first.vector().tolist() == [1] * 3
        assert last.vector().tolist() == [3] * 3
        assert not begun(tmp_path, 2)


def test_a_process_that_dies_costs_one_order_a_sentence(tmp_path: Path, spec: EmbeddingSpec) -> None:
    with working(tmp_path) as worker:
        order, after = worker.order(volume(1), spec, None), worker.order(volume(2), spec, None)
        until(lambda: begun(tmp_path, 1))
        pid = worker.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(RaptorError, match=r"ended and was restarted; upload the scan again$"):
            order.vector()
        go(tmp_path)
        assert after.vector().tolist() == [2] * 3
        assert worker.pid != pid


def test_a_process_that_hangs_is_ended_with_a_sentence(tmp_path: Path, spec: EmbeddingSpec) -> None:
    with working(tmp_path, meanwhile="time.sleep(3600)", silent=0.5) as worker:
        order, after = worker.order(volume(1), spec, None), worker.order(volume(2), spec, None)
        with pytest.raises(RaptorError, match=r"did not answer and was restarted; upload the scan again$"):
            order.vector()
        go(tmp_path)
        assert after.vector().tolist() == [2] * 3


def test_one_that_hears_no_cancel_is_ended(
    tmp_path: Path, spec: EmbeddingSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "CANCEL_SECONDS", 0.3)
    with working(tmp_path, meanwhile="time.sleep(3600)") as worker:
        order = worker.order(volume(1), spec, None)
        until(lambda: begun(tmp_path, 1))
        order.cancel()
        go(tmp_path)
        assert worker.order(volume(2), spec, None).vector().tolist() == [2] * 3
        assert order.wait(ENOUGH_S)


def test_a_refusal_keeps_its_code(tmp_path: Path, spec: EmbeddingSpec) -> None:
    refusing = "from raptor_search.errors import ReadError; raise ReadError('constant', 'all voxels are 7')"
    with working(tmp_path, meanwhile=refusing) as worker, pytest.raises(ReadError, match="all voxels are 7") as caught:
        worker.order(volume(), spec, None).vector()
    assert caught.value.code == "constant"


def test_the_queue_is_bounded_and_closing_it_ends_all_that_wait(tmp_path: Path, spec: EmbeddingSpec) -> None:
    with working(tmp_path) as worker:
        orders: list[Order] = [worker.order(volume(0, 4), spec, None)]
        until(lambda: begun(tmp_path, 0))
        orders += [worker.order(volume(0, 4), spec, None) for _ in range(queue.MAX_WAITING)]
        with pytest.raises(UsageError, match="try again in a few minutes"):
            worker.order(volume(0, 4), spec, None)
        heard: list[str] = []

        def ask(order: Order) -> None:
            try:
                order.vector()
            except RaptorError as error:
                heard.append(error.message)

        threads = [threading.Thread(target=ask, args=(order,)) for order in orders]
        for thread in threads:
            thread.start()
        worker.close()
        for thread in threads:
            thread.join(ENOUGH_S)
    assert heard == ["the upload was cancelled"] * len(orders)


def test_the_pages_themselves_load_no_encoder() -> None:
    views = ", ".join(f"app.views.{name}" for name in ("search", "cohort", "labels", "evaluate", "archive"))
    check = f"import sys, app.main, {views}; print('torch' in sys.modules, 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
