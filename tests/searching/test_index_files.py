"""Index files that are cut, flipped, swapped, or meet a full disk: never a wrong hit, and it is said."""

import dataclasses
import hashlib
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from raptor_search.errors import IndexFileError
from raptor_search.searching.index_files import read_index, write_index
from tests.archives import SPEC, Drawn, DrawnArchive, draw, exact_ids, volumes_in

N = 60
MUTANTS = 1_000
OFFSETS = 60


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DrawnArchive, Drawn]]:
    archive, drawn = volumes_in(tmp_path_factory.mktemp("index files") / "home", N)
    archive.publish("IVF4,SQ8", exact_limit=N)
    yield archive, drawn
    archive.catalog.close()


@pytest.fixture
def archive(stored: tuple[DrawnArchive, Drawn], tmp_path: Path) -> Iterator[DrawnArchive]:
    copy = stored[0].copied_to(tmp_path / "home")
    yield copy
    copy.catalog.close()


def mean_of(archive: DrawnArchive) -> np.ndarray:
    serving = archive.catalog.serving(archive.stored.id)
    assert serving is not None
    return serving[1].mean.astype(np.float64)


def mutant(data: bytes, number: int) -> bytes:
    """The file with a bit flipped, a piece cut off, out or put in, or pages of zeros, drawn by number."""
    rng = np.random.default_rng(number)
    at = int(rng.integers(len(data)))
    match number % 5:
        case 0:
            return data[:at]
        case 1:
            return data[:at] + data[at + int(rng.integers(1, 4096)) :]
        case 2:
            return data[:at] + rng.bytes(int(rng.integers(1, 64))) + data[at:]
        case 3:
            length = min(4096, len(data) - at)
            zeros = bytes(length)
            return data[:at] + (zeros if data[at : at + length] != zeros else b"\1" * length) + data[at + length :]
    return data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :]


def test_none_of_a_thousand_damaged_files_is_ever_loaded(archive: DrawnArchive) -> None:
    version, file = archive.catalog.current_index(archive.stored.id), archive.index_file()
    assert version is not None
    sound = file.read_bytes()
    assert read_index(archive.home, version.file, version.sha256).ids.size == N
    for number in range(MUTANTS):
        file.write_bytes(mutant(sound, number))
        with pytest.raises(IndexFileError, match="is damaged: its bytes are not the ones that were published"):
            read_index(archive.home, version.file, version.sha256)


def test_a_search_over_damaged_files_scores_every_scan_and_says_so(
    archive: DrawnArchive, stored: tuple[DrawnArchive, Drawn]
) -> None:
    sound, drawn, mean = archive.index_file().read_bytes(), stored[1], mean_of(archive)
    for number in range(0, MUTANTS, 50):
        archive.index_file().write_bytes(mutant(sound, number))
        query = drawn.vectors[number % N]
        result = archive.search(query)
        assert [hit.volume_id for hit in result.hits] == exact_ids(query, drawn, mean, [True] * N, 10)
        assert result.exact
        assert any("is damaged" in note and "every scan was scored" in note for note in result.notes)


def test_the_index_of_another_spec_in_its_place_is_refused(
    archive: DrawnArchive, stored: tuple[DrawnArchive, Drawn]
) -> None:
    drawn = stored[1]
    other = archive.catalog.add_spec(dataclasses.replace(SPEC, seed=5), {})
    for volume_id, vector in zip(drawn.ids.tolist(), draw(9, N), strict=True):
        archive.catalog.add_embedding(volume_id, other.id, vector, "percentile")
    second = DrawnArchive(archive.home, archive.catalog, other)
    second.publish("IVF4,SQ8", exact_limit=N)
    first_bytes = archive.index_file().read_bytes()
    shutil.copy(second.index_file(), archive.index_file())
    second.index_file().write_bytes(first_bytes)
    for each, vectors in ((archive, drawn.vectors), (second, draw(9, N))):
        of_spec = dataclasses.replace(drawn, vectors=vectors)
        result = each.search(vectors[3])
        assert [h.volume_id for h in result.hits] == exact_ids(vectors[3], of_spec, mean_of(each), [True] * N, 10)
        assert any("is damaged" in note for note in result.notes)


def test_a_disk_that_fills_up_at_any_byte_of_the_index_leaves_the_version_before(
    archive: DrawnArchive, stored: tuple[DrawnArchive, Drawn]
) -> None:
    drawn = stored[1]
    archive.add(draw(10, 1), start=N)
    before, on_disk = archive.catalog.current_index(archive.stored.id), archive.index_file().read_bytes()
    size = len(on_disk)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with archive.catalog.writing():  # the database's own files are larger than what is allowed here
        for offset in [0, 1, 4095, 4096, *np.linspace(2, size - 1, OFFSETS).astype(int).tolist(), size]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (offset, limits[1]))
            try:
                with pytest.raises(IndexFileError, match=r"could not be written .*File too large.*make room"):
                    write_index(archive.home, archive.stored.fingerprint, on_disk + b"\0")
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert [path.read_bytes() for path in (archive.home / "indexes").iterdir()] == [on_disk]
        for offset in (0, size // 3, size - 1):
            resource.setrlimit(resource.RLIMIT_FSIZE, (offset, limits[1]))
            try:
                with pytest.raises(IndexFileError):
                    archive.publish(exact_limit=10 * N)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert archive.catalog.current_index(archive.stored.id) == before
    assert [hit.volume_id for hit in archive.search(drawn.vectors[5], 1).hits] == [drawn.ids[5]]
    assert archive.publish(exact_limit=10 * N) > before.id


def test_what_was_written_reads_back(tmp_path: Path, stored: tuple[DrawnArchive, Drawn]) -> None:
    data = stored[0].index_file().read_bytes()
    name, sha256 = write_index(tmp_path, "a" * 64, data)
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert read_index(tmp_path, name, sha256).ids.size == N
    with pytest.raises(IndexFileError, match="cannot be read"):
        read_index(tmp_path, "absent.faiss", sha256)
