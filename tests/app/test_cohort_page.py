import json

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from raptor_search.archive import Archive
from raptor_search.catalog import StoredMap
from tests.app.archive import SmallArchive
from tests.app.conftest import OpenPage
from tests.app.test_main import said


@pytest.fixture
def drawn(small: SmallArchive) -> SmallArchive:
    """With a map of drawn coordinates: UMAP itself is tested elsewhere."""
    with Archive.open(small.home) as archive:
        store_map(archive, archive.catalog.ids(archive.spec().id).tolist())
    return small


def store_map(archive: Archive, ids: list[int]) -> StoredMap:
    places = np.random.default_rng(1).normal(size=(len(ids), 2)).astype(np.float32)
    return archive.catalog.save_map(archive.spec().id, np.array(ids), places, {"seed": 0})


def traces(app: AppTest) -> dict[str, int]:
    """Points of each trace of the map."""
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    return {trace.get("name", ""): len(trace["hovertext"]) for trace in figure["data"] if "hovertext" in trace}


def test_without_a_map_a_button_draws_one(small: SmallArchive, page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    app = page("cohort")
    assert not app.get("plotly_chart")
    monkeypatch.setattr(Archive, "draw_map", lambda self: store_map(self, self.catalog.ids(self.spec().id).tolist()))
    (draw,) = [button for button in app.button if button.label == "Draw the map"]
    draw.click().run()
    assert not app.exception
    assert sum(traces(app).values()) == 37


def test_the_map_is_coloured_by_any_column(drawn: SmallArchive, page: OpenPage) -> None:
    app = page("cohort")
    assert traces(app) == {"MR": 28, "CT": 9}
    app.selectbox(key="colour").select("kind").run()
    assert traces(app) == {"T1w": 9, "T2w": 8, "bold": 8, "no value": 12}
    for column in app.selectbox(key="colour").options:
        app.selectbox(key="colour").select(column).run()
        assert not app.exception
        assert sum(traces(app).values()) == 37


def test_a_case_that_was_clicked_is_shown_with_its_neighbours(drawn: SmallArchive, page: OpenPage) -> None:
    app = page("cohort")
    app.session_state["cohort case"] = 5
    app.run()
    assert "Case 5" in [header.value for header in app.subheader]
    assert len(app.image) == 4
    assert "Most similar" in said(app)


def test_a_case_that_is_gone_is_one_sentence(drawn: SmallArchive, page: OpenPage) -> None:
    app = page("cohort")
    app.session_state["cohort case"] = 999
    app.run()
    assert not app.exception
    assert len(app.error) == 1


def test_a_map_of_other_scans_says_how_many_came_and_went(small: SmallArchive, page: OpenPage) -> None:
    with Archive.open(small.home) as archive:
        ids = archive.catalog.ids(archive.spec().id).tolist()
        store_map(archive, [*ids[:-2], 1000])
    app = page("cohort")
    assert "2 scans came and 1 scan went" in app.warning[0].value
    assert [button.label for button in app.button].count("Draw it again") == 1
    assert sum(traces(app).values()) == 36
