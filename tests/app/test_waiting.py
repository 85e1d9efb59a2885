from collections.abc import Iterator
from pathlib import Path

import pytest

from app import waiting
from app.waiting import _words
from app.words import literal
from app.worker import Progress, Worker
from tests.app.archive import SmallArchive
from tests.app.conftest import OpenPage
from tests.app.test_search_page import hits, left_behind, upload


def far(before: int = 0, done: int = 0, total: int = 0, seconds_left: float | None = None) -> Progress:
    return Progress(before=before, done=done, total=total, seconds_left=seconds_left, is_over=False)


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (far(before=2), "In the queue: 2 before you"),
        (far(), "Preparing the encoder"),
        (far(done=8, total=96, seconds_left=20.6), "Slice 8 of 96, about 21 s left"),
        (far(done=8, total=96, seconds_left=150), "Slice 8 of 96, about 2 min left"),
        (far(done=8, total=96), "Slice 8 of 96"),
    ],
)
def test_the_place_or_the_slices_and_the_time_left_are_told(now: Progress, words: str) -> None:
    assert _words(now) == words


@pytest.fixture
def dying(tmp_path: Path) -> Iterator[Worker]:
    prelude = tmp_path / "prelude.py"
    prelude.write_text("import os\nfrom app import worker_process\nworker_process.embed = lambda *a, **s: os._exit(9)")
    worker = Worker(prelude=prelude)
    yield worker
    worker.close()


def test_a_worker_that_dies_is_one_sentence_and_the_session_lives_on(
    small: SmallArchive, page: OpenPage, monkeypatch: pytest.MonkeyPatch, dying: Worker
) -> None:
    first = page(case="1")
    found = hits(first)
    with monkeypatch.context() as patch:
        patch.setattr(waiting, "worker", lambda: dying)
        broken = upload(page(), small.scan)
    assert not broken.exception
    (error,) = broken.error
    assert error.value.endswith(literal("ended and was restarted; upload the scan again"))
    assert left_behind() == []
    assert hits(first.run()) == found
    assert len(hits(upload(broken, small.scan))) == 10
    assert not broken.error
