"""Where a source lies, and whether it is gone."""

import os
from pathlib import Path

import pytest

from raptor_search.places import holder, is_gone


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("scan.nii", "two.zip", "a#b.nii", "series/1.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("scan.nii", "scan.nii"),
        ("two.zip#sub-01/anat/x.nii#t3", "two.zip"),
        ("a#b.nii", "a#b.nii"),
        ("a#b.nii#t1", "a#b.nii"),
        ("series#1.2.3@echo-2", "series"),
    ],
)
def test_what_is_there_is_found_by_its_file_or_folder(tree: Path, uri: str, place: str) -> None:
    assert holder(f"{tree}/{uri}") == tree / place
    assert not is_gone(f"{tree}/{uri}")


@pytest.mark.parametrize("uri", ["x.nii", "x.nii#t1", "series#1/scan.nii", "empty#1.2.3", "scan.nii/x", "no/x#1"])
def test_what_is_not_there_is_gone(tree: Path, uri: str) -> None:
    assert is_gone(f"{tree}/{uri}")


def test_what_may_not_be_looked_at_is_not_gone(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> os.stat_result:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("raptor_search.places.os.stat", refuse)
    assert not is_gone(f"{tree}/closed/x.nii")
