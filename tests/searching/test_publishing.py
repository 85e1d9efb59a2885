import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from raptor_search.errors import IndexFileError
from raptor_search.searching import drift, publishing
from raptor_search.searching.index_files import read_index, write_index
from raptor_search.searching.measures import Measures
from raptor_search.searching.publishing import publish
from tests.archives import draw, drawn_archive, volumes_in

N = 60
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """60 volumes, published once; copied by the tests that change it."""
    archive, drawn = volumes_in(tmp_path_factory.mktemp("publishing") / "home", N)
    archive.publish()
    yield archive, drawn
    archive.catalog.close()


@pytest.fixture
def archive(stored, tmp_path):
    copy = stored[0].copied_to(tmp_path / "home")
    yield copy
    copy.catalog.close()


def current(archive):
    return archive.catalog.current_index(archive.stored.id)


def held(archive):
    version = current(archive)
    return read_index(archive.home, version.file, version.sha256).ids.tolist()


def files(archive):
    return sorted(p.name for p in (archive.home / "indexes").iterdir())


def test_nothing_embedded_publishes_nothing(tmp_path):
    archive = drawn_archive(tmp_path / "home")
    assert publish(archive.catalog, archive.home, archive.stored) is None
    assert not (archive.home / "indexes").exists()
    archive.catalog.close()


def test_the_mean_of_a_generation_is_the_mean_of_its_volumes(stored):
    archive, drawn = stored
    generation = archive.catalog.generation(current(archive).generation_id)
    assert generation.centring == "archive"
    assert generation.volumes == N
    assert generation.mean == pytest.approx(drawn.vectors.astype(np.float64).mean(axis=0), rel=1e-6)


def test_publishing_again_with_nothing_new_changes_nothing(archive):
    before, on_disk = current(archive), files(archive)
    assert archive.publish() == before.id
    assert current(archive) == before
    assert files(archive) == on_disk


def test_new_volumes_join_a_copy_of_the_index_under_the_same_mean(archive):
    before = current(archive)
    new = archive.add(draw(1, 4), start=N)
    archive.publish()
    after = current(archive)
    assert after.id > before.id
    assert after.generation_id == before.generation_id
    assert after.file != before.file
    assert (after.volumes, after.rerank) == (N + 4, before.rerank)
    assert set(new.ids.tolist()) <= set(held(archive))
    assert files(archive) == sorted([before.file, after.file])


def measures_of(archive):
    return Measures.from_stored(archive.catalog.measures(current(archive).id))


def test_an_archive_that_grows_as_it_was_keeps_its_mean(archive):
    before = current(archive)
    archive.add(draw(2, N), start=N)
    archive.publish()
    assert current(archive).generation_id == before.generation_id
    drift = measures_of(archive).drift
    assert 0 < drift["mean_shift"] < 0.1
    assert drift["recall"] >= 0.99
    assert measures_of(archive).measured_volumes == 2 * N


