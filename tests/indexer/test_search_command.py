"""What `raptor search` can be asked beyond the nearest scans, and `raptor index --index`."""

from pathlib import Path

import pytest

from tests.indexer.command import Raptor
from tests.indexer.scans import write_scan
from tests.indexer.test_cli import LITE, one_line


@pytest.fixture
def indexed(raptor: Raptor, tmp_path: Path, home: Path) -> Path:
    for seed in range(4):
        write_scan(tmp_path / "scans" / f"sub-{seed:02d}" / f"scan{seed}.nii.gz", seed)
    copy = tmp_path / "scans" / "copy.nii.gz"
    copy.write_bytes((tmp_path / "scans" / "sub-01" / "scan1.nii.gz").read_bytes())
    done = raptor("index", tmp_path / "scans", "--home", home, *LITE, "--index", "SQ8", "--json")
    assert done.status == 0
    return tmp_path / "scans" / "sub-01" / "scan1.nii.gz"


def test_examples_regions_and_equal_scans(raptor: Raptor, indexed: Path, home: Path) -> None:
    plain = raptor("search", indexed, "--home", home, "--json").json
    assert [hit["duplicate"] for hit in plain["hits"]] == [True, True, False, False, False]

    once = raptor("search", indexed, "--home", home, "--collapse", "--json").json
    assert len(once["hits"]) == 4
    assert once["hits"][0]["copies"] == [plain["hits"][1]["volume_id"]]

    liked, unliked = (plain["hits"][rank]["volume_id"] for rank in (2, 4))
    asked = ("--like", str(liked), "--unlike", str(unliked))
    mixed = raptor("search", indexed, "--home", home, *asked, "--json").json
    assert not {liked, unliked} & {hit["volume_id"] for hit in mixed["hits"]}
    assert mixed["hits"][0]["score"] < 1

    part = raptor(
        "search", indexed, "--home", home, "--region", "axial:1-2,1-3", "--region", "sagittal:0,0-2", "--json"
    )
    assert part.json["region"] == ["axial:1-2,1-3", "sagittal:0-0,0-2"]
    assert any("not registered" in note for note in part.json["notes"])
    shown = raptor("search", indexed, "--home", home, "--region", "axial:1-2,1-3", "--collapse")
    assert "(and 1 equal)" in shown.out

    one_line(raptor("search", indexed, "--home", home, "--region", "axial"), "PLANE:ROWS,COLUMNS")
    one_line(raptor("search", indexed, "--home", home, "--like", "77"), "no volume 77")
    one_line(raptor("index", indexed, "--home", home, "--index", "IVF,no"), "--index", "FAISS factory string")
