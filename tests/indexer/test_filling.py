import dataclasses
from pathlib import Path

import numpy as np
import pytest

from indexer.filling import fill
from indexer.loading import Loaded
from raptor_search.embedding import Embedding
from raptor_search.errors import ReadError
from raptor_search.intensity import IntensityRule
from raptor_search.readers import Scan, Source
from raptor_search.volume import Volume
from tests.archives import SPEC, drawn_archive

RULE = IntensityRule("percentile", 0.0, 1.0)


@dataclasses.dataclass
class Notes:
    """What the run says of each source."""

    lines: list = dataclasses.field(default_factory=list)

    def touched(self, source):
        self.lines.append(("touched", source.name))

    def committed(self, source, *, is_new, is_shared, is_moved):
        self.lines.append(
            ("moved" if is_moved else "shared" if is_shared else "new" if is_new else "again there", source.name)
        )

    def refused(self, source, error):
        self.lines.append((error.code, source.name))

    def erased(self, source):
        self.lines.append(("erased", source.name))

    def again(self, source):
        self.lines.append(("again", source.name))


class Drawn:
    """Embeds by drawing a vector from the volume's first voxel; gives results `late` volumes late, as a GPU does."""

    def __init__(self, late=0, fails=()):
        self.late, self.fails, self.embedded = late, fails, []

    def embed(self, items):
        held = []
        for loaded, volume, _ in items:
            self.embedded.append(loaded.source.name)
            rng = np.random.default_rng(int(volume.voxels[0, 0, 0]))
            values = rng.standard_normal(SPEC.shape).astype(np.float32)
            bad = ReadError("not-finite", "the tokens are not finite") if loaded.source.name in self.fails else None
            held.append((loaded, bad or Embedding(SPEC, values, RULE)))
            if len(held) > self.late:
                yield held.pop(0)
        yield from held


def read(name, content, key, *, fresh=True):
    """A source as the loader gives it; equal `content` means equal bytes."""
    voxels = np.arange(4 * 4 * 4, dtype=np.int16).reshape(4, 4, 4) + content
    scan = Scan(Volume(voxels=voxels, affine=np.eye(4)))
    source = Source(Path(f"/scans/{name}.nii"), "nifti", "", (Path(f"/scans/{name}.nii"),), 1, 1)
    return source, Loaded(source, key.digest("content", str(content)), None, not fresh, scan, b"png", RULE, 0.5)


@pytest.fixture
def archive(tmp_path):
    return drawn_archive(tmp_path / "home")


@pytest.fixture
def key(archive):
    return archive.catalog.key


def run(archive, embedder, sources):
    notes = Notes()
    stages = fill(archive.catalog, archive.stored, embedder, sources, notes)
    return notes.lines, stages


@pytest.mark.parametrize("late", [0, 5])
def test_each_content_is_embedded_once_however_late_the_vectors_come(archive, key, late):
    embedder = Drawn(late)
    lines, _ = run(archive, embedder, [read(f"{n}", n % 3, key) for n in range(9)])
    assert embedder.embedded == ["0", "1", "2"]
    assert {line for line in lines if line[0] == "new"} == {("new", "0"), ("new", "1"), ("new", "2")}
    assert {name for what, name in lines if what == "shared"} == {f"{n}" for n in range(3, 9)}
    assert archive.catalog.count(archive.stored.id) == 9


def test_copies_that_come_while_the_first_is_on_the_device_wait_for_its_vector(archive, key):
    embedder = Drawn(late=100)
    lines, _ = run(
        archive,
        embedder,
        [read("a", 1, key), read("b", 1, key), read("c", 2, key)],
    )
    assert embedder.embedded == ["a", "c"]
    assert lines == [("new", "a"), ("shared", "b"), ("new", "c")]


def test_what_cannot_be_embedded_takes_its_copies_along(archive, key):
    embedder = Drawn(late=100, fails=("a",))
    lines, _ = run(
        archive,
        embedder,
        [read("a", 1, key), read("b", 1, key), read("c", 2, key)],
    )
    assert lines == [("not-finite", "a"), ("not-finite", "b"), ("new", "c")]


def test_a_source_that_cannot_be_read_costs_itself_alone(archive, key):
    broken, _ = read("x", 7, key)
    lines, stages = run(archive, Drawn(), [(broken, ReadError("unreadable", "cut short")), read("a", 1, key)])
    assert sorted(lines) == [("new", "a"), ("unreadable", "x")]
    assert stages.reading == 0.5


def test_what_was_embedded_before_an_interruption_is_committed(archive, key):
    def sources():
        yield read("a", 1, key)
        yield read("b", 2, key)
        raise KeyboardInterrupt

    notes = Notes()
    with pytest.raises(KeyboardInterrupt):
        fill(archive.catalog, archive.stored, Drawn(), sources(), notes)
    assert notes.lines == [("new", "a"), ("new", "b")]
    assert archive.catalog.count(archive.stored.id) == 2


def test_a_scan_whose_old_place_is_gone_moves_and_a_second_copy_of_it_does_not(archive, key):
    run(archive, Drawn(), [read("old", 1, key)])
    (volume_id,) = archive.catalog.ids(archive.stored.id)
    lines, _ = run(archive, Drawn(), [read("new", 1, key), read("copy", 1, key)])
    assert lines == [("moved", "new"), ("shared", "copy")]
    assert archive.catalog.locator(volume_id) == "/scans/new.nii"
    assert archive.catalog.known(key.digest("source", "/scans/old.nii")) is None
    assert archive.catalog.count() == 2
    assert not any(problems for _, problems in archive.catalog.check_volumes())
