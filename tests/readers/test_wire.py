"""Messages between parent and child: values of ours and arrays, whatever the other side sends."""

import os
import pickle
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from raptor_search.readers import Scan, ScanMetadata, Source
from raptor_search.readers.memory import LARGE, SharedBlock, share_large_arrays, shared_block
from raptor_search.readers.wire import HEADER, Broken, receive, send
from raptor_search.volume import Volume

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def forged(pair: Pair, content: bytes) -> None:
    pair[0].sendall(HEADER.pack(len(content), 0) + content)


class Evil:
    def __init__(self, *reduced: object) -> None:
        self.reduced = reduced

    def __reduce__(self) -> tuple[object, ...]:
        return self.reduced


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(5, 6, 7), (70, 40, 30)])
def test_scans_arrive_as_they_were_sent(pair: Pair, order: str, shape: tuple[int, int, int]) -> None:
    voxels = np.arange(np.prod(shape), dtype=np.int32).reshape(shape, order=order)  # type: ignore[call-overload]
    scan = Scan(Volume(voxels=voxels, affine=np.diag([2.0, 2, 2, 1])), ScanMetadata(modality="CT"), labels={"a": "b"})
    send(pair[0], ("done", scan, np.float64(1.5), Path("/a/\udcff")))
    kind, got, number, path = receive(pair[1], 5)
    assert (kind, number, path) == ("done", 1.5, Path("/a/\udcff"))
    assert (got.metadata, got.labels) == (scan.metadata, scan.labels)
    np.testing.assert_array_equal(got.volume.voxels, voxels)
    assert got.volume.voxels.strides == voxels.strides
    assert not got.volume.voxels.flags.writeable


def test_an_array_in_a_block_is_mapped_and_not_copied(pair: Pair) -> None:
    block = SharedBlock.of_bytes(4 * 10000)
    array = np.ndarray((100, 100), np.int32, buffer=block)
    array[...] = 1
    view = array[::-1, 3:50]
    send(pair[0], ("pad", view, array[:, 0:99]))
    _, got, other = receive(pair[1])
    array[...] = 2
    assert (got == 2).all()
    assert (other == 2).all()
    assert (got.shape, got.strides) == (view.shape, view.strides)


def test_large_arrays_of_a_reading_process_lie_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from raptor_search.readers import memory

    assert shared_block(memory.empty((LARGE,), np.dtype("u1"))) is None
    monkeypatch.setattr(memory, "_allocate", memory._private)
    share_large_arrays()
    large = memory.empty((LARGE, 2), np.dtype("u1"))
    found = shared_block(large[5:].T)
    assert found is not None
    assert found[1] == 10
    assert shared_block(memory.empty((10,), np.dtype("u1"))) is None


@pytest.mark.parametrize("is_shared", [False, True])
def test_slabs_of_an_array_are_what_was_filled_in(monkeypatch: pytest.MonkeyPatch, is_shared: bool) -> None:
    from raptor_search.readers import memory

    monkeypatch.setattr(memory, "_allocate", memory._shared if is_shared else memory._private)
    array = memory.empty((3, 1000, 1000), np.dtype("i2"))
    array[...] = 7
    drawn = np.random.default_rng(0).integers(-1000, 1000, (1000, 1000)).astype("i2")
    for place, content in ((2, drawn), (0, drawn[::-1, ::-1])):
        with memory.slab(array, place) as target:
            target[...] = content
    np.testing.assert_array_equal(array, [drawn[::-1, ::-1], np.full_like(drawn, 7), drawn])
    assert (shared_block(array) is not None) == is_shared


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Evil(os.system, ("touch /tmp/raptor-was-here",))),
        pickle.dumps(Evil(getattr, (1, "real"))),
        pickle.dumps(Path("/etc")),
        b"cos\nsystem\n(S'true'\ntR.",
        b"craptor_search.readers.zips\nshutil\n.",
        b"craptor_search.errors\nReadError\n.",
        b"craptor_search.readers.pool\nReadingPool\n.",
        b"craptor_search.readers.nowhere\nNothing\n.",
        b"not a pickle",
        b"",
        pickle.dumps(("done", 1))[:-3],
    ],
)
def test_what_is_no_message_is_refused(pair: Pair, content: bytes) -> None:
    forged(pair, content)
    with pytest.raises(Broken):
        receive(pair[1], 5)
    assert not Path("/tmp/raptor-was-here").exists()


class Stray(pickle.Pickler):
    def __init__(self, file: object, pid: object) -> None:
        super().__init__(file, 5)  # type: ignore[arg-type]
        self.pid = pid

    def persistent_id(self, value: object) -> object:
        return self.pid if value == "here" else None


@pytest.mark.parametrize(
    "pid",
    [
        ("shared", 0, "<i4", (100, 100), (400, 4), 0),
        ("shared", 0, "<i4", (10,), (4,), 4000),
        ("shared", 0, "<i4", (10,), (-4,), 0),
        ("shared", 0, "<i4", (10,), (4,), -4),
        ("shared", 1, "<i4", (10,), (4,), 0),
        ("shared", 0, "O", (10,), (8,), 0),
        ("inline", "O", (1,), bytes(8), [0]),
        ("inline", "<i4", (2,), bytes(4), [0]),
        ("inline", "<i4", "ab", bytes(4), [0]),
        ("inline", "<i4", (1,), bytes(4), [3]),
        ("other",),
        7,
    ],
)
def test_an_array_beyond_its_block_is_refused(pair: Pair, tmp_path: Path, pid: object) -> None:
    import io

    block = SharedBlock.of_bytes(4000)
    packed = io.BytesIO()
    Stray(packed, pid).dump(("done", "here"))
    socket.send_fds(pair[0], [HEADER.pack(len(packed.getvalue()), 1)], [block.fd])
    pair[0].sendall(packed.getvalue())
    with pytest.raises(Broken):
        receive(pair[1], 5)


def test_a_block_cannot_be_cut_short_once_it_was_handed_over(pair: Pair) -> None:
    block = SharedBlock.of_bytes(8000)
    send(pair[0], np.ndarray((2000,), np.int32, buffer=block))
    got = receive(pair[1])
    with pytest.raises(PermissionError):
        os.ftruncate(block.fd, 0)
    assert got.sum() == 0


@pytest.mark.parametrize("sent", [b"", b"abc", HEADER.pack(2**40, 0), HEADER.pack(10, 3), HEADER.pack(10, 0) + b"abc"])
def test_a_side_that_goes_away_or_talks_nonsense_is_noticed(pair: Pair, sent: bytes) -> None:
    pair[0].sendall(sent)
    pair[0].close()
    with pytest.raises(Broken):
        receive(pair[1], 5)
    with pytest.raises(Broken):
        send(pair[1], ("read", Source(Path("/a"), "nifti", "", (Path("/a"),), 1, 1)))


@pytest.mark.parametrize("sent", [b"", HEADER.pack(10, 0) + b"abc"])
def test_silence_ends(pair: Pair, sent: bytes) -> None:
    pair[0].sendall(sent)
    with pytest.raises(TimeoutError):
        receive(pair[1], 0.1)
