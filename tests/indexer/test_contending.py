"""Many indexers at once: one works, the others name it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from raptor_search.archive import Archive
from tests.indexer.scans import write_scan

SCANS = 5


def test_of_eight_indexers_started_at_once_one_works_and_seven_name_it(
    tmp_path: Path, key_file: Path, database: str
) -> None:
    for number in range(SCANS):
        write_scan(tmp_path / "scans" / f"sub-{number}" / "scan.nii.gz", seed=number)
    (tmp_path / "ended").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tests.indexer.contending", "home", "scans", "ended"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    (worker,) = [pid for pid, code in result["codes"].items() if code == 0]
    assert sorted(result["codes"].values()) == [0] + [3] * 7
    assert len(result["said"]) == 7
    for message in result["said"]:
        assert f"another process is writing to this archive: pid {worker} on " in message
    with Archive.open(tmp_path / "home") as archive:
        assert archive.catalog.count() == SCANS
        assert archive.verify().problems == ()
        assert archive.publish() == archive.catalog.current_index(1).id  # nothing was left to publish
