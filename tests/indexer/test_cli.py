"""The main job by the command: index, search, embed, status; and what each mistake of a user gives."""

import contextlib
import csv
import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from raptor_search.readers.pool import ReadingPool
from raptor_search.readers.writing import write_nifti
from tests.indexer.command import Outcome, Raptor
from tests.indexer.scans import AFFINE, blob, write_scan, written_series

LITE = ("--encoder", "efficientnet-lite0")


def one_line(outcome: Outcome, *words: str) -> str:
    """The single error line of a failed run, which must hold every one of `words`."""
    assert outcome.status == 1
    assert "Traceback" not in outcome.err
    assert len(outcome.error_lines) == 1, outcome.err
    line = outcome.error_lines[0]
    for word in words:
        assert word in line
    return line


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for seed in range(3):
        write_scan(tmp_path / "scans" / f"sub-{seed:02d}" / f"scan{seed}.nii.gz", seed)
    return tmp_path / "scans"


def test_an_indexed_scan_is_its_own_first_hit(raptor: Raptor, scans: Path, home: Path) -> None:
    assert raptor("index", scans, "--home", home, *LITE).status == 0
    query = scans / "sub-01" / "scan1.nii.gz"
    found = raptor("search", query, "--home", home, "-k", "3", "--json").json
    assert [hit["rank"] for hit in found["hits"]] == [1, 2, 3]
    first = found["hits"][0]
    assert first["source"] == str(query.resolve())
    assert first["score"] == pytest.approx(1, abs=1e-3)
    assert first["exact"] is True
    assert first["duplicate"] is True
    assert len(found["spec"]["fingerprint"]) == 64
    assert found["index_version"] == 1


