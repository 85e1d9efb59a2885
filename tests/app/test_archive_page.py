import json
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import login, runs
from app.runs import Runs
from app.words import literal, size
from raptor_search.access import Principal, local_principal
from raptor_search.archive import Archive
from raptor_search.contents import Growth
from tests.app.archive import SmallArchive
from tests.app.conftest import OpenPage
from tests.app.test_main import said

STAND_IN = """
import json, sys, time
from pathlib import Path
arguments = sys.argv[1:]
status = Path(arguments[arguments.index("--status-file") + 1])
folder = Path({folder!r})
(folder / "arguments").write_text(json.dumps(arguments))
status.write_text(json.dumps({{"version": 1, "stage": "embedding", "done": 2, "total": 5, "quarantined": 1}}))
while not (folder / "go").exists():
    time.sleep(0.01)
print(json.dumps({{"added": 4, "present": 37, "quarantined": [{{}}]}}))
sys.exit(3)
"""
"""In place of the command: it says how far it is, and waits for a file."""


@pytest.fixture(autouse=True)
def own_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Runs]:
    found = Runs()
    monkeypatch.setattr("app.indexing.runs", lambda: found)
    yield found
    (tmp_path / "go").touch()
    if found.last is not None:
        found.last.wait()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN.format(folder=str(tmp_path)))
    monkeypatch.setattr(runs, "COMMAND", (sys.executable, str(script)))
    return tmp_path


def as_role(monkeypatch: pytest.MonkeyPatch, who: Principal) -> None:
    monkeypatch.setattr(login, "local_principal", lambda: who)


def press(app: AppTest, label: str) -> AppTest:
    next(button for button in app.button if button.label == label).click()
    return app.run()


