import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from indexer.demo import plan as planning
from indexer.demo.archive import DemoArchive, build_demo
from indexer.demo.derive import antialias, derive
from indexer.demo.sources import SOURCES, load
from raptor_search.errors import UsageError
from raptor_search.readers import Scan, Source, annotate, discover, read, read_file, read_table

FEW = ("single-subject-t1", "slicer-chest-ct")
"""Two sources that also have a DICOM series and a held-out scan each: small enough to build in a test."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoArchive:
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        return build_demo(tmp_path_factory.mktemp("demo") / "made")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)


def shrink(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(planning, "SOURCES", tuple(source for source in SOURCES if source.name in FEW))
    patch.setattr(planning, "SESSIONS", 2)


def read_all(demo: DemoArchive) -> dict[Path, Scan]:
    tables = [read_table(path) for path in demo.tables]
    found = list(discover([demo.root]))
    scans = {one.path: annotate(read(one), one, tables) for one in found if isinstance(one, Source)}
    assert all(not table.unmatched for table in tables)
    return scans


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_an_indexer_finds_every_scan_with_its_labels_and_participant(demo: DemoArchive) -> None:
    scans = read_all(demo)
    assert scans.keys() == {demo.path(scan) for scan in demo.scans}
    for planned in demo.scans:
        got = scans[demo.path(planned)]
        assert got.labels["source"] == planned.source.name
        assert got.labels["derived"] == "yes"
        assert got.labels["shows"] == planned.source.shows
        assert got.labels.get("sequence", "") == planned.sequence
        assert got.metadata.modality == planned.source.modality
        assert got.metadata.body_part == planned.source.body_part
        assert (got.metadata.age, got.metadata.sex) == (planned.subject.age, planned.subject.sex)
        assert got.identity.patient == planned.subject.id


@pytest.mark.parametrize("held_out", [False, True])
def test_every_file_reads_back_as_the_scan_that_was_derived(demo: DemoArchive, held_out: bool) -> None:
    for planned in demo.held_out if held_out else demo.scans:
        rng = np.random.default_rng([demo.plan.seed, planned.subject.number, planned.session])
        expected = derive(antialias(load(planned.source)), rng, modality=planned.source.modality)
        _, got = read_file(demo.path(planned))
        np.testing.assert_array_equal(got.volume.voxels, expected.voxels)
        np.testing.assert_allclose(got.volume.affine, expected.affine, atol=1e-4)


def test_files_are_of_several_kinds_and_lie_in_several_ways(demo: DemoArchive) -> None:
    volumes = {scan: read_file(demo.path(scan))[1].volume for scan in demo.plan.scans}
    assert {volume.format for volume in volumes.values()} == {"nifti", "dicom"}
    assert len({volume.stored_axes for volume in volumes.values()}) >= 2


def test_one_seed_gives_the_same_bytes(demo: DemoArchive, small: None, tmp_path: Path) -> None:
    again = build_demo(tmp_path / "elsewhere")
    assert digests(again.folder) == digests(demo.folder)


def test_a_complete_demo_is_found_and_not_made_again(demo: DemoArchive, small: None) -> None:
    heard: list[tuple[int, int]] = []
    assert build_demo(demo.folder, progress=lambda done, total: heard.append((done, total))) == demo
    assert heard == []


def test_a_build_that_was_cut_short_or_lost_a_scan_starts_again(small: None, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_demo(tmp_path / "made", progress=stop)
    heard: list[tuple[int, int]] = []
    demo = build_demo(tmp_path / "made", progress=lambda done, total: heard.append((done, total)))
    assert heard == [(n, 6) for n in range(1, 7)]
    assert len(read_all(demo)) == 4
    demo.path(demo.scans[0]).unlink()
    build_demo(tmp_path / "made")
    assert demo.path(demo.scans[0]).is_file()


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="is no demo; choose another folder"):
        build_demo(tmp_path)
    assert digests(tmp_path).keys() == {"archive/thesis.txt"}


@pytest.mark.parametrize("text", ["", "[]", '{"version": 99}', '{"version": 1, "seed": 7, "complete": true}'])
def test_another_demo_in_the_folder_is_not_mixed_with(tmp_path: Path, text: str) -> None:
    (tmp_path / "demo.json").write_text(text)
    with pytest.raises(UsageError, match="choose another folder"):
        build_demo(tmp_path, seed=0)


@pytest.mark.parametrize("blocked", ["", "archive"])
def test_a_place_that_cannot_be_written_is_one_clear_line(small: None, tmp_path: Path, blocked: str) -> None:
    path = tmp_path / "demo" / blocked
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    with pytest.raises(UsageError, match=r"the demo cannot be written there: .*; choose another folder"):
        build_demo(tmp_path / "demo")


def test_the_readme_and_the_tables_say_what_is_derived_and_what_is_simulated(demo: DemoArchive) -> None:
    readme = (demo.root / "README.txt").read_text()
    for subject in demo.plan.subjects:
        assert subject.source.name in readme
        assert subject.source.licence in readme
        assert subject.source.people in readme
    assert "all derived from 2 real volumes" in readme
    assert "Ages, sexes and sites are simulated" in readme
    described = json.loads((demo.root / "participants.json").read_text())
    header, *rows = (demo.root / "participants.tsv").read_text().splitlines()
    assert header.split("\t") == list(described)
    assert len(rows) == 2
    assert all("Simulated" in described[name]["Description"] for name in ("age", "sex", "site"))