def test_a_second_run_reads_and_adds_nothing_and_a_new_file_alone(
    raptor: Raptor, scans: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert raptor("index", scans, "--home", home, *LITE, "--json").json["added"] == 3
    with monkeypatch.context() as patched:
        patched.delattr(ReadingPool, "_ask")  # no scan is read, nor hashed
        again = raptor("index", scans, "--home", home, "--json").json
    assert (again["added"], again["present"], again["volumes"]) == (0, 3, 3)
    write_scan(scans / "sub-03" / "scan3.nii.gz", 3)
    more = raptor("index", scans, "--home", home, "--json").json
    assert (more["added"], more["present"], more["volumes"]) == (1, 3, 4)


def test_equal_bytes_at_a_second_source_share_the_vector(raptor: Raptor, scans: Path, home: Path) -> None:
    copy = scans / "copy.nii.gz"
    copy.write_bytes((scans / "sub-00" / "scan0.nii.gz").read_bytes())
    report = raptor("index", scans, "--home", home, *LITE, "--json").json
    assert (report["added"], report["shared"], report["volumes"]) == (4, 1, 4)
    found = raptor("search", copy, "--home", home, "--json").json["hits"]
    assert {found[0]["source"], found[1]["source"]} == {
        str(copy.resolve()),
        str((scans / "sub-00" / "scan0.nii.gz").resolve()),
    }


def test_a_changed_file_replaces_its_volume(raptor: Raptor, scans: Path, home: Path) -> None:
    raptor("index", scans, "--home", home, *LITE)
    changed = write_scan(scans / "sub-00" / "scan0.nii.gz", 77)
    os.utime(changed, ns=(time.time_ns(), time.time_ns() + 1))
    report = raptor("index", scans, "--home", home, "--json").json
    assert (report["added"], report["volumes"]) == (1, 3)


def test_embed_is_bit_identical_between_runs_and_to_the_archive(
    raptor: Raptor, scans: Path, home: Path, tmp_path: Path
) -> None:
    assert raptor("embed", scans / "sub-00", "--out", tmp_path / "a", *LITE).status == 0
    told = raptor("embed", scans / "sub-00", "--out", tmp_path / "b", *LITE, "--json").json
    (pair,) = told["written"]
    assert (told["out"], told["refused"]) == (str(tmp_path / "b"), [])
    assert pair["source"] == str(scans / "sub-00" / "scan0.nii.gz")
    assert pair["file"].startswith("scan0_")
    one, two = (np.load(tmp_path / name / pair["file"]) for name in ("a", "b"))
    assert one.dtype == np.float32
    assert one.tobytes() == two.tobytes()
    spec = json.loads((tmp_path / "a" / "spec.json").read_text())
    assert spec["spec"]["encoder"] == "efficientnet-lite0"
    assert int(np.prod(spec["shape"])) == one.size


def test_filters_and_patients_narrow_the_hits(raptor: Raptor, scans: Path, home: Path) -> None:
    table = scans / "participants.tsv"
    table.write_text("participant_id\tmodality\tage\nsub-00\tMR\t30\nsub-01\tCT\t70\nsub-02\tCT\t40\n")
    raptor("index", scans, "--home", home, *LITE)
    query = scans / "sub-01" / "scan1.nii.gz"
    hits = raptor("search", query, "--home", home, "--where", "modality = 'CT'", "--json").json["hits"]
    assert {h["metadata"]["modality"] for h in hits} == {"CT"}
    assert len(hits) == 2
    hits = raptor(
        "search", query, "--home", home, "--where", "modality = 'CT'", "--exclude-patient", "sub-01", "--json"
    ).json["hits"]
    assert [Path(h["source"]).name for h in hits] == ["scan2.nii.gz"]


def test_a_corrupt_file_among_good_ones_is_quarantined_and_counted(raptor: Raptor, scans: Path, home: Path) -> None:
    (scans / "broken.nii.gz").write_bytes((scans / "sub-00" / "scan0.nii.gz").read_bytes()[:2000])
    outcome = raptor("index", scans, "--home", home, *LITE)
    assert outcome.status == 3
    assert "3 added, 0 already there, 1 quarantined" in outcome.out
    assert "broken.nii.gz" in outcome.err
    status = raptor("status", "--home", home, "--json").json
    assert [q["code"] for q in status["quarantined"]] == ["unreadable"]
    (scans / "second.nii.gz").write_bytes((scans / "broken.nii.gz").read_bytes())
    later = raptor("index", scans, "--home", home)
    assert later.status == 3
    assert "2 quarantined (1 of them new)" in later.out
    assert "broken.nii.gz" not in later.err
    assert "second.nii.gz" in later.err
    (scans / "second.nii.gz").write_bytes(b"")
    changed = raptor("index", scans, "--home", home, "--json").json
    news = {Path(q["source"]).name: q["new"] for q in changed["quarantined"]}
    assert (news, changed["new_quarantined"]) == ({"broken.nii.gz": False, "second.nii.gz": True}, 1)
    (scans / "second.nii.gz").unlink()
    write_scan(scans / "broken.nii.gz", 9)
    assert raptor("index", scans, "--home", home).status == 0
    assert raptor("status", "--home", home, "--json").json["quarantined"] == []


@pytest.mark.parametrize(
    ("name", "voxels", "code"),
    [
        ("nan", np.where(blob(1) == blob(1).max(), np.nan, blob(1)).astype(np.float32), "not-finite"),
        ("constant", np.full((20, 20, 20), 7, np.int16), "constant"),
        ("four", np.stack([blob(1), blob(2)], axis=-1), "not-3d"),
        ("two-slices", blob(1)[:, :, :2], "too-few-slices"),
    ],
)
def test_a_volume_that_cannot_be_is_quarantined_by_its_code(
    raptor: Raptor, scans: Path, home: Path, name: str, voxels: np.ndarray, code: str
) -> None:
    write_nifti(scans / f"{name}.nii.gz", voxels, AFFINE)
    report = raptor("index", scans, "--home", home, *LITE, "--json")
    assert report.status == 3
    assert [q["code"] for q in report.json["quarantined"]] == [code]
    assert report.json["added"] == 3


def test_a_series_with_a_gap_or_of_two_slices_is_quarantined_and_says_where(
    raptor: Raptor, scans: Path, home: Path
) -> None:
    written_series(scans / "gap", seed="gap")[6].unlink()
    for file in written_series(scans / "two", seed="two")[2:]:
        file.unlink()
    report = raptor("index", scans, "--home", home, *LITE, "--json")
    assert report.status == 3
    assert report.json["added"] == 3
    reasons = {q["code"]: q["reason"] for q in report.json["quarantined"]}
    assert set(reasons) == {"missing-slice", "too-few-slices"}
    assert "4.0 mm after slice 6, expected 2.0 mm" in reasons["missing-slice"]


def test_embed_names_its_files_by_the_scans_alone_and_says_which_is_which(
    raptor: Raptor, scans: Path, tmp_path: Path
) -> None:
    official = Path(__file__).parents[1] / "data" / "official" / "medmnist_style.npz"
    same_name = write_scan(scans / "sub-01" / "scan0.nii.gz", 8)
    out, alone = tmp_path / "out", tmp_path / "alone"
    assert raptor("embed", official, scans / "sub-00", "--out", out, *LITE).status == 0
    first = {path.name: path.read_bytes() for path in out.glob("*.npy")}
    assert raptor("embed", same_name, "--out", out, *LITE).status == 0
    assert {name: (out / name).read_bytes() for name in first} == first
    sources = [f"{official}#train_0", f"{official}#train_1", str(scans / "sub-00" / "scan0.nii.gz"), str(same_name)]
    with (out / "scans.csv").open(newline="") as file:  # in the order in which they were read
        rows = sorted(csv.DictReader(file), key=lambda row: sources.index(row["source"]))
    assert [row["source"] for row in rows] == sources
    assert {row["file"] for row in rows} == {path.name for path in out.glob("*.npy")}
    assert [row["file"].rpartition("_")[0] for row in rows] == ["train_0", "train_1", "scan0", "scan0"]
    raptor("embed", same_name, "--out", alone, *LITE)
    assert (alone / rows[3]["file"]).read_bytes() == (out / rows[3]["file"]).read_bytes()


def test_vectors_of_two_specs_never_lie_in_one_folder(raptor: Raptor, scans: Path, tmp_path: Path) -> None:
    out, stranger = tmp_path / "out", tmp_path / "stranger"
    raptor("embed", scans / "sub-00", "--out", out, *LITE)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    other = raptor("embed", scans / "sub-01", "--out", out, *LITE, "--components", "10")
    one_line(other, "another spec", "give another folder")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    stranger.mkdir()
    np.save(stranger / "x.npy", np.zeros(3))
    one_line(raptor("embed", scans / "sub-01", "--out", stranger, *LITE), "no spec.json")


def test_labels_given_after_indexing_reach_the_scans_without_embedding_them_again(
    raptor: Raptor, scans: Path, home: Path, tmp_path: Path
) -> None:
    raptor("index", scans, "--home", home, *LITE)
    table = tmp_path / "labels.csv"
    table.write_text("file,finding\nscan0.nii.gz,nodule\nscan1.nii.gz,clear\nabsent.nii.gz,clear\n")
    report = raptor("index", scans, "--home", home, "--labels", table, "--json").json
    assert (report["added"], report["present"], report["unmatched"]) == (0, 3, {str(table): 1})
    query = scans / "sub-02" / "scan2.nii.gz"
    hits = raptor("search", query, "--home", home, "--where", "finding = 'nodule'", "--json").json["hits"]
    assert [Path(hit["source"]).name for hit in hits] == ["scan0.nii.gz"]


def test_each_dataset_is_described_by_its_own_participants_and_a_later_run_forgets_nothing(
    raptor: Raptor, home: Path, tmp_path: Path
) -> None:
    for name, age in (("a", 30), ("b", 70)):
        write_scan(tmp_path / name / "sub-01" / "sub-01_T1w.nii.gz", age)
        (tmp_path / name / "participants.tsv").write_text(f"participant_id\tage\nsub-01\t{age}\n")
    sexes = tmp_path / "sexes.csv"
    sexes.write_text("participant_id,sex\nsub-01,F\n")
    raptor("index", tmp_path / "a", tmp_path / "b", "--home", home, *LITE, "--labels", sexes)
    raptor("index", tmp_path / "a", tmp_path / "b", "--home", home)
    query = tmp_path / "a" / "sub-01" / "sub-01_T1w.nii.gz"
    hits = raptor("search", query, "--home", home, "--json").json["hits"]
    assert [(hit["metadata"]["age"], hit["metadata"]["sex"]) for hit in hits] == [(30, "F"), (70, "F")]


def test_data_sets_within_an_archive_have_their_tables_and_a_bad_one_costs_only_its_own(
    raptor: Raptor, home: Path, tmp_path: Path
) -> None:
    for name, table in (("a", "participant_id\tage\nsub-01\t30\n"), ("b", "nothing\tto join\n1\t2\n")):
        write_scan(tmp_path / "archive" / name / "sub-01" / "sub-01_T1w.nii.gz", len(table))
        (tmp_path / "archive" / name / "participants.tsv").write_text(table)
    done = raptor("index", tmp_path / "archive", "--home", home, *LITE)
    assert done.status == 0
    assert f"{tmp_path / 'archive' / 'b'}: its scans go without a table" in done.err.replace("\n", "")
    query = tmp_path / "archive" / "a" / "sub-01" / "sub-01_T1w.nii.gz"
    hits = raptor("search", query, "--home", home, "--json").json["hits"]
    assert [hit["metadata"]["age"] for hit in hits] == [30, None]


def test_a_scan_of_absurd_range_and_one_that_went_cost_nothing_else(raptor: Raptor, scans: Path, home: Path) -> None:
    extreme = np.where(blob(1) > 0, 1.5e308, -1.5e308)
    extreme_path = write_nifti(scans / "extreme.nii.gz", extreme, AFFINE)
    report = raptor("index", scans, "--home", home, *LITE, "--json")
    assert report.status == 3
    assert (report.json["added"], report.json["index_version"]) == (3, 1)
    extreme_path.unlink()
    assert raptor("index", scans, "--home", home).status == 0
    assert raptor("status", "--home", home, "--json").json["quarantined"] == []


def test_a_second_spec_takes_the_archive_s_own_sources_alone_and_counts_the_missing(
    raptor: Raptor, scans: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raptor("index", scans, "--home", home, *LITE)
    (scans / "sub-00" / "scan0.nii.gz").unlink()
    write_scan(scans / "elsewhere" / "stranger.nii.gz", 50)
    monkeypatch.chdir(scans / "elsewhere")
    report = raptor("index", "--home", home, "--seed", "5", "--add-spec", "--json").json
    assert (report["added"], report["missing"], report["volumes"]) == (2, 1, 2)


def test_scans_that_moved_keep_their_rows_and_those_that_went_are_counted_and_taken_out(
    raptor: Raptor, scans: Path, home: Path
) -> None:
    raptor("index", scans, "--home", home, *LITE)
    moved = scans.rename(scans.with_name("elsewhere"))
    report = raptor("index", moved, "--home", home, "--json").json
    assert [report[name] for name in ("added", "present", "moved", "missing", "volumes")] == [0, 3, 3, 0, 3]
    (moved / "sub-00" / "scan0.nii.gz").unlink()
    again = raptor("index", moved, "--home", home)
    assert "1 scans of the archive are no longer where they were: `raptor remove --missing PATH`" in again.out
    assert raptor("remove", "--missing", "--yes", moved, "--home", home, "--json").json == {"removed": 1}
    assert raptor("index", moved, "--home", home, "--json").json["missing"] == 0


def test_paths_without_a_scan_are_one_line(raptor: Raptor, home: Path, tmp_path: Path) -> None:
    one_line(raptor("index", tmp_path / "absent", "--home", home, *LITE), "absent", "no such file")
    (tmp_path / "empty").mkdir()
    one_line(raptor("index", tmp_path / "empty", "--home", home, *LITE), "no scan found", "no files at all")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "notes.txt").write_text("hello")
    one_line(raptor("index", tmp_path / "texts", "--home", home, *LITE), "no scan found", "expected DICOM")


def test_options_that_differ_from_the_home_name_the_field(raptor: Raptor, scans: Path, home: Path) -> None:
    raptor("index", scans, "--home", home, *LITE)
    one_line(raptor("index", scans, "--home", home, "--components", "10"), "components_drawn is 100, asked 10")
    one_line(raptor("index", scans, "--home", home, "--seed", "1"), "seed is 0, asked 1", "--add-spec")
    one_line(raptor("index", scans, "--home", home, "--encoder", "dinov2-large"), "encoder is efficientnet-lite0")
    one_line(raptor("index", scans, "--home", home, "--preset", "full"), "slices_per_plane is 32, asked 0")


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--components", "0", "1 to 4096"),
        ("--components", "5000", "1 to 4096"),
        ("--seed", "-1", "0 to 4294967295"),
        ("--seed", str(2**32), "0 to 4294967295"),
    ],
)
def test_a_projection_that_no_spec_can_have_is_one_line_before_any_weights(
    raptor: Raptor, scans: Path, tmp_path: Path, option: str, value: str, expected: str
) -> None:
    weights = ("--encoder", "dinov2-small", "--weights", tmp_path / "absent.safetensors")
    outcome = raptor("embed", scans, "--out", tmp_path / "out", *weights, option, value)
    one_line(outcome, f"{option} {value}: expected {expected}")


