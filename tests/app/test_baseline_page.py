import json

from raptor_search.archive import Archive
from raptor_search.labelling import baseline
from tests.app.archive import SmallArchive
from tests.app.conftest import OpenPage
from tests.app.test_main import said


def test_figures_stand_beside_the_majority_baseline_with_their_intervals(small: SmallArchive, page: OpenPage) -> None:
    app = page("baseline")
    app.selectbox(key="baseline label").select("kind").run()
    assert not app.exception
    with Archive.open(small.home) as archive:
        expected = baseline(archive, "kind")
    assert [metric.label for metric in app.metric] == ["AUROC", "balanced accuracy", "accuracy"]
    assert [metric.value for metric in app.metric] == [f"{figure.value:.3f}" for figure in expected.figures]
    for figure in expected.figures:
        assert f"[{figure.low:.3f}, {figure.high:.3f}]" in said(app)
        assert f"majority baseline {figure.majority:.3f}" in said(app)
    matrix = json.loads(app.get("plotly_chart")[0].proto.spec)["data"][0]
    assert matrix["x"] == list(expected.classes)


def test_only_columns_with_two_values_are_offered(small: SmallArchive, page: OpenPage) -> None:
    app = page("baseline")
    assert not app.exception
    assert app.selectbox(key="baseline label").options == ["Modality", "Sex", "kind"]
    assert len(app.metric) == 3


def test_a_label_that_cannot_be_judged_is_one_sentence(small: SmallArchive, page: OpenPage) -> None:
    with Archive.open(small.home) as archive:
        archive.catalog.set_label(1, "grade", "high", origin="accepted")
        archive.catalog.set_label(2, "grade", "low", origin="accepted")
    app = page("baseline")
    app.selectbox(key="baseline label").select("grade").run()
    assert not app.exception
    assert len(app.error) == 1
    assert not app.metric
    app.selectbox(key="baseline label").select("sex").run()
    assert len(app.metric) == 3