def numbers(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def test_the_page_counts_what_is_there_when_it_came_and_the_room_it_takes(small: SmallArchive, page: OpenPage) -> None:
    app = page("archive")
    assert not app.exception
    found = numbers(app)
    assert {name: found[name] for name in ("Scans", "Patients", "Labels", "Quarantined", "Index version")} == {
        "Scans": "37",
        "Patients": "13",
        "Labels": "2",
        "Quarantined": "1",
        "Index version": "1",
    }
    database = sum(path.stat().st_size for path in small.home.glob("catalog.db*"))
    indexes = sum(path.stat().st_size for path in (small.home / "indexes").iterdir())
    assert (found["Catalog"], found["Indexes"]) == (size(database), size(indexes))
    charts = [json.loads(chart.proto.spec)["data"][0] for chart in app.get("plotly_chart")]
    assert charts[0]["y"] == ["MR", "CT"]
    assert "All of them came on 20" in said(app)
    assert {"Institution", "Modality"} <= {text.value.strip("*") for text in app.markdown}


def test_the_archives_growth_is_a_line_over_the_days(
    small: SmallArchive, page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown = Growth(("2024-10-04", "2024-10-05", "2024-11-06"), (30, 1, 6), (30, 31, 37))
    monkeypatch.setattr("raptor_search.contents.growth", lambda catalog: grown)
    app = page("archive")
    assert not app.exception
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert (figure["data"][0]["x"], figure["data"][0]["y"]) == (list(grown.days), [30, 31, 37])
    assert figure["layout"]["xaxis"]["tickvals"] == list(grown.days)


def test_the_page_names_specs_index_versions_and_the_quarantine_with_reasons(
    small: SmallArchive, page: OpenPage
) -> None:
    app = page("archive")
    specs, versions, quarantine = (table.value for table in app.dataframe[:3])
    assert specs["Encoder"].tolist() == ["efficientnet-lite0"]
    assert versions["Scans"].tolist() == [37]
    assert versions["Measured recall"].tolist() == ["every scan is compared"]
    assert quarantine["Source"].tolist() == ["bad.zip"]  # neither the path nor the series' UID
    assert quarantine["Reason"].tolist() == ["4D with 120 volumes; expected 3D"]
    assert "not three dimensions" in said(app)


def test_those_who_may_only_look_see_counts_and_no_file_names_nor_buttons(
    small: SmallArchive, page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_role(monkeypatch, Principal(name="vic", role="viewer"))
    app = page("archive")
    assert not app.exception
    assert numbers(app)["Scans"] == "37"
    assert "Source" not in app.dataframe[2].value
    assert [button.label for button in app.button] == []
    assert not app.text_input


def test_the_audit_log_is_shown_to_an_admin_the_latest_first_and_to_nobody_below(
    small: SmallArchive, page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Archive.open(small.home) as archive:
        archive.audit("search", "case 3", author="vic")
        archive.audit("export", "10 hits", author="<b>eve</b>")
    log = page("archive").dataframe[-1].value
    assert log["Who"].tolist()[:2] == ["<b>eve</b>", "vic"]
    assert log["What"].tolist()[:2] == ["export", "search"]
    assert log["About"].tolist()[:2] == ["10 hits", "case 3"]
    as_role(monkeypatch, Principal(name="cleo", role="curator"))
    below = page("archive")
    assert not below.exception
    assert "Audit log" not in {header.value for header in below.header}
    assert all("Who" not in table.value for table in below.dataframe)


def test_a_run_is_started_watched_and_summed_up(small: SmallArchive, page: OpenPage, stand_in: Path) -> None:
    scans = stand_in / "-- scans"
    scans.mkdir()
    app = page("archive")
    app.text_input(key="folder to index").input(f" {scans} ")
    press(app, "Index it")
    assert not app.exception
    run = app.session_state  # the page goes on while the run does
    assert run is not None
    while not (stand_in / "arguments").exists():
        app.run()
    arguments = json.loads((stand_in / "arguments").read_text())
    assert arguments[:4] == ["index", "--home", str(small.home), "--json"]
    assert arguments[-2:] == ["--", str(scans)]
    while "2 of 5" not in "".join(bar.proto.text for bar in app.get("progress")):
        app.run()
    assert app.get("progress")[0].proto.text == "Reading and embedding: 2 of 5 scans, 1 quarantined"
    app.text_input(key="folder to index").input(str(scans))
    press(app, "Index it")
    assert "a run is under way" in app.error[0].value
    (stand_in / "go").touch()
    while app.get("progress"):
        app.run()
    assert literal("4 scans added, 37 there already, 1 quarantined.") in app.success[0].value
    with Archive.open(small.home) as archive:
        assert [row.action for row in archive.catalog.audits()].count("index") == 1


def test_a_run_that_fails_is_one_sentence(
    small: SmallArchive, page: OpenPage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own_runs: Runs
) -> None:
    failing = "import sys; print('raptor: no room on the disk', file=sys.stderr); sys.exit(1)"
    monkeypatch.setattr(runs, "COMMAND", (sys.executable, "-c", failing))
    app = page("archive")
    app.text_input(key="folder to index").input(str(tmp_path))
    press(app, "Index it")
    assert own_runs.last is not None
    own_runs.last.wait()
    app.run()
    assert not app.exception
    assert literal(": no room on the disk") in app.error[0].value


@pytest.mark.parametrize("folder", ["", "/no/such/folder"])
def test_what_cannot_be_indexed_is_one_sentence(small: SmallArchive, page: OpenPage, folder: str) -> None:
    app = page("archive")
    app.text_input(key="folder to index").input(folder)
    press(app, "Index it")
    assert not app.exception
    assert len(app.error) == 1


def test_with_a_login_only_folders_of_the_settings_may_be_indexed(
    small: SmallArchive, page: OpenPage, monkeypatch: pytest.MonkeyPatch, stand_in: Path
) -> None:
    as_role(monkeypatch, Principal(name="ada", role="admin"))
    app = page("archive")
    assert "No folder may be indexed from here" in said(app)
    assert "folder to index" not in {text.key for text in app.text_input}
    (stand_in / "allowed").mkdir()
    as_role(monkeypatch, Principal(name="ada", role="admin", roots=(stand_in / "allowed",)))
    app.run()
    app.text_input(key="folder to index").input(str(stand_in))
    press(app, "Index it")
    assert "may not be indexed from here" in app.error[0].value.replace("\\", "")
    assert not (stand_in / "arguments").exists()


def test_quarantined_sources_are_tried_again_where_their_files_are_still_there(
    small: SmallArchive, page: OpenPage, stand_in: Path
) -> None:
    app = press(page("archive"), "Try all 1 again")
    assert [error.value for error in app.error] == ["None of these files is there any more."]
    bad = stand_in / "bad#1.zip"
    bad.write_bytes(b"mended")
    with Archive.open(small.home) as archive:
        for member in ("a.nii#0", "b.nii"):
            name = f"{bad}#{member}"
            archive.catalog.quarantine(
                archive.key.digest("source", name), locator=name, size=1, mtime_ns=1, code="not-3d", reason="4D"
            )
    (stand_in / "go").touch()
    press(page("archive"), "Try all 3 again")
    while not (stand_in / "arguments").exists():
        pass
    assert json.loads((stand_in / "arguments").read_text() or "[]")[-2:] == ["--", str(bad)]


def test_scans_are_removed_once_the_words_were_typed(small: SmallArchive, page: OpenPage) -> None:
    app = page("archive")
    app.text_input(key="scans to remove").input("1, 2").run()
    assert "2 scans: case 1, 2." in [text.value for text in app.markdown]
    assert app.button(key="do it").disabled
    app.text_input(key="confirmation of remove 2 scans").input("remove 3 scans").run()
    assert app.button(key="do it").disabled
    app.text_input(key="confirmation of remove 2 scans").input("Remove 2 scans").run()
    app.button(key="do it").click().run()
    assert not app.exception
    assert [text.value for text in app.success] == ["2 scans removed."]
    assert not app.error
    assert app.text_input(key="scans to remove").value == ""
    assert numbers(app)["Scans"] == "35"
    with Archive.open(small.home) as archive:
        assert 1 not in archive.catalog.ids(archive.spec().id)
        assert archive.catalog.audits()[0].author == local_principal().name


def test_scans_of_a_patient_are_erased_and_do_not_come_back(small: SmallArchive, page: OpenPage) -> None:
    app = page("archive")
    app.radio(key="deed").set_value("Erase").run()
    assert "All that pass a filter" not in app.radio(key="which scans").options
    app.radio(key="which scans").set_value("Everything of a patient").run()
    app.text_input(key="scans to remove").input("sub-03").run()
    app.text_input(key="confirmation of erase 3 scans").input("erase 3 scans").run()
    app.button(key="do it").click().run()
    assert not app.exception
    assert "3 scans erased" in app.success[0].value
    with Archive.open(small.home) as archive:
        assert archive.catalog.count() == 34
        assert archive.catalog.erased([archive.key.digest("source", "sub-03/ses-0")])


@pytest.mark.parametrize(
    ("way", "text"),
    [
        ("Case numbers", "4711"),
        ("Case numbers", "one"),
        ("All that pass a filter", "no_such = 1"),
        ("All that pass a filter", "DROP TABLE volume"),
    ],
)
def test_what_cannot_be_removed_is_one_sentence(small: SmallArchive, page: OpenPage, way: str, text: str) -> None:
    app = page("archive")
    app.radio(key="which scans").set_value(way).run()
    app.text_input(key="scans to remove").input(text).run()
    assert not app.exception
    assert len(app.error) == 1
    assert "do it" not in {button.key for button in app.button}


def test_another_writer_is_named_in_a_sentence_and_nothing_is_removed(small: SmallArchive, page: OpenPage) -> None:
    app = page("archive")
    app.text_input(key="scans to remove").input("1").run()
    app.text_input(key="confirmation of remove 1 scan").input("remove 1 scan").run()
    with Archive.open(small.home) as archive, archive.writing():
        app.button(key="do it").click().run()
    assert not app.exception
    (error,) = app.error
    assert str(os.getpid()) in error.value
    assert shlex.quote("\n") not in error.value
    with Archive.open(small.home) as archive:
        assert archive.catalog.count() == 37
