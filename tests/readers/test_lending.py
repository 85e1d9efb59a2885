"""Blocks that are lent to a child again: filled anew, never under an array that is held, and never seen through one."""

import gc
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from numpy.typing import NDArray

from raptor_search.errors import ReadError
from raptor_search.readers import Source, discover, memory
from raptor_search.readers.lending import UNUSED, Lease, Shelf
from raptor_search.readers.limits import Limits
from raptor_search.readers.memory import LARGE, SharedBlock, borrow, shared_block
from raptor_search.readers.pool import ReadingPool
from raptor_search.readers.reading import read
from raptor_search.readers.wire import Broken, receive, send
from raptor_search.readers.writing import write_dicom_series, write_nifti
from tests.dicom_stacks import acquisition, write_stack

SHAPE = (160, 160, 100)
"""Voxels of 5 MB: enough for a block."""

MARKER = 0x5A

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.fixture(scope="module")
def pool() -> Iterator[ReadingPool]:
    with ReadingPool() as pool:
        yield pool


@pytest.fixture
def borrowing() -> Iterator[Callable[..., tuple[()]]]:
    yield borrow
    borrow(())


def drawn(seed: int, shape: tuple[int, ...] = SHAPE) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-1000, 2000, shape).astype(np.int16)


def nifti(folder: Path, seed: int, shape: tuple[int, ...] = SHAPE, name: str = "") -> tuple[Source, NDArray[np.int16]]:
    voxels = drawn(seed, shape)
    return Source.at(write_nifti(folder / (name or f"{seed}.nii"), voxels, np.eye(4)), "nifti"), voxels


def address(array: NDArray[np.generic]) -> int:
    start: int = array.__array_interface__["data"][0]
    return start


def filled(size: int, value: int = MARKER) -> SharedBlock:
    block = SharedBlock.of_bytes(size)
    np.frombuffer(block, np.uint8)[:] = value
    return block


def whole(lease: Lease, size: int) -> NDArray[np.generic]:
    return lease.array((size,), np.dtype("u1"), (1,), 0)


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
@pytest.mark.parametrize(
    "keep",
    [
        lambda a: a[5:],
        lambda a: a.reshape(2, -1)[1],
        lambda a: a.reshape(4, -1).T[::-3, 2],
        lambda a: np.moveaxis(a.reshape(2, 4, -1), 0, 2),
        lambda a: a.view(np.int32)[None],
        lambda a: a.astype(np.uint8, copy=False),
        lambda a: memoryview(a)[7:],
        lambda a: np.frombuffer(memoryview(a), np.int16),
        lambda a: np.ndarray((9,), np.int8, buffer=a, offset=3),
        lambda a: np.lib.stride_tricks.sliding_window_view(a, 3),
        lambda a: np.broadcast_to(a, (3, len(a))),
        lambda a: a.flat,
        np.ma.masked_array,
        lambda a: a.view(np.recarray),
        lambda a: torch.from_numpy(a)[3:].view(-1, 1),
        lambda a: torch.from_numpy(a).numpy(),
        lambda a: torch.as_tensor(a).unfold(0, 2, 2),
    ],
)
def test_whatever_is_made_of_an_array_keeps_its_block_from_being_lent(keep: Callable[[object], object]) -> None:
    shelf = Shelf()
    block = filled(LARGE)
    kept = keep(whole(shelf.received([block.fd])[0], LARGE - 1024))
    assert shelf.lend() == []
    del kept
    assert len(shelf.lend()) == 1


def test_two_arrays_in_one_block_are_both_waited_for(pair: Pair) -> None:
    shelf = Shelf()
    array = np.frombuffer(filled(2 * LARGE), np.uint8)
    send(pair[0], (array[:LARGE], array[LARGE:]))
    one, other = receive(pair[1], 5, blocks=shelf.received)
    del one
    assert shelf.lend() == []
    assert (other == MARKER).all()
    del other
    assert len(shelf.lend()) == 1


