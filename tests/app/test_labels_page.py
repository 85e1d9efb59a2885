from streamlit.testing.v1 import AppTest

from raptor_search.archive import Archive
from raptor_search.catalog import LabelRecord
from raptor_search.labelling import proposals
from tests.app.archive import SmallArchive
from tests.app.conftest import OpenPage
from tests.app.test_main import said

UNLABELLED = 12


def open_label(page: OpenPage, label: str = "kind") -> AppTest:
    app = page("labels")
    app.selectbox(key="label").select(label).run()
    assert not app.exception
    return app


def decisions(small: SmallArchive, label: str = "kind") -> dict[int, LabelRecord]:
    with Archive.open(small.home) as archive:
        return {record.volume_id: record for record in archive.catalog.labels(label) if record.origin != "given"}


def proposed(app: AppTest) -> list[int]:
    keys = [button.key for button in app.button if button.key and button.key.startswith("accept ")]
    return [int(key.removeprefix("accept ")) for key in keys if key != "accept all"]


def test_the_unlabelled_scans_are_listed_with_value_confidence_and_neighbours(
    small: SmallArchive, page: OpenPage
) -> None:
    app = open_label(page)
    with Archive.open(small.home) as archive:
        ids = archive.catalog.ids(archive.spec().id)
        missing = [i for i, v in zip(ids.tolist(), archive.catalog.column_values("kind", ids), strict=True) if not v]
    assert len(missing) == UNLABELLED
    assert len(proposed(app)) == 6
    assert set(proposed(app)) <= set(missing)
    assert "Neighbours for it: case " in said(app)
    assert len(app.image) > 6


def test_accepting_stores_value_origin_confidence_and_author(small: SmallArchive, page: OpenPage) -> None:
    app = open_label(page)
    case = proposed(app)[0]
    app.button(key=f"accept {case}").click().run()
    assert not app.exception
    record = decisions(small)[case]
    assert (record.origin, record.value in ("T1w", "T2w", "bold")) == ("accepted", True)
    assert record.author
    assert record.confidence is not None
    assert case not in proposed(app)
    assert f"Case {case}: **{record.value}** accepted at" in said(app)


def test_rejecting_gives_no_value_and_asks_no_more(small: SmallArchive, page: OpenPage) -> None:
    app = open_label(page)
    case = proposed(app)[0]
    app.button(key=f"reject {case}").click().run()
    assert decisions(small)[case].origin == "rejected"
    assert case not in proposed(app)
    next(button for button in app.button if button.label == "Ask again").click().run()
    assert case not in proposed(app)
    with Archive.open(small.home) as archive:
        assert archive.catalog.column_values("kind", [case]) == [None]


def test_undo_brings_the_proposal_back(small: SmallArchive, page: OpenPage) -> None:
    app = open_label(page)
    case = proposed(app)[0]
    app.button(key=f"accept {case}").click().run()
    app.button(key=f"undo {case}").click().run()
    assert decisions(small) == {}
    assert case in proposed(app)


def test_accept_all_takes_exactly_those_above_the_threshold(small: SmallArchive, page: OpenPage) -> None:
    with Archive.open(small.home) as archive:
        found = proposals(archive, "kind").items
    app = open_label(page)
    for threshold in (1.0, 0.6):
        app.slider(key="threshold").set_value(threshold).run()
        sure = [item for item in found if item.abstained is None and item.confidence >= threshold]
        assert app.button(key="accept all").label == f"Accept these {len(sure)}"
    app.selectbox(key="proposed value").select("bold").run()
    app.button(key="accept all").click().run()
    assert not app.exception
    expected = {item.volume_id for item in found if item.abstained is None and item.value == "bold"}
    assert 1 < len(expected) < len(found)
    assert set(decisions(small)) == expected
    assert {record.origin for record in decisions(small).values()} == {"accepted"}


def test_a_label_with_too_few_values_goes_on_by_hand(small: SmallArchive, page: OpenPage) -> None:
    with Archive.open(small.home) as archive:
        archive.catalog.set_label(1, "quality", "poor", origin="accepted", author="somebody")
    app = open_label(page, "quality")
    assert "quality" in app.error[0].value
    app.number_input(key="case by hand").set_value(3)
    app.selectbox(key="value by hand").select("poor")
    next(button for button in app.button if button.label == "Give this value").click().run()
    assert not app.exception
    assert {case: record.value for case, record in decisions(small, "quality").items()} == {1: "poor", 3: "poor"}


def test_a_given_value_is_never_overwritten_by_hand(small: SmallArchive, page: OpenPage) -> None:
    app = open_label(page)
    app.number_input(key="case by hand").set_value(1)
    app.selectbox(key="value by hand").select("bold")
    next(button for button in app.button if button.label == "Give this value").click().run()
    assert "never overwritten" in said(app)
    assert decisions(small) == {}