def test_drift_is_not_measured_for_every_scan(archive):
    archive.add(draw(2, N // 10 - 1), start=N)
    archive.publish()
    assert measures_of(archive).drift == {}
    assert measures_of(archive).measured_volumes == N


def test_an_archive_whose_mean_has_moved_gets_a_new_one(archive):
    before = current(archive)
    archive.add(draw(3, N, clusters=1), start=N)
    archive.publish()
    after = measures_of(archive)
    generation = archive.catalog.generation(current(archive).generation_id)
    assert generation.id != before.generation_id
    assert generation.volumes == 2 * N
    assert "mean has moved" in after.trained_because
    assert after.drift == {}
    assert len(files(archive)) == 2


def test_a_kind_of_index_that_was_asked_for_stays_through_drift_and_growth(archive, monkeypatch):
    archive.publish("IVF4,SQ8")
    assert current(archive).factory == "IVF4,SQ8"
    monkeypatch.setattr(drift, "default_factory", lambda volumes: "IVF64,RaBitQ")
    archive.add(draw(3, N, clusters=1), start=N)
    archive.publish()
    assert current(archive).factory == "IVF4,SQ8"
    assert "mean has moved" in measures_of(archive).trained_because


def test_an_archive_that_has_outgrown_its_kind_of_index_gets_another(archive, monkeypatch):
    for module in (drift, publishing):
        monkeypatch.setattr(module, "default_factory", lambda volumes: "IVF8,SQ8")
    archive.add(draw(2, 1), start=N)
    archive.publish()
    assert current(archive).factory == "IVF8,SQ8"
    assert "outgrown Flat" in measures_of(archive).trained_because


def test_asked_to_train_again_it_does(archive):
    before = current(archive)
    version = publish(archive.catalog, archive.home, archive.stored, retrain=True, exact_limit=0)
    assert version.generation_id != before.generation_id
    assert measures_of(archive).trained_because == "asked for"


def test_the_background_is_of_different_patients_and_kept_with_the_mean(archive):
    background = measures_of(archive).background
    assert background.size == 1001
    assert (np.diff(background) >= 0).all()
    archive.add(draw(2, 3), start=N)
    archive.publish()
    assert (measures_of(archive).background == background).all()


def test_a_small_archive_is_centred_on_itself_once_it_has_thirty_volumes(tmp_path):
    archive, _ = volumes_in(tmp_path / "home", 29)
    archive.publish()
    first = archive.catalog.generation(current(archive).generation_id)
    assert (first.centring, first.mean.size) == ("none", 0)
    archive.add(draw(4, 1), start=29)
    archive.publish()
    second = archive.catalog.generation(current(archive).generation_id)
    assert (second.centring, second.volumes) == ("archive", 30)
    archive.catalog.close()


def test_a_replaced_volume_leaves_the_next_index_but_the_mean_stays(archive):
    before = current(archive)
    old = archive.catalog.ids(archive.stored.id)[5]
    (new,) = archive.add(draw(5, 1), start=5, content="other bytes").ids
    archive.publish()
    assert old not in held(archive)
    assert new in held(archive)
    assert current(archive).generation_id == before.generation_id


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_index_is_built_again_from_the_catalog(archive, damage):
    before, file = current(archive), archive.index_file()
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-7])
    else:
        file.unlink()
    archive.publish()
    assert current(archive).generation_id == before.generation_id
    assert current(archive).sha256 == before.sha256
    assert held(archive) == archive.catalog.ids(archive.stored.id).tolist()


def test_equal_bytes_at_two_sources_are_two_entries(archive):
    archive.add(draw(6, 1), start=N, content="0")
    archive.publish()
    assert len(held(archive)) == N + 1


def test_settings_are_measured_only_where_the_index_is_asked(archive):
    archive.publish("IVF4,SQ8", exact_limit=N)
    assert (current(archive).nprobe, current(archive).rerank, current(archive).measured_recall) == (0, 0, None)
    archive.add(draw(7, 1), start=N)
    archive.publish(exact_limit=N)  # one volume more than the limit: the index will be asked, so it is measured
    assert current(archive).factory == "IVF4,SQ8"
    assert current(archive).rerank == 20
    assert current(archive).measured_recall >= 0.99


KILLED = """
import os, signal, sys
from pathlib import Path
from raptor_search.searching import publishing
from tests.archives import opened_archive

point, home = sys.argv[1:]
archive = opened_archive(Path(home))

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

if point == "before the rename":
    Path.rename = kill
elif point == "before the row":
    archive.catalog.publish_index = kill
else:
    publishing.remove = kill
archive.publish()
"""


@pytest.mark.parametrize("point", ["before the rename", "before the row", "after the row"])
def test_killed_at_any_point_the_next_run_publishes_and_cleans_up(archive, point):
    before = current(archive)
    archive.add(draw(8, 2), start=N)
    done = subprocess.run([sys.executable, "-c", KILLED, point, archive.home], check=False, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    served = current(archive)
    assert (served != before) == (point == "after the row")
    assert len(held(archive)) == served.volumes
    archive.add(draw(9, 1), start=N + 2)
    archive.publish()
    assert files(archive) == sorted([served.file, current(archive).file])
    assert held(archive) == archive.catalog.ids(archive.stored.id).tolist()


def test_files_of_another_spec_are_left_alone(archive):
    other = archive.home / "indexes" / "0123456789abcdef-00.faiss"
    other.write_bytes(b"another spec's")
    archive.add(draw(9, 1), start=N)
    archive.publish()
    assert other.exists()


def test_a_file_that_does_not_fit_on_the_disk_leaves_the_version_before(archive):
    archive.add(draw(10, 1), start=N)
    before, on_disk = current(archive), files(archive)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with archive.catalog.writing():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limits[1]))
        try:
            with pytest.raises(IndexFileError, match=r"0\.3 MB.*could not be written.*make room") as refused:
                archive.publish()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in refused.value.message
    assert current(archive) == before
    assert files(archive) == on_disk


def test_an_index_file_never_takes_the_name_of_another(tmp_path):
    first, digest = write_index(tmp_path, "a" * 64, b"bytes")
    second, again = write_index(tmp_path, "a" * 64, b"bytes")
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "indexes").iterdir()} == {0o600}
    assert first != second
    assert digest == again
    assert {p.name for p in (tmp_path / "indexes").iterdir()} == {first, second}