def test_a_child_fills_a_block_again_and_its_parent_has_it_mapped_already(pool: ReadingPool, tmp_path: Path) -> None:
    places = set()
    for seed in range(4):
        source, voxels = nifti(tmp_path, seed)
        got = pool.read(source).scan.volume.voxels
        np.testing.assert_array_equal(got, voxels)
        places.add(address(got))
        del got
    assert len(places) == 1


def test_arrays_that_are_held_never_change_while_further_files_are_read(pool: ReadingPool, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    scans = [nifti(tmp_path, seed) for seed in range(4)]
    held: list[tuple[NDArray[np.generic], NDArray[np.int16]]] = []
    for number in range(16):
        source, voxels = scans[number % 4]
        held.append((pool.read(source).scan.volume.voxels, voxels))
        while len(held) > rng.integers(1, 6):
            del held[int(rng.integers(len(held)))]
        for got, truth in held:
            np.testing.assert_array_equal(got, truth)
    assert len({address(got) for got, _ in held}) == len(held)


def test_threads_that_hold_and_let_go_see_each_scan_as_it_is(tmp_path: Path) -> None:
    scans = [nifti(tmp_path, seed) for seed in range(3)]
    wrong: list[str] = []

    def work(pool: ReadingPool, seed: int) -> None:
        held = []
        for number in range(6):
            source, truth = scans[(seed + number) % 3]
            held.append((pool.read(source).scan.volume.voxels, truth))
            del held[: -1 - seed % 2]
            wrong.extend("changed" for got, truth in held if not np.array_equal(got, truth))

    with ReadingPool(2) as pool:
        threads = [threading.Thread(target=work, args=(pool, seed)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_arrays_outlive_their_child_and_then_leave_nothing(tmp_path: Path) -> None:
    before = descriptors()
    with ReadingPool() as pool:
        (first, truth), (second, _) = nifti(tmp_path, 1), nifti(tmp_path, 2)
        held = pool.read(first).scan.volume.voxels
        for _ in range(2):
            pool.read(second)
    np.testing.assert_array_equal(held, truth)
    del held
    assert descriptors() == before


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha", "scaled.nii", "dicom"])
def test_nothing_of_an_earlier_scan_is_seen_in_a_smaller_one_of_the_same_block(
    pool: ReadingPool, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "scans"
    voxels = drawn(1)
    expected: NDArray[np.generic] = voxels
    if name == "dicom":
        write_dicom_series(folder, voxels, np.eye(4), modality="CT", patient_id="p", seed="a")
    elif name == "a.mha":
        folder.mkdir()
        head = "ObjectType = Image\nNDims = 3\nDimSize = 160 160 100\nElementType = MET_SHORT\nElementSpacing = 1 1 1\n"
        content = np.flip(voxels, (0, 1)).tobytes("F")  # LPS
        (folder / name).write_bytes((head + "ElementDataFile = LOCAL\n").encode() + content)
    elif name == "scaled.nii":
        write_nifti(folder / name, voxels, np.eye(4))
        content = bytearray((folder / name).read_bytes())
        content[112:120] = np.array([2.0, 0.5], "<f4").tobytes()
        (folder / name).write_bytes(content)
        expected = (2 * voxels + 0.5).astype(np.float32)
    else:
        write_nifti(folder / name, voxels, np.eye(4))
    (other,) = (one for one in discover([folder]) if isinstance(one, Source))
    marked = np.full((160, 160, 125), 7777, read(other).volume.voxels.dtype)
    marked[0, 0, 0] = 0
    source = Source.at(write_nifti(tmp_path / "marked" / "m.nii", marked, np.eye(4)), "nifti")
    if pool._idle:  # no other block than the marked one is to be lent
        pool._idle[0]._blocks.lend()
        pool._idle[0]._blocks._free.clear()
    place = address(pool.read(source).scan.volume.voxels)
    got = pool.read(other).scan.volume.voxels
    assert address(got) == place
    np.testing.assert_array_equal(got, expected)
    lease = got
    while isinstance(lease, np.ndarray):
        lease = lease.base
    assert isinstance(lease, Lease)


def test_a_truncated_scan_is_refused_in_a_block_that_is_full_of_another(pool: ReadingPool, tmp_path: Path) -> None:
    source, _ = nifti(tmp_path, 1)
    cut, _ = nifti(tmp_path, 2, name="cut.nii.gz")
    cut.path.write_bytes(cut.path.read_bytes()[:-100_000])
    pool.read(source)
    with pytest.raises(ReadError, match="truncated"):
        pool.read(cut)


@pytest.mark.parametrize(
    "kind", ["nifti", "scaled", "gzip", "nrrd", "npz", "dicom", "padded", "doubled", "uneven", "tilted"]
)
def test_no_reader_relies_on_what_is_in_memory_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    voxels = drawn(0, (12, 10, 14))
    affine = np.diag([-1.0, 1.0, 2.0, 1.0])
    place = tmp_path / "scan"
    match kind:
        case "nifti" | "gzip" | "scaled":
            file = write_nifti(place / ("a.nii" + ".gz" * (kind == "gzip")), voxels, affine)
            if kind == "scaled":
                content = bytearray(file.read_bytes())
                content[112:120] = np.array([2.0, 0.5], "<f4").tobytes()
                file.write_bytes(content)
        case "nrrd":
            place.mkdir()
            head = "NRRD0004\ntype: short\ndimension: 3\nsizes: 12 10 14\nencoding: raw\nendian: little\nspace: LPS\n"
            head += "space directions: (1,0,0) (0,1,0) (0,0,2)\nspace origin: (0,0,0)\n\n"
            (place / "a.nrrd").write_bytes(head.encode() + voxels.tobytes("F"))
        case "npz":
            place.mkdir()
            np.savez_compressed(place / "a.npz", train_images=voxels[None].astype(np.uint8))
        case "uneven" | "tilted":
            lie = acquisition((1, 0, 0), (0, 1, 0), tilt_rows=int(kind == "tilted"))
            write_stack(place, (voxels + 1000).T.astype(np.uint16), lie, pydicom.uid.ExplicitVRLittleEndian)
            if kind == "uneven":
                moved(place, 7)
        case _:
            padded = voxels.copy()
            padded[0] = -2000
            for file in write_dicom_series(place, padded, affine, modality="MR", patient_id="p", seed="s"):
                one = pydicom.dcmread(file)
                if kind == "padded":
                    one.add_new("PixelPaddingValue", "SS", -2000)
                    one.save_as(file)
                if kind == "doubled" and one.InstanceNumber == 4:
                    one.SOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=["twin"])
                    one.save_as(file.with_name("twin.dcm"))
    (source,) = (one for one in discover([place]) if isinstance(one, Source))
    found = []
    for value in (0, 0x5A, 0xA5):
        with monkeypatch.context() as patched:
            patched.setattr(memory, "_allocate", lambda shape, dtype, value=value: marked_memory(shape, dtype, value))
            found.append(read(source).volume)
    assert (found[0].shape, found[0].affine.tolist()) == (found[1].shape, found[1].affine.tolist())
    for other in found[1:]:
        np.testing.assert_array_equal(found[0].voxels, other.voxels)


def marked_memory(shape: tuple[int, ...], dtype: np.dtype[np.generic], value: int) -> NDArray[np.generic]:
    content = np.full(int(np.prod(shape)) * dtype.itemsize, value, np.uint8)
    return np.ndarray(shape, dtype, buffer=content)


def moved(folder: Path, number: int) -> None:
    """One slice of a series lies a third of the way to the next."""
    files = sorted(folder.rglob("*"), key=lambda file: pydicom.dcmread(file).ImagePositionPatient[2])
    one, following = (pydicom.dcmread(file) for file in files[number : number + 2])
    gap = np.subtract(following.ImagePositionPatient, one.ImagePositionPatient)
    one.ImagePositionPatient = [float(value) for value in np.add(one.ImagePositionPatient, gap / 3)]
    one.save_as(files[number])


def test_a_block_in_which_an_array_lies_is_not_accepted_again(pair: Pair) -> None:
    shelf = Shelf()
    block = filled(LARGE)
    array = np.frombuffer(block, np.uint8)
    send(pair[0], array)
    held = receive(pair[1], 5, blocks=shelf.received)
    block.is_handed_over = False  # as a decoder that was taken over would have it
    send(pair[0], array)
    with pytest.raises(Broken):
        receive(pair[1], 5, blocks=shelf.received)
    assert (held == MARKER).all()
    del held
    assert len(shelf.lend()) == 1


def test_one_block_sent_as_two_is_refused(pair: Pair) -> None:
    block = filled(LARGE)
    send(pair[0], np.frombuffer(block, np.uint8), [block.fd])
    with pytest.raises(Broken):
        receive(pair[1], 5, blocks=Shelf().received)


def test_an_array_that_is_sent_again_is_copied(pair: Pair) -> None:
    shelf = Shelf()
    array = np.frombuffer(filled(LARGE), np.uint8)
    got = []
    for _ in range(2):
        send(pair[0], array)
        got.append(receive(pair[1], 5, blocks=shelf.received))
    assert address(got[0]) != address(got[1])
    for one in got:
        np.testing.assert_array_equal(one, array)


def test_a_block_larger_than_its_process_may_be_is_refused(pair: Pair) -> None:
    send(pair[0], np.frombuffer(filled(LARGE), np.uint8))
    with pytest.raises(Broken):
        receive(pair[1], 5, blocks=Shelf(largest=LARGE - 1).received)


@pytest.mark.parametrize("kind", ["file", "pipe", "device", "socket"])
def test_what_is_no_block_is_refused_and_its_descriptor_closed(pair: Pair, kind: str) -> None:
    before = descriptors()
    with tempfile.TemporaryFile() as file, open(os.devnull, "rb") as device:
        file.write(bytes(LARGE))
        file.flush()
        reading, writing = os.pipe()
        fd = {"file": file.fileno(), "pipe": reading, "device": device.fileno(), "socket": pair[0].fileno()}[kind]
        send(pair[0], "", [fd])
        with pytest.raises(Broken):
            receive(pair[1], 5, blocks=Shelf().received)
        os.close(reading)
        os.close(writing)
    assert descriptors() == before


def test_a_lent_block_can_neither_be_cut_short_nor_written_into_a_held_array(pair: Pair) -> None:
    shelf = Shelf()
    block = filled(LARGE)
    send(pair[0], np.frombuffer(block, np.uint8))
    held = receive(pair[1], 5, blocks=shelf.received)
    with pytest.raises(ValueError, match="read-only"):
        held[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        held.setflags(write=True)
    del held
    (fd,) = shelf.lend()
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)


def leases(shelf: Shelf, *sizes: int) -> list[Lease]:
    blocks = [SharedBlock.of_bytes(size) for size in sizes]
    return shelf.received([block.fd for block in blocks])


def lent_sizes(shelf: Shelf) -> list[int]:
    return [os.fstat(fd).st_size for fd in shelf.lend()]


def test_a_shelf_keeps_so_many_bytes_and_gives_up_what_was_used_longest_ago() -> None:
    before = descriptors()
    shelf = Shelf(kept=10 * LARGE)
    held = leases(shelf, 4 * LARGE, 3 * LARGE, 2 * LARGE)
    while held:
        del held[0]
    assert lent_sizes(shelf) == [4 * LARGE, 3 * LARGE, 2 * LARGE]
    held = leases(shelf, 2 * LARGE)
    assert lent_sizes(shelf) == [3 * LARGE, 2 * LARGE]
    held += leases(shelf, 11 * LARGE)  # no room could be made for it
    assert lent_sizes(shelf) == [3 * LARGE, 2 * LARGE]
    held += leases(shelf, 4 * LARGE)
    assert lent_sizes(shelf) == [2 * LARGE]
    held.clear()
    assert sorted(lent_sizes(shelf)) == [2 * LARGE, 2 * LARGE, 4 * LARGE]
    shelf.close()
    assert descriptors() == before


def test_what_is_out_counts_as_kept_so_that_letting_go_of_much_at_once_keeps_no_more() -> None:
    shelf = Shelf(kept=3 * LARGE)
    held = leases(shelf, *[LARGE] * 20)
    held.clear()
    assert lent_sizes(shelf) == [LARGE] * 3


def test_small_blocks_are_not_kept_and_large_ones_not_for_ever() -> None:
    shelf = Shelf()
    held = leases(shelf, LARGE - 1, 5000, 4 * LARGE, 6 * LARGE)
    held.clear()
    for number in range(UNUSED):
        sizes = {os.fstat(fd).st_size: fd for fd in shelf.lend()}
        assert sizes.keys() == {4 * LARGE, 6 * LARGE}
        if number == 3:
            shelf.received([sizes[4 * LARGE]])
    assert lent_sizes(shelf) == [4 * LARGE]


def test_a_closed_shelf_frees_what_comes_back() -> None:
    before = descriptors()
    shelf = Shelf()
    held = leases(shelf, LARGE, LARGE)
    shelf.close()
    held.clear()
    assert descriptors() == before
    assert shelf.lend() == []


def test_an_array_goes_into_the_smallest_lent_block_that_is_not_much_too_large(
    borrowing: Callable[..., tuple[()]],
) -> None:
    given = [filled(size) for size in (LARGE, 4 * LARGE, 2 * LARGE, 3 * LARGE)]
    fds = [os.dup(block.fd) for block in given]
    del given
    borrowing(fds)
    sizes = [2 * LARGE - 5, 2 * LARGE + 5, 2 * LARGE - 5, LARGE // 2 - 1]
    found = [SharedBlock.of_bytes(size) for size in sizes]
    assert [os.fstat(block.fd).st_size for block in found] == [2 * LARGE, 3 * LARGE, 2 * LARGE, LARGE // 2 - 1]
    assert [block.is_ready for block in found] == [True, True, False, False]
    assert [len(block) for block in found] == sizes
    for fd in fds:
        os.close(fd)


def test_a_lent_block_in_which_an_array_of_ones_own_lies_is_not_written_over(
    borrowing: Callable[..., tuple[()]],
) -> None:
    kept = np.frombuffer(filled(LARGE), np.uint8)
    found = shared_block(kept)
    assert found is not None
    borrowing([found[0].fd])
    filled(LARGE, 1)
    assert (kept == MARKER).all()


def test_what_was_lent_and_not_used_is_let_go(borrowing: Callable[..., tuple[()]]) -> None:
    block = filled(LARGE)
    fd = os.dup(block.fd)
    del block
    before = descriptors()
    borrowing([fd, fd])
    assert descriptors() == before + 2
    borrowing([])
    assert descriptors() == before
    os.close(fd)


def test_blocks_that_the_caller_holds_take_no_address_space_of_a_child(tmp_path: Path) -> None:
    shape = (256, 256, 400)  # 50 MiB; the interpreter alone takes most of half a gigabyte
    with ReadingPool(limits=Limits(memory=768 * 2**20)) as pool:
        source, truth = nifti(tmp_path, 0, shape)
        held = [pool.read(source).scan.volume.voxels for _ in range(7)]
        pid = {child._process.pid for child in pool._idle if child._process is not None}
        assert all(np.array_equal(got[::50], truth[::50]) for got in held)
        held.clear()
        assert np.array_equal(pool.read(source).scan.volume.voxels, truth)
        assert {child._process.pid for child in pool._idle if child._process is not None} == pid
        assert sum(os.fstat(fd).st_size for fd in pool._idle[0]._blocks.lend()) <= 2**29
