"""`raptor evaluate`, `propagate` and `map` as a user runs them."""

import csv
import dataclasses
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.archives import SPEC
from tests.indexer.command import Raptor
from tests.labelled import labelled_archive

QUICK = ("--no-curve",)


class Checker(HTMLParser):
    """Every tag is closed, and nothing is loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "img", "iframe")
        assert not {"src", "href", "onload"} & {name for name, _ in attrs}
        if tag not in ("meta", "line", "circle", "rect", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "circle", "rect", "polyline"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def one_line(outcome, *words: str) -> None:
    assert outcome.status == 1
    assert "Traceback" not in outcome.err
    assert len(outcome.error_lines) == 1, outcome.err
    for word in words:
        assert word in outcome.error_lines[0]


def test_a_label_is_evaluated_and_reported_in_one_file(raptor: Raptor, home: Path, tmp_path: Path) -> None:
    archive = labelled_archive(home)
    page = tmp_path / "report.html"
    found = raptor("evaluate", "finding", "--home", home, "--report", page, "--json").json
    assert (found["scans"], found["subjects"], found["classes"]) == (90, 45, ["adenoma", "cyst", "none"])
    assert {(one["method"], one["vectors"]) for one in found["methods"]} == {("knn", "Raptor"), ("logistic", "Raptor")}
    assert found["report"] == str(page)
    auroc = found["methods"][0]["figures"][0]
    assert auroc["name"] == "AUROC"
    assert auroc["low"] > 0.9
    assert {one["column"] for one in found["confounds"]} == {"manufacturer"}
    assert any("below 100 the 95% intervals are rough" in note for note in found["notes"])
    checker = Checker()
    checker.feed(page.read_text())
    assert checker.open == []
    for words in ("Evaluation of", "finding", "Retrieval", "Same label or same scanner?", "mAP@5 by hits", "adenoma"):
        assert words in checker.text
    assert "http" not in page.read_text()
    # Of each method a ROC curve a class, and the data-efficiency curve.
    assert page.read_text().count("<polyline") == 2 * (3 + 1)
    for method in found["methods"]:
        for points, auroc in zip(method["roc"], method["class_auroc"], strict=True):
            assert np.trapezoid(*np.transpose(points)[::-1]) == pytest.approx(auroc, abs=0.005)
    with archive.open() as catalog:
        (entry,) = (one for one in catalog.audits() if one.action == "evaluation")
    assert entry.detail.startswith("finding, 90 scans of 45 subjects, unfiltered, spec ")


def test_figures_are_printed_with_every_note(raptor: Raptor, home: Path) -> None:
    labelled_archive(home, patients_known=False)
    outcome = raptor("evaluate", "finding", "--home", home, "--method", "knn", *QUICK)
    assert outcome.status == 0
    for words in ("AUROC", "balanced accuracy", "mAP", "no scan names its subject", "Prediction sets"):
        assert words in outcome.out


def test_the_given_split_is_obeyed_and_the_papers_table_stands_beside(
    raptor: Raptor, home: Path, tmp_path: Path
) -> None:
    labelled_archive(home, labelled=60, splits=True, source="/data/organmnist3d_64.npz#train_{n}", patients_known=False)
    page = tmp_path / "report.html"
    found = raptor("evaluate", "finding", "--home", home, "--report", page, *QUICK, "--json").json
    assert found["protocol"] == "the given split: 72 training, 24 validation and 24 test scans"
    assert found["data_set"] == "organmnist3d"
    assert {"method": "Raptor", "auroc": 0.999, "accuracy": 0.961} in found["published"]
    assert "Table 3" in page.read_text()


def test_another_methods_vectors_are_compared_on_the_same_scans(raptor: Raptor, home: Path, tmp_path: Path) -> None:
    archive = labelled_archive(home)
    noise = np.random.default_rng(0).normal(size=(120, 16))
    order = np.random.default_rng(1).permutation(120)
    np.savez(tmp_path / "other.npz", vectors=noise[order], files=np.array([f"{n}.nii.gz" for n in order]))
    words = ("--compare", f"Noise={tmp_path / 'other.npz'}", "--method", "knn", *QUICK, "--json")
    found = raptor("evaluate", "finding", "--home", archive.home, *words).json
    gap = next(one for one in found["differences"] if one["figure"] == "AUROC")
    assert (gap["first"], gap["second"]) == ("Raptor, knn", "Noise, knn")
    assert gap["low"] > 0.2


def test_a_name_that_is_taken_is_refused_before_a_file_is_read(raptor: Raptor, home: Path) -> None:
    archive = labelled_archive(home)
    with archive.open() as catalog:
        other = catalog.add_spec(dataclasses.replace(SPEC, seed=7), {})
    spec = f"{SPEC.encoder} {other.fingerprint[:12]}"
    start = other.fingerprint[:8]

    def refused(*words: str, says: str) -> None:
        one_line(raptor("evaluate", "finding", "--home", home, *words, *QUICK), says)

    refused("--compare", "Raptor=no.npz", says="'Raptor' is the name of the archive's own vectors")
    cut = "Raptor, first 10 components"
    refused("--compare", f"{cut}=no.npz", says=f"{cut!r} is the name of the archive's own")
    refused("--compare-spec", start, "--compare", f"{spec}=no.npz", says=f"{spec!r} is the name of the archive's own")
    refused("--compare-spec", start, "--compare-spec", other.fingerprint, says=f"the spec {spec} is compared twice")
    refused("--compare", "A=no.npz", "--compare", "A=other.npz", says="'A' names no.npz already")


def test_two_specs_are_compared_on_the_scans_that_have_both(raptor: Raptor, home: Path) -> None:
    archive = labelled_archive(home)
    with archive.open() as catalog:
        other = catalog.add_spec(dataclasses.replace(SPEC, seed=7), {})
        rng = np.random.default_rng(0)
        for volume_id in archive.ids[:84]:
            catalog.add_embedding(volume_id, other.id, rng.normal(size=SPEC.length), "percentile")
    words = ("--compare-spec", other.fingerprint[:8], "--method", "knn", *QUICK, "--json")
    found = raptor("evaluate", "finding", "--home", home, *words).json
    assert found["scans"] == 84
    assert any("6 scans are not embedded under every spec" in note for note in found["notes"])
    gap = next(one for one in found["differences"] if one["figure"] == "AUROC")
    assert (gap["first"], gap["second"]) == ("Raptor, knn", f"{SPEC.encoder} {other.fingerprint[:12]}, knn")
    assert gap["low"] > 0.2
    one_line(raptor("evaluate", "finding", "--home", home, "--compare-spec", "zz"), "0 specs start with 'zz'")


def test_a_number_is_evaluated_as_one(raptor: Raptor, home: Path) -> None:
    labelled_archive(home)
    found = raptor("evaluate", "size", "--number", "--home", home, "--json").json
    names = [one["name"] for one in found["methods"][0]["figures"]]
    assert names == ["r2", "MAE"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("size",), ("size", "look continuous")),
        (("finding", "--number"), ("'finding'", "90 of 90 values are no numbers")),
        (("laterality",), ("laterality", "none of 120 scans has a value")),
        (("sign",), ("sign",)),
        (("finding", "--method", "tree"), ("--method 'tree'", "knn, logistic")),
        (("finding", "--compare", "no-name"), ("expected NAME=FILE.npz",)),
        (
            ("finding", "--where", "manufacturer = 'Philips'"),
            ("no scan passes the filter", "there are 'GE', 'Siemens'"),
        ),
        (("format",), ("format", "have the value 'nifti'")),
        (("finding", "--split", "fold"), ("no column 'fold'",)),
        (("finding", "--split", "manufacturer"), ("column 'manufacturer' names no training and test scans",)),
        (("finding", "--report", "no-folder/report.html"), ("there is no folder no-folder",)),
    ],
)
def test_what_cannot_be_evaluated_is_one_clear_line(
    raptor: Raptor, home: Path, words: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    labelled_archive(home)
    one_line(raptor("evaluate", *words, "--home", home, *QUICK), *expected)


def test_an_archive_whose_scans_are_all_gone_is_said_to_be_empty(raptor: Raptor, home: Path) -> None:
    archive = labelled_archive(home)
    with archive.open() as catalog:
        catalog.remove(archive.ids, author="test")
    one_line(raptor("evaluate", "sex", "--home", home, *QUICK), "holds no scans yet: run `raptor index PATH`")


def test_a_class_of_one_patient_is_left_out_as_the_refusal_says(raptor: Raptor, home: Path) -> None:
    archive = labelled_archive(home)
    with archive.open() as catalog:
        for volume_id in archive.ids[-2:]:
            catalog.set_label(volume_id, "finding", "rare", origin="given")
    words = ("evaluate", "finding", "--home", home, "--method", "knn", *QUICK)
    refused = raptor(*words)
    one_line(refused, "'rare' has one subject only")
    where = refused.error_lines[0].partition('--where "')[2].rpartition('"')[0]
    assert raptor(*words, "--where", where, "--json").json["classes"] == ["adenoma", "cyst", "none"]


def test_vectors_that_lack_scans_or_are_none_are_one_clear_line(raptor: Raptor, home: Path, tmp_path: Path) -> None:
    labelled_archive(home)
    np.savez(tmp_path / "few.npz", vectors=np.ones((1, 4)), files=np.array(["0.nii.gz"]))
    (tmp_path / "text.npz").write_text("no vectors")
    np.savez(tmp_path / "other.npz", images=np.ones(3))
    np.savez(tmp_path / "paths.npz", vectors=np.ones((1, 4)), files=np.array([Path("0.nii.gz")]))
    files = np.array([f"{n}.nii.gz" for n in range(120)])
    np.savez(tmp_path / "empty.npz", vectors=np.ones((120, 0)), files=files)
    np.savez(tmp_path / "huge.npz", vectors=np.full((120, 4), 1e30), files=files)
    for name, words in (
        ("few", "lacks 89 of 90 scans"),
        ("text", "cannot be read as an npz file of vectors; expected numpy.savez of `vectors` (n, d) with `files`"),
        ("other", "holds no vectors"),
        ("paths", "`files` holds Python objects, which are not read; write np.array(names, dtype=str)"),
        ("empty", "vectors of length 0"),
        ("huge", "some numbers of its vectors are beyond 1e+12; scale them and try again"),
    ):
        compare = ("--compare", f"X={tmp_path / name}.npz")
        one_line(raptor("evaluate", "finding", "--home", home, *compare, *QUICK), words)


def test_proposals_are_stored_accepted_by_threshold_undone_and_exported(
    raptor: Raptor, home: Path, tmp_path: Path
) -> None:
    archive = labelled_archive(home)
    found = raptor("propagate", "finding", "--home", home, "--coverage", "0.9", "--json").json
    assert len(found["proposals"]) == 30
    right = [item["value"] == archive.truth[archive.ids.index(item["volume_id"])] for item in found["proposals"]]
    assert np.mean(right) > 0.9
    with archive.open() as catalog:
        assert len(catalog.proposals("finding")) == 30
        # A proposal is no label.
        assert len(catalog.labels("finding")) == 90
        assert catalog.column_values("finding", list(archive.ids[90:])) == [None] * 30
    done = raptor("propagate", "finding", "--home", home, "--accept", "0.8", "--author", "ann", "--json").json
    count = done["decided"]["accepted"]
    assert count >= 20
    with archive.open() as catalog:
        accepted = [record for record in catalog.labels("finding") if record.origin == "accepted"]
        assert len(accepted) == count
        assert {record.author for record in accepted} == {"ann"}
        assert all(record.confidence >= 0.8 for record in accepted)
        assert sum(record.origin == "given" for record in catalog.labels("finding")) == 90
    table = tmp_path / "values.csv"
    undone = raptor("propagate", "finding", "--home", home, "--undo-all", "--out", table, "--json").json
    assert undone["decided"]["undone"] == count
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 120
    assert {row["origin"] for row in rows} == {"given", "proposed"}
    assert all(row["neighbours_for"] for row in rows if row["origin"] == "proposed" and row["value"])


def test_one_case_is_accepted_turned_down_and_taken_back(raptor: Raptor, home: Path) -> None:
    archive = labelled_archive(home)
    one, other = archive.ids[90], archive.ids[92]
    words = ("--accept-case", one, "--reject-case", other, "--json")
    done = raptor("propagate", "finding", "--home", home, *words).json["decided"]
    assert (done["accepted"], done["rejected"]) == (1, 1)
    with archive.open() as catalog:
        origins = {record.volume_id: record.origin for record in catalog.labels("finding")}
        assert (origins[one], origins[other]) == ("accepted", "rejected")
    again = raptor("propagate", "finding", "--home", home, "--json").json
    assert not {one, other} & {item["volume_id"] for item in again["proposals"]}
    raptor("propagate", "finding", "--home", home, "--undo-case", one)
    with archive.open() as catalog:
        assert one not in {record.volume_id for record in catalog.labels("finding")}
    given = archive.ids[0]
    one_line(raptor("propagate", "finding", "--home", home, "--undo-case", given), "given labels stay as they are")
    one_line(raptor("propagate", "finding", "--home", home, "--accept-case", given), "nothing is proposed for case")


def test_decisions_that_contradict_each_other_are_refused_whole(raptor: Raptor, home: Path) -> None:
    archive = labelled_archive(home)
    one, other = str(archive.ids[90]), str(archive.ids[92])
    words = ("propagate", "finding", "--home", home)
    one_line(raptor(*words, "--accept-case", one, "--reject-case", one), "both --accept-case and --reject-case")
    one_line(raptor(*words, "--accept-case", one, "--undo-all"), "undo first")
    one_line(raptor(*words, "--accept-abstained"), "allows an --accept-case")
    raptor(*words, "--accept-case", one)
    with archive.open() as catalog:
        before = catalog.labels("finding")
        assert before[-1].origin == "accepted"
    one_line(raptor(*words, "--undo-case", one, "--undo-case", other), f"case {other} has no decision")
    with archive.open() as catalog:
        assert catalog.labels("finding") == before
    assert "1 undone" in raptor(*words, "--undo-case", one).out
    nothing = raptor(*words, "--undo-all").out
    assert "There is no decision to take back" in nothing
    assert "Nothing was decided" not in nothing


def test_proposals_are_listed_and_one_that_abstained_is_accepted_only_on_purpose(raptor: Raptor, home: Path) -> None:
    archive = labelled_archive(home, signal=0.4)
    words = ("propagate", "finding", "--home", home, "--min-confidence", "0.9")
    items = {item["volume_id"]: item for item in raptor(*words, "--json").json["proposals"]}
    unsure = next(item for item in items.values() if item["abstained"])
    sure = next(item for item in items.values() if not item["abstained"])
    listed = raptor(*words).out
    assert str(sure["volume_id"]) in listed
    assert "... and 10 more: --out FILE.csv or --json has all" in listed
    case = str(unsure["volume_id"])
    told = f"{unsure['value']}, confidence {unsure['confidence']:.2f}"
    one_line(raptor(*words, "--accept-case", case), f"case {case}: {told}, abstained", "--accept-abstained")
    with archive.open() as catalog:
        assert len(catalog.labels("finding")) == 90
    done = raptor(*words, "--accept-case", case, "--accept-abstained", "--reject-case", str(sure["volume_id"]))
    assert f"case {case}: {told}, accepted, though it abstained: {unsure['abstained']}" in done.out
    assert f"case {sure['volume_id']}: {sure['value']}, confidence {sure['confidence']:.2f}, rejected" in done.out
    assert "1 accepted, 1 rejected" in done.out


def test_where_all_abstain_there_is_a_sentence_and_no_empty_table(raptor: Raptor, home: Path) -> None:
    labelled_archive(home, signal=0.2)
    shown = raptor("propagate", "finding", "--home", home, "--min-confidence", "1").out
    assert "All 30 proposals abstain; asked were 90 scans of 45 subjects" in shown
    assert "mean confidence" not in shown


def test_values_accepted_from_proposals_are_pointed_out_where_they_are_evaluated(raptor: Raptor, home: Path) -> None:
    labelled_archive(home)
    count = raptor("propagate", "finding", "--home", home, "--accept", "0.8", "--json").json["decided"]["accepted"]
    proposed = raptor("propagate", "finding", "--home", home, "--json").json
    assert any(note.startswith(f"{count} accepted values vote") for note in proposed["notes"])
    notes = raptor("evaluate", "finding", "--method", "knn", "--home", home, *QUICK, "--json").json["notes"]
    assert any(note.startswith(f"{count} values of 'finding' were accepted from proposals") for note in notes)


def test_where_every_scan_has_a_value_nothing_is_proposed_and_it_says_so(raptor: Raptor, home: Path) -> None:
    labelled_archive(home, labelled=60)
    printed = raptor("propagate", "finding", "--home", home).out
    assert "Every scan has a value: nothing to propose" in printed
    assert "--accept" not in printed


def test_diffusion_proposes_too_is_compared_and_exported_as_parquet(raptor: Raptor, home: Path, tmp_path: Path) -> None:
    from pyarrow import parquet

    archive = labelled_archive(home)
    table = tmp_path / "values.parquet"
    words = ("--method", "diffusion", "--compare", "--out", table, "--json")
    found = raptor("propagate", "finding", "--home", home, *words).json
    right = [item["value"] == archive.truth[archive.ids.index(item["volume_id"])] for item in found["proposals"]]
    assert np.mean(right) > 0.9
    assert found["comparison"]["votes"]["AUROC"] > 0.9
    assert found["comparison"]["diffusion"]["AUROC"] > 0.9
    rows = parquet.read_table(table).to_pylist()
    assert len(rows) == 120
    assert rows[0]["origin"] == "given"
    assert rows[119]["origin"] == "proposed"
    assert isinstance(rows[119]["confidence"], float)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("finding", "--method", "guess"), "expected one of: knn, diffusion"),
        (("finding", "--coverage", "1.5"), "--coverage 1.5"),
        (("finding", "--accept", "0.5"), "--accept 0.5 is below --min-confidence 0.6"),
        (("finding", "--out", "values.xls"), "ends in .csv or .parquet"),
        (("finding", "-k", "99"), "99 neighbours asked of 90 labelled scans"),
        (("size",), "look continuous"),
    ],
)
def test_what_cannot_be_proposed_is_one_clear_line(
    raptor: Raptor, home: Path, words: tuple[str, ...], expected: str
) -> None:
    labelled_archive(home)
    one_line(raptor("propagate", *words, "--home", home), expected)


def test_a_map_is_drawn_with_clusters_that_bear_names(raptor: Raptor, home: Path) -> None:
    labelled_archive(home, signal=3)
    found = raptor("map", "--home", home, "--seed", "3", "--json").json
    assert found["scans"] == 120
    assert found["parameters"]["seed"] == 3
    assert found["parameters"]["graph"] == "exact"
    assert {one["name"] for one in found["clusters"]} == {"adenoma", "cyst", "none"}
    assert found["quality"]["trustworthiness"] > 0.8
    again = raptor("map", "--home", home)
    assert again.status == 0
    for words in ("Trustworthiness", "adenoma", "exemplar", "belong to no cluster"):
        assert words in again.out


def test_labels_are_listed_and_one_is_taken_out_for_good(raptor: Raptor, home: Path) -> None:
    archive = labelled_archive(home)
    assert raptor("labels", "--home", home, "--json").json["labels"]["finding"] == {"given": 90}
    shown = raptor("labels", "--home", home)
    assert "finding" in shown.out
    done = raptor("labels", "--home", home, "--drop", "finding", "--json").json
    assert done["dropped"] == {"finding": 90}
    assert "finding" not in done["labels"]
    with archive.open() as catalog:
        assert catalog.labels("finding") == []
        assert [(row.action, row.detail) for row in catalog.audits(1)] == [("label taken out", "finding")]
    assert b"adenoma" not in (home / "catalog.db").read_bytes()
    one_line(raptor("labels", "--home", home, "--drop", "finding"), "no label 'finding'")
