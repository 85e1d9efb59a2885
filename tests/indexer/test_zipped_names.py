"""Scans in zips are told by their names there: in tables, in hits and in the quarantine; none of it stands in clear."""

import zipfile
from pathlib import Path

import pytest

from tests.indexer.command import Raptor
from tests.indexer.scans import write_scan

LITE = ("--encoder", "efficientnet-lite0", "--components", "10")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A zip of a BIDS data set with a table and a broken file, and one of a single scan."""
    scans = tmp_path / "scans"
    scans.mkdir()
    with zipfile.ZipFile(scans / "two.zip", "w") as archive:
        for number in (1, 2):
            name = f"sub-0{number}/anat/sub-0{number}_T1w.nii.gz"
            archive.write(write_scan(tmp_path / f"{number}.nii.gz", number), name)
        archive.writestr("participants.tsv", "participant_id\tage\nsub-01\t30\nsub-02\t70\n")
        archive.writestr("sub-02/dwi/sub-02_dwi.nii.gz", b"cut short")
    with zipfile.ZipFile(scans / "one.zip", "w") as archive:
        archive.write(write_scan(tmp_path / "3.nii.gz", 3), "Doe_John/sub-03_T1w.nii.gz")
    return scans


def test_names_in_a_zip_reach_patients_tables_hits_and_quarantine_and_stay_out_of_sight(
    raptor: Raptor, folder: Path, home: Path, tmp_path: Path
) -> None:
    table = tmp_path / "labels.csv"
    rows = [
        "sub-01/anat/sub-01_T1w.nii.gz,a",
        "two.zip#sub-02/anat/sub-02_T1w.nii.gz,b",
        "one.zip,c",
    ]
    table.write_text("file,grade\n" + "\n".join(rows) + "\n")
    done = raptor("index", folder, "--home", home, *LITE, "--labels", table, "--json").json
    assert (done["added"], done["matched"][str(table)], done["unmatched"][str(table)]) == (3, 3, 0)
    assert [q["source"] for q in done["quarantined"]] == [f"{folder}/two.zip#sub-02/dwi/sub-02_dwi.nii.gz"]
    first = f"{folder}/two.zip#sub-01/anat/sub-01_T1w.nii.gz"
    found = raptor("search", first, "--home", home, "--json").json["hits"]
    facts = {hit["source"]: (hit["metadata"]["labels"]["grade"], hit["metadata"]["age"]) for hit in found}
    assert facts == {
        first: ("a", 30),
        f"{folder}/two.zip#sub-02/anat/sub-02_T1w.nii.gz": ("b", 70),
        f"{folder}/one.zip": ("c", None),
    }
    assert found[0]["source"] == first
    others = raptor("search", first, "--home", home, "--exclude-same-patient", "--json").json["hits"]
    assert first not in {hit["source"] for hit in others}
    kept = b"".join(file.read_bytes() for file in home.rglob("*") if file.is_file())
    for name in (b"sub-01", b"sub-03", b"Doe_John", b"two.zip", b"one.zip"):
        assert name not in kept
    again = raptor("index", folder, "--home", home, "--json").json
    assert (again["added"], again["present"]) == (0, 3)
    (folder / "two.zip").unlink()
    assert raptor("remove", folder / "two.zip", "--home", home, "--json").json == {"removed": 2}
