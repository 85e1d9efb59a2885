"""The side stream: nothing but a passage without CUDA; with it (a stand-in here) the order that keeps memory safe."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from raptor_search.engine.side_stream import Piece, SideStream


def test_without_cuda_pieces_are_made_as_they_are_asked_for() -> None:
    made: list[int] = []

    def pieces() -> Iterator[Piece]:
        for plane in range(3):
            made.append(plane)
            yield plane, torch.zeros(1, 224, 224), []

    stream = SideStream(torch.device("cpu")).prepared(pieces())
    assert made == []
    assert next(stream)[0] == 0
    assert made == [0]


def test_on_cuda_all_pieces_are_made_on_the_second_stream_before_the_first_may_use_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log: list[str] = []

    class Stream:
        def __init__(self, device: torch.device) -> None:
            self.device = device

        def wait_stream(self, other: object) -> None:
            log.append(f"first waits for {'second' if other is side._stream else 'another'}")

    class Images:
        def record_stream(self, stream: object) -> None:
            assert stream is first
            log.append("kept for first")

    @contextmanager
    def on(stream: object) -> Iterator[None]:
        assert stream is side._stream
        log.append("second begins")
        yield
        log.append("second ends")

    def pieces() -> Iterator[Any]:
        for plane in range(2):
            log.append(f"plane {plane}")
            yield plane, Images(), [0.0]

    first = Stream(torch.device("cuda:1"))
    monkeypatch.setattr("torch.cuda.Stream", Stream)
    monkeypatch.setattr("torch.cuda.stream", on)
    monkeypatch.setattr("torch.cuda.current_stream", lambda device: first if device == first.device else None)
    side = SideStream(torch.device("cuda:1"))
    assert [plane for plane, _, _ in side.prepared(pieces())] == [0, 1]
    assert log == [
        *("second begins", "plane 0", "plane 1", "second ends"),
        *("first waits for second", "kept for first", "kept for first"),
    ]
