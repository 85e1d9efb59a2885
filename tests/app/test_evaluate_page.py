import json

import pytest
from streamlit.testing.v1 import AppTest

from raptor_search.archive import Archive
from raptor_search.assessing import Assessment, assess
from raptor_search.leaving_out import leave_out
from raptor_search.report import html_report, number
from tests.app.archive import KINDS, SmallArchive
from tests.app.conftest import OpenPage
from tests.app.test_main import said


def evaluated(page: OpenPage, label: str = "kind", methods: tuple[str, ...] = ("knn",)) -> AppTest:
    app = page("evaluate")
    app.selectbox(key="evaluate a class").select(label)
    app.button_group(key="evaluate methods").set_value(list(methods))
    app.button(key="evaluate").click().run()
    assert not app.exception
    return app


@pytest.fixture
def expected(small: SmallArchive) -> Assessment:
    with Archive.open(small.home) as archive:
        return assess(archive, "kind", methods=("knn",), with_curve=False)


def test_nothing_is_measured_before_it_is_asked_for(
    small: SmallArchive, page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raptor_search.assessing.assess", None)
    app = page("evaluate")
    assert not app.exception
    assert app.selectbox(key="evaluate a class").options == ["Modality", "Sex", "kind"]
    assert app.selectbox(key="evaluate a class").value == "sex"  # the rarest value of the others is rarer
    assert not app.metric


def test_the_pages_figures_and_report_are_the_librarys(
    small: SmallArchive, page: OpenPage, expected: Assessment, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[str] = []
    monkeypatch.setattr(
        "raptor_search.report.html_report", lambda found: reports.append(html_report(found)) or reports[-1]
    )
    app = evaluated(page)
    one = expected.evaluation
    (method,) = one.methods
    assert [metric.value for metric in app.metric] == [number(figure.value) for figure in method.figures[:3]]
    for figure in method.figures[:3]:
        assert f"[{number(figure.low)}, {number(figure.high)}]" in said(app)
        assert f"majority baseline {number(figure.majority)}" in said(app)
    tables = [table.value for table in app.dataframe]
    assert tables[0]["Figure"].tolist() == [figure.name for figure in method.figures]
    assert tables[0]["Value"].tolist() == [number(figure.value) for figure in method.figures]
    shown = {chart.proto.id.rsplit("-", 1)[-1]: json.loads(chart.proto.spec) for chart in app.get("plotly_chart")}
    matrix = next(spec for key, spec in shown.items() if key.startswith("confusion"))["data"][0]
    assert matrix["x"] == list(one.classes)
    confounds = tables[-1]
    assert len(confounds) == len(one.confounds)
    assert f"{len(one.leaks.pairs)} pairs of scans" in said(app)
    assert [button.label for button in app.download_button] == ["Report as HTML"]
    assert set(reports) == {html_report(expected)}


def test_two_methods_are_compared_side_by_side(small: SmallArchive, page: OpenPage) -> None:
    app = evaluated(page, methods=("knn", "logistic"))
    assert [tab.label for tab in app.tabs] == ["Raptor, kNN", "Raptor, Logistic regression"]
    assert "Differences" in said(app)


def test_a_number_is_told_with_its_error(small: SmallArchive, page: OpenPage) -> None:
    app = page("evaluate")
    app.radio(key="evaluate kind").set_value("a number").run()
    app.selectbox(key="evaluate a number").select("age")
    app.button(key="evaluate").click().run()
    assert not app.exception
    with Archive.open(small.home) as archive:
        found = assess(archive, "age", as_number=True)
    told = {figure.name: number(figure.value) for figure in found.evaluation.methods[0].figures}
    assert {metric.label: metric.value for metric in app.metric[:2]} == told


@pytest.mark.parametrize(("label", "where"), [("kind", "age > 200"), ("kind", "nothing = 1"), ("grade", "")])
def test_what_cannot_be_judged_is_one_sentence(small: SmallArchive, page: OpenPage, label: str, where: str) -> None:
    with Archive.open(small.home) as archive:
        archive.catalog.set_label(1, "grade", "high", origin="accepted")
        archive.catalog.set_label(2, "grade", "low", origin="accepted")
    app = page("evaluate")
    app.selectbox(key="evaluate a class").select(label)
    app.text_input(key="evaluate where").input(where)
    app.button(key="evaluate").click().run()
    assert not app.exception
    assert len(app.error) == 1
    assert not app.metric


def test_kept_figures_say_what_they_are_of_and_when_they_are_old(small: SmallArchive, page: OpenPage) -> None:
    app = evaluated(page)
    assert "The figures below are of" not in said(app.run())
    app.selectbox(key="evaluate a class").select("sex").run()
    assert "The figures below are of kind" in said(app)
    with Archive.open(small.home) as archive:
        archive.catalog.set_label(3, "kind", "bold", origin="accepted")
    app.run()
    assert "The archive has changed since" in app.warning[0].value


@pytest.fixture
def rare(small: SmallArchive) -> SmallArchive:
    """With a label that has a class of one patient, which no folds can judge."""
    with Archive.open(small.home) as archive:
        for case in range(1, 37):
            patient = (case - 1) // 3
            archive.catalog.give_labels(case, {"finding": "rare" if patient == 0 else KINDS[patient % 3]})
    return small


def test_where_folds_are_refused_leave_one_out_answers_and_says_why(rare: SmallArchive, page: OpenPage) -> None:
    with Archive.open(rare.home) as archive:
        found = leave_out(archive, "finding")
    app = evaluated(page, "finding")
    assert not app.error
    (warning,) = [one.value for one in app.warning]
    assert "has one subject only" in warning.replace("\\", "")
    assert "leave-one-out kNN answers" in warning.replace("\\", "")
    assert [metric.value for metric in app.metric] == [number(one.value) for one in found.figures]
    assert f"majority baseline {number(found.balanced_accuracy.majority)}" in said(app)
    assert "left out, because one subject alone has it: rare" in said(app).replace("\\", "")
    charts = {chart.proto.id.rsplit("-", 1)[-1]: json.loads(chart.proto.spec) for chart in app.get("plotly_chart")}
    assert list(charts) == ["confusion left out", "confusion of the majority", "per class left out"]
    assert charts["confusion left out"]["data"][0]["x"] == list(found.classes)
    assert app.dataframe[-1].value["Class"].tolist() == list(found.classes)


def test_leave_one_out_can_be_asked_for_beside_folds_or_alone(small: SmallArchive, page: OpenPage) -> None:
    app = evaluated(page, methods=("leave one out",))
    assert [header.value for header in app.header] == ["How well kind is told, one subject left out at a time"]
    app.button_group(key="evaluate methods").set_value(["knn", "leave one out"])
    app.button(key="evaluate").click().run()
    assert not app.exception
    assert len(app.header) == 2
    assert len(app.metric) == 6


def test_every_class_has_a_roc_curve_and_a_dot(small: SmallArchive, page: OpenPage, expected: Assessment) -> None:
    app = evaluated(page)
    charts = {chart.proto.id.rsplit("-", 1)[-1]: json.loads(chart.proto.spec) for chart in app.get("plotly_chart")}
    (method,) = expected.evaluation.methods
    curves = next(spec["data"] for key, spec in charts.items() if key.startswith("roc"))[1:]
    names = [
        f"{name} {number(area)}" for name, area in zip(expected.evaluation.classes, method.class_auroc, strict=True)
    ]
    assert [curve["name"] for curve in curves] == names
    dots = next(spec["data"] for key, spec in charts.items() if key.startswith("per class"))[0]
    assert dots["y"] == list(expected.evaluation.classes)
