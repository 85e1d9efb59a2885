"""MedMNIST-style npz: entries one by one, in any order, from several threads; nothing in it is ever run."""

import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from raptor_search.errors import ReadError
from raptor_search.readers import Refused, Source, content_digest, discover, inflating, read
from raptor_search.readers.npz import npz_entry, npz_labels, npz_splits


def images(count: int, seed: int = 0, shape: tuple[int, ...] = (5, 6, 7)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 255, (count, *shape)).astype(np.uint8)


@pytest.fixture
def medmnist(tmp_path: Path) -> Path:
    path = tmp_path / "organ.npz"
    np.savez_compressed(
        path,
        train_images=images(20),
        train_labels=np.arange(20)[:, None] % 3,
        test_images=images(4, seed=1),
        test_labels=np.zeros((4, 1), int),
    )
    return path


def test_every_entry_of_every_split_is_a_source(medmnist: Path) -> None:
    sources = [found for found in discover([medmnist]) if isinstance(found, Source)]
    assert [s.name for s in sources] == [f"train_{n}" for n in range(20)] + [f"test_{n}" for n in range(4)]
    assert {s.uri for s in sources} == {f"{medmnist}#{s.name}" for s in sources}
    assert {s.format for s in sources} == {"npz"}


def test_a_scan_has_the_entrys_voxels_label_and_split(medmnist: Path) -> None:
    sources = [found for found in discover([medmnist]) if isinstance(found, Source)]
    scan = read(sources[7])
    np.testing.assert_array_equal(scan.volume.voxels, images(20)[7])
    assert (scan.labels, scan.metadata.split) == ({"label": "1"}, "train")
    assert scan.volume.spacing == (1.0, 1.0, 1.0)
    assert not scan.volume.oriented
    assert scan.volume.voxels.dtype == np.uint8


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_entries_are_the_same_in_any_order(tmp_path: Path, save: Callable[..., None]) -> None:
    expected = images(40)
    save(tmp_path / "a.npz", train_images=expected)
    order = np.random.default_rng(3).integers(0, 40, 120)
    for index in [0, 39, 0, 1, 2, 30, *order]:
        np.testing.assert_array_equal(npz_entry(tmp_path / "a.npz", f"train_{index}"), expected[index])


def test_entries_are_the_same_from_several_threads(medmnist: Path) -> None:
    members = [f"train_{n}" for n in range(20)] * 5
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda member: npz_entry(medmnist, member), members))
    for member, entry in zip(members, found, strict=True):
        np.testing.assert_array_equal(entry, images(20)[int(member.partition("_")[2])])


