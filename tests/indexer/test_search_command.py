"""What `raptor search` can be asked beyond the nearest scans, and `raptor index --index`."""

import csv
from pathlib import Path

import numpy as np
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


def test_a_case_of_the_archive_asks_and_its_patient_may_be_left_out(raptor: Raptor, indexed: Path, home: Path) -> None:
    plain = raptor("search", indexed, "--home", home, "--json").json["hits"]
    case = next(hit for hit in plain if Path(hit["source"]) == indexed)
    asked = raptor("search", "--case", str(case["volume_id"]), "--home", home, "--json").json["hits"]
    assert [hit["volume_id"] for hit in asked] == [h["volume_id"] for h in plain if h["volume_id"] != case["volume_id"]]

    pseudonym = case["metadata"]["patient"]
    own = {hit["volume_id"] for hit in plain if hit["metadata"]["patient"] == pseudonym}
    for left_out in (["--exclude-same-patient"], ["--exclude-patient", pseudonym]):
        others = raptor("search", indexed, "--home", home, *left_out, "--json").json
        assert {hit["volume_id"] for hit in others["hits"]} == {hit["volume_id"] for hit in plain} - own
        assert not any("left out" in note for note in others["notes"])
    nobody = raptor("search", indexed, "--home", home, "--exclude-patient", "P-00000000", "--json").json
    assert len(nobody["hits"]) == len(plain)
    assert any("no scan of the archive is of the patient" in note for note in nobody["notes"])

    no_ct = raptor("search", indexed, "--home", home, "--where", "format = 'NIFTI'")
    assert "no scan has format = 'NIFTI'; there are 'nifti'" in no_ct.out

    one_line(raptor("search", "--home", home), "a scan's path, or --case ID")
    one_line(raptor("search", indexed, "--case", "1", "--home", home), "expected one question")
    one_line(raptor("search", "--case", "77", "--home", home), "no volume 77")
    one_line(raptor("search", indexed, "--like", "2", "--unlike", "2", "--home", home), "case 2", "alike and unlike")
    one_line(raptor("search", "--case", "1", "--volume-index", "0", "--home", home), "names its volume already")
    one_line(raptor("search", ".", "--volume-index", "0", "--home", home), "expected a 4D file")


def test_explained_hits_say_which_cells_their_scores_add_up_from(raptor: Raptor, indexed: Path, home: Path) -> None:
    answer = raptor("search", indexed, "--home", home, "--explain", "--json").json
    for hit in answer["hits"]:
        parts = np.array(hit["shares"]["cells"])
        assert parts.sum() + sum(hit["shares"]["cls"]) == pytest.approx(hit["score"], abs=1e-5)
    shown = raptor("search", indexed, "--home", home, "--explain", "-k", "3").out
    best = np.array(answer["hits"][2]["shares"]["cells"])
    plane, row, column = np.unravel_index(best.argmax(), best.shape)
    name = ("axial", "coronal", "sagittal")[plane]
    assert f"most from {name}:{row},{column} {best.max():+.3f}" in shown
    assert f"case {answer['hits'][2]['volume_id']}  " in shown


def test_a_hits_line_tells_what_is_known_and_stays_one_line(raptor: Raptor, home: Path, tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "scans" / "a.nii.gz", 0)
    write_scan(tmp_path / "scans" / "b\nc\x1b[31m.nii.gz", 1)
    table = tmp_path / "facts.csv"
    table.write_text("file,sex,age,body_part,grade\na.nii.gz,F,54,HEAD,\x1b[31mII\n")
    assert raptor("index", tmp_path / "scans", "--home", home, *LITE, "--labels", table).status == 0
    shown = raptor("search", scan, "--home", home).out
    assert r"  -  HEAD  -  F, 54 y  grade=\x1b[31mII (same bytes)" in shown
    assert r"b\nc\x1b[31m.nii.gz" in shown
    assert "\x1b" not in shown


def test_the_hits_are_written_as_a_table(raptor: Raptor, indexed: Path, home: Path, tmp_path: Path) -> None:
    table = tmp_path / "hits.csv"
    answer = raptor("search", indexed, "--home", home, "--csv", table, "--json").json
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["case"], row["source"]) for row in rows] == [
        (str(hit["volume_id"]), hit["source"]) for hit in answer["hits"]
    ]
    assert rows[0]["query"] == str(indexed)
    assert rows[0]["spec"] == answer["spec"]["fingerprint"]
    case = str(answer["hits"][0]["volume_id"])
    assert f"Hits: {table}" in raptor("search", "--case", case, "--home", home, "--csv", table).out
    assert table.read_text().splitlines()[1].startswith(f"case {case},1,")
    one_line(raptor("search", indexed, "--home", home, "--csv", "no/hits.csv"), "there is no folder no")