def test_a_precision_that_cannot_be_is_one_line(raptor: Raptor, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    one_line(raptor("embed", scans, "--out", out, *LITE, "--precision", "int8"), "expected a DINOv2")
    one_line(raptor("embed", scans, "--out", out, *LITE, "--precision", "fp8"), "expected one of exact, int8")


def test_a_second_spec_has_its_own_vectors_and_index(raptor: Raptor, scans: Path, home: Path) -> None:
    raptor("index", scans, "--home", home, *LITE)
    report = raptor("index", "--home", home, "--components", "10", "--add-spec", "--json").json
    assert (report["added"], report["volumes"]) == (3, 3)
    specs = raptor("status", "--home", home, "--json").json["specs"]
    assert [s["embedded"] for s in specs] == [3, 3]
    other = specs[1]["fingerprint"]
    found = raptor("search", scans / "sub-00" / "scan0.nii.gz", "--home", home, "--spec", other, "--json").json
    assert found["spec"]["fingerprint"].startswith(other)
    assert found["hits"][0]["score"] == pytest.approx(1, abs=1e-3)
    again = raptor("index", scans, "--home", home, "--components", "10", "--json").json
    assert (again["added"], again["present"]) == (0, 3)


def test_a_second_spec_that_was_cut_short_is_finished_by_the_command_that_status_names(
    raptor: Raptor, scans: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raptor("index", scans, "--home", home, *LITE)
    with monkeypatch.context() as patched:
        patched.setattr("indexer.pipeline.Archive.publish", lambda *_, **__: None)
        first = scans / "sub-00" / "scan0.nii.gz"
        raptor("index", first, "--home", home, "--add-spec", "--preset", "paper", "--components", "10")
    told = raptor("status", "--home", home)
    assert "1 of 3 embedded" in told.out
    assert "\n  no index\n" in told.out
    whole, cut = raptor("status", "--home", home, "--json").json["specs"]
    assert (whole["unfinished"], cut["index_version"]) == (None, None)
    assert cut["unfinished"] in told.out
    assert cut["unfinished"] in raptor("verify", "--home", home).out
    words = shlex.split(cut["unfinished"].split("`")[1])
    monkeypatch.chdir(scans)
    assert raptor(*words[1:], "--json").json["added"] == 2
    mended = raptor("status", "--home", home, "--json").json["specs"]
    assert [(spec["embedded"], spec["unfinished"]) for spec in mended] == [(3, None), (3, None)]
    assert raptor("verify", "--home", home, "--json").json["notes"] == []


def test_another_key_is_refused(
    raptor: Raptor, scans: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raptor("index", scans, "--home", home, *LITE)
    monkeypatch.setenv("RAPTOR_KEY_FILE", str(tmp_path / "other.key"))
    one_line(raptor("index", scans, "--home", home), "key")
    one_line(raptor("search", scans / "sub-00" / "scan0.nii.gz", "--home", home), "key")


def test_weights_of_another_model_are_refused(raptor: Raptor, scans: Path, home: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.safetensors"
    save_file({"weight": torch.zeros(3)}, wrong)
    one_line(
        raptor("index", scans, "--home", home, "--encoder", "dinov2-small", "--weights", wrong), "wrong.safetensors"
    )


def test_a_home_or_output_that_cannot_be_written_is_one_line(raptor: Raptor, scans: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    one_line(raptor("index", scans, "--home", tmp_path / "file" / "home", *LITE), "home")
    one_line(raptor("embed", scans, "--out", tmp_path / "file" / "out", *LITE), "--out")


def test_searching_without_an_archive_or_a_scan_says_what_to_run(raptor: Raptor, scans: Path, home: Path) -> None:
    query = scans / "sub-00" / "scan0.nii.gz"
    one_line(raptor("search", query, "--home", home), "raptor index")
    raptor("index", scans, "--home", home, *LITE)
    one_line(raptor("search", scans / "absent.nii", "--home", home), "absent.nii")
    one_line(raptor("search", query, "--home", home, "--where", "modalty = 'CT'"), "modality")
    (scans / "notes.txt").write_text("hello")
    one_line(raptor("search", scans / "notes.txt", "--home", home), "notes.txt")
    (scans / "cut.nii.gz").write_bytes(query.read_bytes()[:-400])
    one_line(raptor("search", scans / "cut.nii.gz", "--home", home), "cut.nii.gz", "truncated")


def test_the_official_preset_is_refused_on_dicom_and_nrrd(raptor: Raptor, scans: Path, home: Path) -> None:
    written_series(scans / "series", seed="1")
    one_line(
        raptor("index", scans, "--home", home, "--encoder", "vits14-packaged", "--preset", "official"),
        "official",
        "DICOM",
    )


def test_an_interrupted_run_publishes_what_it_has(raptor: Raptor, scans: Path, home: Path) -> None:
    for seed in range(3, 9):
        write_scan(scans / f"scan{seed}.nii.gz", seed)
    process = started(scans, home)
    while process.poll() is None and embedded(home) < 1:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    spec = raptor("status", "--home", home, "--json").json["specs"][0]
    assert 1 <= spec["embedded"] < 9
    assert spec["index_version"] == 1


def started(scans: Path, home: Path) -> subprocess.Popen[bytes]:
    """The command indexing, in a process of its own."""
    # A shell's background job, as these tests may run in, starts with Ctrl-C ignored.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heard}; from indexer.cli import main; main()"
    words = ["index", str(scans), "--home", str(home), *LITE]
    return subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def embedded(home: Path) -> int:
    """Embeddings committed so far; 0 before there are tables."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{home / 'catalog.db'}?mode=ro", uri=True)) as catalog:
            return int(catalog.execute("select count(*) from embedding").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@pytest.mark.parametrize("committed", [1, 3, 5])
def test_a_killed_run_goes_on_with_exact_counts(raptor: Raptor, scans: Path, home: Path, committed: int) -> None:
    for seed in range(3, 6):
        write_scan(scans / f"scan{seed}.nii.gz", seed)
    process = started(scans, home)
    while process.poll() is None and embedded(home) < committed:
        time.sleep(0.05)
    process.kill()
    process.wait()
    report = raptor("index", scans, "--home", home, *LITE, "--json").json
    assert report["volumes"] == 6
    assert report["added"] + report["present"] == 6
    found = raptor("search", scans / "scan4.nii.gz", "--home", home, "--json").json["hits"]
    assert len(found) == 6
    assert found[0]["source"].endswith("scan4.nii.gz")


def test_a_folder_that_may_not_be_read_is_named_and_told_by_the_exit_status(
    raptor: Raptor, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scan(tmp_path / "scans" / "open" / "scan.nii.gz", 1)
    (tmp_path / "scans" / "closed").mkdir()
    listed = os.listdir

    def listdir(path: Path) -> list[str]:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr("os.listdir", listdir)
    done = raptor("index", tmp_path / "scans", "--home", home, *LITE, "--json")
    assert done.status == 3
    assert f"{tmp_path / 'scans' / 'closed'}: cannot be opened; give yourself the right to read it" in done.err
    assert (done.json["added"], done.json["skipped"]) == (1, {"cannot be opened": 1})
    assert done.json["skipped_paths"] == {"cannot be opened": [str(tmp_path / "scans" / "closed")]}
    told = {"count": 1, "paths": [str(tmp_path / "scans" / "closed")]}
    assert raptor("status", "--home", home, "--json").json["unopened"] == told
    assert f"Could not be opened by the latest run: 1: {told['paths'][0]}" in raptor("status", "--home", home).out
    monkeypatch.setattr("os.listdir", listed)
    assert raptor("index", tmp_path / "scans", "--home", home).status == 0
    assert raptor("status", "--home", home, "--json").json["unopened"] == {"count": 0, "paths": []}


def test_an_encoder_that_cannot_be_had_is_told_before_anything_is_looked_for(
    raptor: Raptor, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexer.finding.discover", lambda *_, **__: pytest.fail("it looked for scans"))
    one_line(
        raptor("index", tmp_path, "--home", home, "--weights", tmp_path / "absent.safetensors"), "absent.safetensors"
    )


def test_a_cell_that_was_emptied_and_a_column_that_is_no_longer_kept_leave_no_label(
    raptor: Raptor, tmp_path: Path, home: Path, scans: Path
) -> None:
    table = tmp_path / "labels.csv"

    def labels(text: str, *options: str) -> dict[str, dict[str, int]]:
        table.write_text(text)
        assert raptor("index", scans, "--home", home, *LITE, "--labels", table, *options).status == 0
        return raptor("labels", "--home", home, "--json").json["labels"]

    both = "file,grade,stage\nscan0.nii.gz,high,1\nscan1.nii.gz,low,2\n"
    assert labels(both) == {"grade": {"given": 2}, "stage": {"given": 2}}
    emptied = both.replace("high", "")
    assert labels(emptied) == {"grade": {"given": 1}, "stage": {"given": 2}}
    assert labels(emptied, "--keep", "grade") == {"grade": {"given": 1}}