def test_a_split_read_in_order_is_inflated_once(medmnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeks = []
    seek = zipfile.ZipExtFile.seek
    monkeypatch.setattr(
        zipfile.ZipExtFile, "seek", lambda stream, place, *how: seeks.append(place) or seek(stream, place, *how)
    )
    for index in [0, 1, 2, 1, 4, 3, 5, 6, 8, 7, 9]:
        npz_entry(medmnist, f"train_{index}")
    assert seeks == []


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for seed in range(2):
        path.unlink(missing_ok=True)
        np.savez(path, train_images=images(3, seed=seed))
        np.testing.assert_array_equal(npz_entry(path, "train_1"), images(3, seed=seed)[1])


def test_a_single_channel_is_dropped(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", val_images=images(3, shape=(5, 6, 7, 1)))
    np.testing.assert_array_equal(npz_entry(tmp_path / "a.npz", "val_2"), images(3, shape=(5, 6, 7, 1))[2, ..., 0])


def test_several_labels_are_numbered_and_none_are_no_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", val_images=images(2), val_labels=np.array([[1, 0], [0, 7]]), test_images=images(2))
    assert npz_labels(tmp_path / "a.npz", "val_1") == {"label_0": "0", "label_1": "7"}
    assert npz_labels(tmp_path / "a.npz", "test_1") == {}


def test_equal_entries_have_equal_digests_wherever_they_lie(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train_images=images(3))
    np.savez_compressed(tmp_path / "b.npz", test_images=images(3)[::-1])
    first = [found for found in discover([tmp_path / "a.npz"]) if isinstance(found, Source)]
    second = [found for found in discover([tmp_path / "b.npz"]) if isinstance(found, Source)]
    assert content_digest(first[0]) == content_digest(second[2])
    assert content_digest(first[0]) != content_digest(second[0])


def test_transposed_entries_have_different_digests(tmp_path: Path) -> None:
    cube = images(1, shape=(4, 5, 6))
    np.savez(tmp_path / "a.npz", train_images=cube, test_images=cube.reshape(1, 6, 5, 4))
    first, second = (found for found in discover([tmp_path / "a.npz"]) if isinstance(found, Source))
    assert content_digest(first) != content_digest(second)


class Trap:
    """An object whose unpickling leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["train_images", "train_labels"])
def test_pickled_objects_are_refused_and_never_run(tmp_path: Path, name: str) -> None:
    trap = np.empty((3, 1), object)
    trap[:] = [[Trap(tmp_path / "sprung")]] * 3
    np.savez(tmp_path / "a.npz", **{"train_images": images(3), name: trap})
    (found,) = discover([tmp_path / "a.npz"])
    assert isinstance(found, Refused)
    assert found.error.code == "unsupported"
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("arrays", "code"),
    [
        ({"data": images(3)}, "not-a-volume"),
        ({"train_images": images(3, shape=(28, 28))}, "not-3d"),
        ({"train_images": images(3, shape=(28, 28, 3))}, "too-few-slices"),
        ({"train_images": images(3, shape=(8, 8, 8, 3))}, "not-3d"),
        ({"train_images": images(3).astype(complex)}, "unsupported"),
        ({"train_images": np.asfortranarray(images(3))}, "unsupported"),
        ({"train_images": images(3), "train_labels": np.zeros(2)}, "unreadable"),
    ],
)
def test_arrays_that_are_no_volumes_are_refused_once_for_the_file(
    tmp_path: Path, arrays: dict[str, NDArray[np.generic]], code: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    (found,) = discover([tmp_path / "a.npz"])
    assert isinstance(found, Refused)
    assert found.error.code == code


def test_an_array_shorter_than_its_header_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train_images=images(3))
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        content = archive.read("train_images.npy")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("train_images.npy", content[:-9])
    with pytest.raises(ReadError, match="truncated") as caught:
        npz_splits(tmp_path / "b.npz")
    assert caught.value.code == "unreadable"


def test_an_entry_that_alone_would_inflate_out_of_proportion_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "a.npz", train_images=np.zeros((1, 128, 128, 128), np.uint8))
    monkeypatch.setattr(inflating, "SMALL", 2**20)
    with pytest.raises(ReadError, match="would unpack to 2097152") as caught:
        npz_splits(tmp_path / "a.npz")
    assert caught.value.code == "too-large"


def test_entries_after_a_damaged_one_keep_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = images(12)
    np.savez_compressed(tmp_path / "a.npz", train_images=expected)
    npz_entry(tmp_path / "a.npz", "train_0")
    read_on = zipfile.ZipExtFile.read

    def fails_midway(stream: zipfile.ZipExtFile, size: int = -1) -> bytes:
        read_on(stream, 50)
        raise zlib.error("invalid distance")

    monkeypatch.setattr(zipfile.ZipExtFile, "read", fails_midway)
    with pytest.raises(ReadError, match="damaged"):
        npz_entry(tmp_path / "a.npz", "train_1")
    monkeypatch.undo()
    for index in (2, 3, 1):
        np.testing.assert_array_equal(npz_entry(tmp_path / "a.npz", f"train_{index}"), expected[index])


def test_an_entry_that_is_not_there_is_an_error(medmnist: Path) -> None:
    for member in ("train_20", "val_0", "train_x"):
        with pytest.raises(ReadError):
            npz_entry(medmnist, member)


def test_damage_anywhere_gives_a_read_error_or_a_volume(
    tmp_path: Path, medmnist: Path, mutants: Callable[[bytes, int], list[bytes]]
) -> None:
    outcomes = set()
    for number, content in enumerate(mutants(medmnist.read_bytes(), 120)):
        path = tmp_path / f"{number}.npz"
        path.write_bytes(content)
        for found in discover([path]):
            try:
                outcomes.add(read(found).volume.format if isinstance(found, Source) else found.error.code)
            except ReadError as error:
                outcomes.add(error.code)
    assert {"npz", "unreadable", "not-a-volume"} <= outcomes


@pytest.mark.parametrize(("extra", "code"), [(64 * 2**20, "too-large"), (10_000, "unreadable")])
def test_labels_that_inflate_beyond_their_header_are_refused(tmp_path: Path, extra: int, code: str) -> None:
    np.save(tmp_path / "labels.npy", np.zeros((2, 1), np.uint8))
    np.save(tmp_path / "images.npy", images(2))
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "images.npy", "train_images.npy")
        archive.writestr("train_labels.npy", (tmp_path / "labels.npy").read_bytes() + bytes(extra))
    with pytest.raises(ReadError) as caught:
        npz_labels(tmp_path / "bomb.npz", "train_0")
    assert caught.value.code == code
