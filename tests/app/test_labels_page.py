import pytest
from streamlit.testing.v1 import AppTest

from raptor_search.access import Principal
from raptor_search.archive import Archive
from raptor_search.catalog import LabelRecord
from raptor_search.labelling import LabelProposal, proposals, store
from tests.app.archive import SmallArchive
from tests.app.conftest import OpenPage
from tests.app.test_main import said

UNLABELLED = 12


def open_label(page: OpenPage, label: str = "kind", part: str = "Review") -> AppTest:
    app = page("labels")
    app.selectbox(key="label").select(label)
    app.button_group(key="part").set_value(part).run()
    assert not app.exception
    return app


def decisions(small: SmallArchive, label: str = "kind") -> dict[int, LabelRecord]:
    with Archive.open(small.home) as archive:
        return {record.volume_id: record for record in archive.catalog.labels(label) if record.origin != "given"}


def expected(small: SmallArchive) -> list[LabelProposal]:
    """The proposals that may be taken, the surest first."""
    with Archive.open(small.home) as archive:
        found = [item for item in proposals(archive, "kind").items if item.abstained is None]
    return sorted(found, key=lambda item: -item.confidence)


def case_shown(app: AppTest) -> int | None:
    cases = [header.value for header in app.subheader if header.value.startswith("Case ")]
    return int(cases[0].removeprefix("Case ")) if cases else None


def test_the_surest_unlabelled_scan_comes_first_with_value_confidence_and_neighbours(
    small: SmallArchive, page: OpenPage
) -> None:
    first = expected(small)[0]
    app = open_label(page)
    assert case_shown(app) == first.volume_id
    assert f"kind: **{first.value}**" in said(app)
    assert "Neighbours for it" in said(app)
    assert len(app.image) == 1 + min(4, len(first.speak_for)) + min(4, len(first.speak_against))
    assert f"Case {first.speak_for[0]}: {first.value}" in said(app)
    app.button_group(key="order").set_value("Least sure first").run()
    assert case_shown(app) == min(expected(small), key=lambda item: item.confidence).volume_id


def test_keys_decide(small: SmallArchive, page: OpenPage) -> None:
    app = open_label(page)
    keys = {button.key: button.proto.shortcut for button in app.button if button.proto.shortcut}
    assert keys == {"accept": "a", "reject": "x", "skip": "s"}


def test_accepting_stores_value_origin_confidence_and_author_and_goes_on(small: SmallArchive, page: OpenPage) -> None:
    first, second = expected(small)[:2]
    app = open_label(page)
    app.button(key="accept").click().run()
    assert not app.exception
    record = decisions(small)[first.volume_id]
    assert (record.origin, record.value, record.confidence) == ("accepted", first.value, first.confidence)
    assert record.author
    assert case_shown(app) == second.volume_id
    app.button_group(key="part").set_value("Decisions").run()
    assert f"Case {first.volume_id}: **{first.value}** accepted at" in said(app)
    assert record.author in said(app)


