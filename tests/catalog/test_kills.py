"""Killed at whatever moment: nothing acknowledged is lost, doubled or dangling, and the next start serves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = int(os.environ.get("RAPTOR_KILLS", "30"))
"""`make soak` asks for more."""

SEED = int(os.environ.get("RAPTOR_SEED", "0"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kills are timed by a child's own clock, as Linux has")
def test_killed_at_random_moments_of_every_action_the_archive_stays_whole(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.catalog.surviving", tmp_path / "home", str(KILLS), str(SEED)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    print(result)
    assert result["wrong"] == []
    assert sum(result["kills"].values()) == KILLS
    assert set(result["kills"]) == {"add", "publish", "remove", "erase", "rebuild", "migrate"}
    assert min(result["kills"].values()) >= KILLS // 6
