"""What stays of an archive whose first run failed."""

from pathlib import Path

import pytest

from indexer.new_archive import undone_on_failure
from indexer.pipeline import index
from indexer.recipe import Options
from raptor_search.archive import Archive
from raptor_search.errors import LockedError, RaptorError, UsageError
from tests.indexer.scans import write_scan

LITE = Options(encoder="efficientnet-lite0")


def failing(home: Path, error: BaseException, act: str | None = None) -> None:
    def run() -> None:
        with undone_on_failure(home), Archive.open(home, create=True) as archive:
            if act == "quarantine":
                key = archive.key.digest("source", "/x")
                archive.catalog.quarantine(key, locator="/x", size=1, mtime_ns=1, code="unreadable", reason="cut short")
            raise error

    with pytest.raises(type(error)):
        run()


def test_a_run_without_scans_or_weights_leaves_nothing_and_no_folder_that_it_made(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    home = tmp_path / "new" / "home"
    for options in (LITE, Options(weights=tmp_path / "absent.safetensors")):
        with pytest.raises(RaptorError):
            index([tmp_path / "scans"], home=home, options=options)
        assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("error", [UsageError("no"), KeyboardInterrupt()])
def test_what_was_there_before_stays(tmp_path: Path, error: BaseException) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "notes.txt").write_text("mine")
    failing(home, error)
    assert [path.name for path in home.iterdir()] == ["notes.txt"]


def test_an_archive_that_holds_something_or_was_there_or_is_another_s_stays(tmp_path: Path) -> None:
    failing(tmp_path / "a", UsageError("no"), act="quarantine")
    Archive.open(tmp_path / "b", create=True).close()
    failing(tmp_path / "b", UsageError("no"))
    failing(tmp_path / "c", LockedError("another"))
    assert all((tmp_path / name / "catalog.db").exists() for name in "abc")


def test_a_run_that_fails_later_does_not_take_the_archive_away(tmp_path: Path) -> None:
    scan, home = write_scan(tmp_path / "scan.nii.gz", 1), tmp_path / "home"
    index([scan], home=home, options=LITE)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError):
        index([tmp_path / "empty"], home=home)
    with Archive.open(home) as archive:
        assert archive.catalog.count() == 1
