import csv
import io
import json
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.picking import Picked, drawn_around
from app.scan_table import scans_csv
from raptor_search.access import Principal
from raptor_search.archive import Archive
from raptor_search.catalog import StoredMap
from raptor_search.cohorts.placing import Placement
from raptor_search.errors import AccessError
from tests.app.archive import CANARY, SmallArchive
from tests.app.conftest import OpenPage
from tests.app.test_main import said

SCANS = 37


@pytest.fixture
def drawn(small: SmallArchive) -> SmallArchive:
    """With a map of drawn coordinates and findings: UMAP itself is tested elsewhere."""
    with Archive.open(small.home) as archive:
        row = store_map(archive, archive.catalog.ids(archive.spec().id).tolist())
        clusters = np.where(row.volume_ids < 10, 0, np.where(row.volume_ids < 15, 1, -1))
        archive.catalog.save_map_detail(row.id, 1, clusters, findings())
    return small


def findings() -> dict[str, Any]:
    trait = {"column": "modality", "value": "CT", "inside": 3, "cluster": 4, "overall": 4, "known": 13, "p": 0.004}
    return {
        "clusters": [
            {"number": 0, "name": CANARY, "scans": 9, "medoid": 4, "traits": [trait]},
            {"number": 1, "name": "cluster 2", "scans": 5, "medoid": 999, "traits": []},
        ],
        "unclustered": 23,
        "outliers": [30, 7],
        "quality": {"trustworthiness": 0.912, "preservation": 0.43, "k": 12, "scans": SCANS},
    }


def store_map(archive: Archive, ids: list[int]) -> StoredMap:
    places = np.random.default_rng(1).normal(size=(len(ids), 2)).astype(np.float32)
    return archive.catalog.save_map(archive.spec().id, np.array(ids), places, {"seed": 0})


def traces(app: AppTest) -> dict[str, int]:
    """Points of each trace of the map."""
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    return {trace.get("name", ""): len(trace["hovertext"]) for trace in figure["data"] if "hovertext" in trace}


def picked(page: OpenPage, pick: Picked) -> AppTest:
    app = page("cohort")
    app.session_state["cohort picked"] = pick
    app.run()
    assert not app.exception
    return app


def header(app: AppTest) -> str:
    (found,) = [one.value for one in app.header]
    return found


ALL = Picked(words="on the map")


