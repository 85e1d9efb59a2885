import json
from pathlib import Path

import pytest

from indexer import status_file
from indexer.pipeline import index
from indexer.recipe import Options
from indexer.status_file import StatusFile
from tests.indexer.scans import write_scan

ENCODER = Options(encoder="efficientnet-lite0")


def test_a_run_writes_every_stage_and_ends_with_what_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAPTOR_KEY_FILE", str(tmp_path / "archive.key"))
    monkeypatch.delenv("RAPTOR_DATABASE_URL", raising=False)
    monkeypatch.setattr(status_file, "PAUSE", 0.0)
    seen: list[dict[str, object]] = []

    class Seen(StatusFile):
        def _write(self, *, at_once: bool = False) -> None:
            super()._write(at_once=at_once)
            seen.append(json.loads((tmp_path / "status.json").read_text()))

    (tmp_path / "scans").mkdir()
    write_scan(tmp_path / "scans" / "sub-01_T1w.nii.gz", seed=1)
    (tmp_path / "scans" / "bad.nii.gz").write_bytes(b"\x1f\x8b not a scan")
    progress = Seen(tmp_path / "status.json")
    index(
        [tmp_path / "scans"], home=tmp_path / "home", options=Options(encoder="efficientnet-lite0"), progress=progress
    )
    stages = [str(state["stage"]) for state in seen]
    assert list(dict.fromkeys(stages)) == ["starting", "discovering", "embedding", "publishing"]
    assert seen[-1] == {"version": 1, "stage": "publishing", "done": 1, "total": 1, "quarantined": 1}
    assert [path.name for path in tmp_path.glob("status*")] == ["status.json"]