def test_a_viewer_sees_proposals_and_decides_nothing(
    small: SmallArchive, page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.session.principal", lambda: Principal(name="ann", role="viewer"))
    app = open_label(page)
    assert {key: app.button(key=key).disabled for key in ("accept", "reject", "skip")} == {
        "accept": True,
        "reject": True,
        "skip": False,
    }
    assert "takes the role curator" in said(app)


def test_rejecting_gives_no_value_and_asks_no_more(small: SmallArchive, page: OpenPage) -> None:
    first = expected(small)[0].volume_id
    app = open_label(page)
    app.button(key="reject").click().run()
    assert decisions(small)[first].origin == "rejected"
    assert case_shown(app) != first
    app.button(key="ask").click().run()
    assert not app.exception
    assert case_shown(app) not in (None, first)
    with Archive.open(small.home) as archive:
        assert archive.catalog.column_values("kind", [first]) == [None]


def test_what_is_skipped_comes_back_when_asked_for(small: SmallArchive, page: OpenPage) -> None:
    first, second = expected(small)[:2]
    app = open_label(page)
    app.button(key="skip").click().run()
    assert case_shown(app) == second.volume_id
    assert app.button(key="bring back").label == "Bring back 1 scan that you skipped"
    app.button(key="bring back").click().run()
    assert case_shown(app) == first.volume_id
    assert decisions(small) == {}


def test_undo_brings_the_last_decision_back(small: SmallArchive, page: OpenPage) -> None:
    first, second = expected(small)[:2]
    app = open_label(page)
    app.button(key="accept").click().run()
    app.button(key="reject").click().run()
    assert set(decisions(small)) == {first.volume_id, second.volume_id}
    app.button(key="undo").click().run()
    assert case_shown(app) == second.volume_id
    assert set(decisions(small)) == {first.volume_id}
    app.button(key="undo").click().run()
    assert decisions(small) == {}
    assert "undo" not in [button.key for button in app.button]


def test_another_value_can_be_given_instead(small: SmallArchive, page: OpenPage) -> None:
    first = expected(small)[0]
    other = next(name for name in ("T1w", "T2w", "bold") if name != first.value)
    app = open_label(page)
    app.selectbox(key="other value").select(other).run()
    app.button(key="give other").click().run()
    assert not app.exception
    assert {case: one.value for case, one in decisions(small).items()} == {first.volume_id: other}
    assert case_shown(app) != first.volume_id


def test_many_at_once_takes_exactly_those_that_the_preview_counted(small: SmallArchive, page: OpenPage) -> None:
    found = expected(small)
    app = open_label(page, part="Many at once")
    for threshold in (1.0, 0.6):
        app.slider(key="threshold").set_value(threshold).run()
        sure = [item for item in found if item.confidence >= threshold]
        assert app.button(key="accept all").label == f"Accept these {len(sure)}"
    table = app.dataframe[0].value
    assert table["60%"].tolist() == [len([item for item in found if item.confidence >= 0.6])]
    app.selectbox(key="proposed value").select("bold").run()
    wanted = {item.volume_id for item in found if item.value == "bold" and item.confidence >= 0.6}
    assert 1 < len(wanted) < len(found)
    assert f"{len(wanted)} as bold" in said(app)
    app.button(key="accept all").click().run()
    assert not app.exception
    assert set(decisions(small)) == wanted
    assert {record.origin for record in decisions(small).values()} == {"accepted"}
    app.button(key="undo").click().run()
    assert decisions(small) == {}


def test_proposals_that_were_stored_are_shown_with_who_asked_and_when(small: SmallArchive, page: OpenPage) -> None:
    with Archive.open(small.home) as archive:
        store(archive, "kind", proposals(archive, "kind"), method="knn", author="night run")
    app = open_label(page)
    assert "Proposed by night run" in said(app)
    assert case_shown(app) == expected(small)[0].volume_id


def test_a_large_archive_is_asked_only_on_request(
    small: SmallArchive, page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.proposed.ASKED_AT_ONCE", 10)
    app = open_label(page)
    assert case_shown(app) is None
    assert "raptor propagate LABEL" in said(app)
    app.button(key="ask").click().run()
    assert not app.exception
    assert case_shown(app) == expected(small)[0].volume_id


def test_a_label_with_too_few_values_goes_on_by_hand(small: SmallArchive, page: OpenPage) -> None:
    with Archive.open(small.home) as archive:
        archive.catalog.set_label(1, "quality", "poor", origin="accepted", author="somebody")
    app = open_label(page, "quality")
    assert "quality" in app.error[0].value
    app.button_group(key="part").set_value("By hand").run()
    app.number_input(key="case by hand").set_value(3).run()
    assert len(app.image) == 1
    assert "quality now: no value" in said(app)
    app.selectbox(key="value by hand").select("poor")
    next(button for button in app.button if button.label == "Give this value").click().run()
    assert not app.exception
    assert {case: record.value for case, record in decisions(small, "quality").items()} == {1: "poor", 3: "poor"}


@pytest.mark.parametrize(("case", "words"), [(1, "never overwritten"), (999, "no volume 999")])
def test_what_cannot_be_labelled_by_hand_is_one_sentence(
    small: SmallArchive, page: OpenPage, case: int, words: str
) -> None:
    app = open_label(page, part="By hand")
    app.number_input(key="case by hand").set_value(case)
    app.selectbox(key="value by hand").select("bold")
    next(button for button in app.button if button.label == "Give this value").click().run()
    assert words in said(app)
    assert decisions(small) == {}