def test_without_a_map_a_button_draws_one(small: SmallArchive, page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    app = page("cohort")
    assert not app.get("plotly_chart")
    monkeypatch.setattr(Archive, "draw_map", lambda self: store_map(self, self.catalog.ids(self.spec().id).tolist()))
    (draw,) = [button for button in app.button if button.label == "Draw the map"]
    draw.click().run()
    assert not app.exception
    assert sum(traces(app).values()) == SCANS
    assert "was not measured" in said(app)


def test_the_map_is_coloured_by_any_column(drawn: SmallArchive, page: OpenPage) -> None:
    app = page("cohort")
    assert traces(app) == {"MR": 28, "CT": 9}
    app.selectbox(key="colour").select("kind").run()
    assert traces(app) == {"T1w": 9, "T2w": 8, "bold": 8, "no value": 12}
    for column in app.selectbox(key="colour").options:
        app.selectbox(key="colour").select(column).run()
        assert not app.exception
        assert sum(traces(app).values()) == SCANS


def test_values_can_be_shown_alone_and_only_what_is_shown_is_picked(drawn: SmallArchive, page: OpenPage) -> None:
    app = page("cohort")
    app.multiselect(key="only modality").select("CT").run()
    assert traces(app) == {"CT": 9}
    app.button(key="pick shown").click().run()
    assert header(app) == "9 scans on the map"
    app.multiselect(key="only modality").unselect("CT").run()
    assert header(app) == f"{SCANS} scans on the map"


def test_what_is_drawn_around_is_picked_by_place_whether_drawn_or_not(drawn: SmallArchive, page: OpenPage) -> None:
    with Archive.open(drawn.home) as archive:
        row = archive.latest_map()
        assert row is not None
        right = row.volume_ids[row.coordinates[:, 0] > 0]
    box = drawn_around({"points": [], "box": [{"x": [0, 99], "y": [99, -99]}], "lasso": []})
    lasso = drawn_around({"points": [], "lasso": [{"x": [0, 99, 99, 0], "y": [-99, -99, 99, 99]}], "box": []})
    for pick in (box, lasso):
        assert pick is not None
        assert header(picked(page, pick)) == f"{len(right)} scans inside what you drew"
    assert drawn_around({"points": [], "box": [], "lasso": []}) is None


def test_clusters_have_names_tests_and_exemplars_and_can_be_picked(drawn: SmallArchive, page: OpenPage) -> None:
    app = page("cohort")
    assert "<img" not in "".join(markdown.value for markdown in app.markdown if "1:" in markdown.value)
    table = app.table[0].value
    assert table["In it"].tolist() == ["3 of 4"]
    assert table["p"].tolist() == ["0.004"]
    assert len(app.image) == 1  # the second's exemplar is gone
    app.button(key="pick cluster 1").click().run()
    assert header(app).startswith("5 scans of cluster 2")
    app.button(key="drop").click().run()
    assert not app.header
    app.selectbox(key="colour").select("\0cluster").run()
    assert sorted(traces(app).values()) == [5, 9, 23]


def test_outliers_are_listed_farthest_first_and_can_be_picked(drawn: SmallArchive, page: OpenPage) -> None:
    app = page("cohort")
    app.button_group(key="cohort aside").set_value("Outliers").run()
    cases = [markdown.value for markdown in app.markdown if markdown.value.startswith("**Case")]
    assert cases == ["**Case 30**", "**Case 7**"]
    app.button(key="pick outliers").click().run()
    assert header(app) == "2 scans far from their neighbours"


def test_the_maps_quality_is_shown_with_it(drawn: SmallArchive, page: OpenPage) -> None:
    app = page("cohort")
    assert {metric.label: metric.value for metric in app.metric} == {
        "Trustworthiness": "0.91",
        "Neighbours kept": "43%",
    }


def test_picked_scans_are_counted_and_listed_a_page_at_a_time(drawn: SmallArchive, page: OpenPage) -> None:
    app = picked(page, ALL)
    bars = json.loads(app.get("plotly_chart")[1].proto.spec)["data"][0]
    assert dict(zip(bars["y"], bars["text"], strict=True)) == {"MR": "28", "CT": "9"}
    assert len([button for button in app.button if str(button.key).startswith("picked open ")]) == 8
    app.selectbox(key="count by, coloured by modality").select("age").run()
    assert not app.exception
    assert json.loads(app.get("plotly_chart")[1].proto.spec)["data"][0]["type"] == "histogram"


def test_search_like_these_starts_from_the_most_typical_with_the_others_as_examples(
    drawn: SmallArchive, page: OpenPage
) -> None:
    app = picked(page, Picked(words="of cluster", cluster=1))
    app.button(key="search like these").click().run()
    assert not app.exception
    cases = {int(app.query_params["case"]), *map(int, app.query_params["like"].split(", "))}
    assert cases == {10, 11, 12, 13, 14}
    assert "more like case" in said(app)


def test_picked_scans_are_labelled_and_those_with_a_value_keep_it(drawn: SmallArchive, page: OpenPage) -> None:
    with Archive.open(drawn.home) as archive:
        before = {one.volume_id: one.value for one in archive.catalog.labels("kind")}
    app = picked(page, Picked(words="of cluster", cluster=0))
    app.selectbox(key="picked label").select("kind").run()
    app.selectbox(key="picked value").select("bold").run()
    assert "3 scans will get it; 6 keep a value from their files" in said(app)
    app.button(key="give picked").click().run()
    assert not app.exception
    with Archive.open(drawn.home) as archive:
        after = {one.volume_id: (one.value, one.origin) for one in archive.catalog.labels("kind")}
        assert archive.catalog.audits(1)[0].action == "labels given by hand"
        authors = {one.author for one in archive.catalog.labels("kind") if one.origin == "accepted"}
    assert after == {case: (value, "given") for case, value in before.items()} | dict.fromkeys(
        (3, 6, 9), ("bold", "accepted")
    )
    assert len(authors) == 1
    assert None not in authors
    app.button(key="undo picked").click().run()
    with Archive.open(drawn.home) as archive:
        assert {one.volume_id: one.value for one in archive.catalog.labels("kind")} == before


def test_a_viewer_takes_nothing_away_and_labels_nothing(
    drawn: SmallArchive, page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = Principal(name="ann", role="viewer")
    monkeypatch.setattr("app.session.principal", lambda: viewer)
    app = picked(page, ALL)
    assert [button.proto.disabled for button in app.download_button] == [True]
    assert "takes the role curator" in said(app)
    assert "picked label" not in [box.key for box in app.selectbox]
    with Archive.open(drawn.home) as archive, pytest.raises(AccessError):
        scans_csv(archive.acting_as(viewer), [1], "")


def test_the_table_of_picked_scans_has_a_line_a_scan_and_runs_nothing(drawn: SmallArchive) -> None:
    with Archive.open(drawn.home) as archive:
        archive.catalog.set_label(5, "note", "=1+1", origin="accepted", author="x")
        lines = list(csv.DictReader(io.StringIO(scans_csv(archive, [5, 999, 1], "-cmd").decode())))
    assert [line["case"] for line in lines] == ["5", "1"]
    assert lines[0]["label note"] == "'=1+1"
    assert lines[0]["picked"] == "'-cmd"
    assert lines[1]["label kind"] == "T1w"
    assert not any("/scans/" in value for line in lines for value in line.values())


def test_a_case_is_placed_with_its_confidence_and_starred(
    drawn: SmallArchive, page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cohort_finds.place_scan", lambda *_: Placement(0.5, -0.5, 0.021))
    app = page("cohort")
    app.button_group(key="cohort aside").set_value("Place a scan").run()
    app.number_input(key="place case").set_value(3).run()
    app.button(key="place").click().run()
    assert not app.exception
    assert "0.02" in [metric.value for metric in app.metric]
    assert "outside what this map shows" in said(app)
    star = json.loads(app.get("plotly_chart")[0].proto.spec)["data"][-1]
    assert (star["x"], star["y"], star["name"]) == ([0.5], [-0.5], "Case 3")


def test_a_map_whose_graph_is_gone_says_so_when_a_case_is_to_be_placed(drawn: SmallArchive, page: OpenPage) -> None:
    app = page("cohort")
    app.button_group(key="cohort aside").set_value("Place a scan").run()
    app.number_input(key="place case").set_value(3).run()
    app.button(key="place").click().run()
    assert not app.exception
    assert "draw it again" in app.error[0].value


def test_a_case_that_was_clicked_is_shown_with_its_neighbours(drawn: SmallArchive, page: OpenPage) -> None:
    app = page("cohort")
    app.session_state["cohort case"] = 5
    app.session_state["cohort aside"] = "Case"
    app.run()
    assert "Case 5" in [header.value for header in app.subheader]
    assert len(app.image) == 4
    assert "Most similar" in said(app)


def test_a_case_that_is_gone_is_one_sentence(drawn: SmallArchive, page: OpenPage) -> None:
    app = page("cohort")
    app.session_state["cohort case"] = 999
    app.session_state["cohort aside"] = "Case"
    app.run()
    assert not app.exception
    assert len(app.error) == 1


def test_a_map_of_other_scans_says_how_many_came_and_went_until_it_is_drawn_again(
    small: SmallArchive, page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Archive.open(small.home) as archive:
        ids = archive.catalog.ids(archive.spec().id).tolist()
        store_map(archive, [*ids[:-2], 1000])
    app = page("cohort")
    assert "2 scans came and 1 scan went" in app.warning[0].value
    assert [button.label for button in app.button].count("Draw it again") == 1
    assert sum(traces(app).values()) == 36
    monkeypatch.setattr(Archive, "draw_map", lambda self: store_map(self, ids))
    next(button for button in app.button if button.label == "Draw it again").click().run()
    assert not app.exception
    assert not app.warning
    assert sum(traces(app).values()) == 37


@pytest.mark.parametrize(("webgl", "points", "kind"), [(None, 20, ""), (False, 20, ""), (True, 30, "gl")])
def test_a_crowded_map_is_thinned_and_says_so_but_is_picked_whole(
    drawn: SmallArchive, page: OpenPage, monkeypatch: pytest.MonkeyPatch, webgl: bool | None, points: int, kind: str
) -> None:
    monkeypatch.setattr("app.webgl.DRAWN_AS_SVG", 20)
    monkeypatch.setattr("app.webgl.DRAWN_BY_WEBGL", 30)
    app = page("cohort")
    app.session_state["draws with WebGL"] = webgl
    app.session_state["cohort picked"] = ALL
    app.run()
    assert not app.exception
    assert sum(traces(app).values()) == points
    spec = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert {trace["type"] for trace in spec["data"]} == {f"scatter{kind}"}
    assert f"{points} of {SCANS} points are drawn" in said(app)
    assert ("This browser draws no WebGL" in said(app)) == (webgl is False)
    assert header(app) == f"{SCANS} scans on the map"
