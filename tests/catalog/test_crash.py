"""Processes that die, race, or run out of space: nothing acknowledged is lost, doubled or dangling."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CRASHING = Path(__file__).with_name("crashing.py")


def run(scenario: str, home: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, CRASHING, scenario, home],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=CRASHING.parents[2],
        env={"PYTHONPATH": str(CRASHING.parents[2]), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout), stderr=done.stderr)


def test_a_writer_killed_at_random_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    result = run("random_kills", tmp_path / "home")
    assert result["kills"] == 12
    assert (result["lost"], result["broken"]) == (0, 0)
    assert result["volumes"] >= result["noted"] > 0


def test_a_writer_killed_at_any_step_of_a_commit_leaves_the_volume_as_it_was(tmp_path: Path) -> None:
    result = run("kill_points", tmp_path / "home")
    assert result["steps"] == dict.fromkeys(("_fill", "_embed", "_replace", "give_labels", "commit"), True)
    assert result["goes_on"]


def test_a_killed_creation_or_upgrade_is_undone(tmp_path: Path) -> None:
    result = run("killed_creation", tmp_path / "home")
    assert (result["creation"], result["upgrade"], result["again"]) == ("absent", "older", "current")


def test_processes_that_open_an_empty_home_at_once_make_one_archive(tmp_path: Path) -> None:
    result = run("race", tmp_path / "home")
    assert result["codes"] == [0] * 8
    assert (result["whole"], result["volumes"], result["specs"], result["backups"]) == (True, 8, 1, False)


def test_a_full_disk_is_one_clear_line_and_loses_nothing(tmp_path: Path) -> None:
    result = run("full_disk", tmp_path / "home")
    assert result["code"] == 3
    assert result["stderr"].startswith("catalog: the catalog ")
    assert "space" in result["stderr"]
    assert result["whole"]
    assert result["volumes"] == result["acknowledged"] > 0
