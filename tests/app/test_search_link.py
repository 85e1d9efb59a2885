"""What narrows and steers a search on the page, and the link that reopens it."""

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.address import NARROWED, fresh
from app.standing import above_pairs
from raptor_search.archive import Archive
from raptor_search.search import SearchResult
from raptor_search.searching.background import least_percentile
from raptor_search.searching.region import parse_region
from tests.app.archive import SmallArchive, add_copy
from tests.app.conftest import OpenPage
from tests.app.test_main import said
from tests.app.test_search_page import cases, hits, upload

AXIAL = "axial:2-5,3-6"


def found(small: SmallArchive, case: int = 1, **settings: Any) -> SearchResult:
    with Archive.open(small.home) as archive:
        return archive.search(case, **settings)


def ids(result: SearchResult) -> list[int]:
    return [hit.volume_id for hit in result.hits]


def plain(app: AppTest) -> str:
    """All text of a page, escapes taken out."""
    return said(app).replace("\\", "")


def reopened(app: AppTest, page: OpenPage) -> AppTest:
    """The page in a new session, opened by the address of another."""
    return page(**app.query_params)


def test_each_hit_says_its_percentile_among_unrelated_pairs(small: SmallArchive, page: OpenPage) -> None:
    app = page(case="1")
    shown = [words[2] for words in hits(app)]
    assert shown == [above_pairs(hit.percentile or 0) for hit in found(small).hits]
    assert "how many of a sample of unrelated pairs" in plain(app)


@pytest.mark.parametrize(
    ("percentile", "words"),
    [(99.96, "99.9% of"), (99.9, "99.9% of"), (41.24, "41.2% of"), (0.0, "0.0% of"), (100.0, "all")],
)
def test_a_percentile_is_not_rounded_up_to_all(percentile: float, words: str) -> None:
    assert above_pairs(percentile) == f"above {words} unrelated pairs"


def test_hits_that_do_not_stand_out_are_marked_each(small: SmallArchive, page: OpenPage) -> None:
    app = page(case="1", k="30")
    least = least_percentile(found(small).passed)
    weak = [hit.rank for hit in found(small, k=30).hits if (hit.percentile or 0) < least]
    assert 0 < len(weak) < 30
    marked = [number for number, chips in enumerate(_chips(app), 1) if "does not stand out" in chips]
    assert marked == weak
    assert f"{len(weak)} of 30 hits, marked" in plain(app)


def _chips(app: AppTest) -> list[str]:
    return [html.value for html in app.html if 'class="rs-chips"' in html.value]


def test_nothing_similar_is_said_where_the_library_says_it(small: SmallArchive, page: OpenPage) -> None:
    other = "kind = 'bold' AND NOT age = 32"
    assert found(small, where=other).nothing_similar
    assert not found(small).nothing_similar
    app = page(case="1")
    assert "No hit stands out" not in plain(app)
    app.text_input(key="condition").input(other).run()
    assert "No hit stands out" in app.warning[0].value
    assert "more alike than the query and the first hit (score " in plain(app)


def test_equal_scans_are_shown_once_with_those_that_they_stand_for(small: SmallArchive, page: OpenPage) -> None:
    copy = add_copy(small, small.scan_case)
    app = upload(page(), small.scan)
    assert {small.scan_case, copy} == set(cases(app)[:2])
    app.toggle(key="collapse").set_value(True).run()
    assert not app.exception
    (shown,) = {small.scan_case, copy} & set(cases(app))
    (other,) = {small.scan_case, copy} - {shown}
    assert f"stands for its equals: case {other}" in plain(app)
    assert len(cases(app)) == 10


def test_examples_are_asked_as_the_library_does(small: SmallArchive, page: OpenPage) -> None:
    app = page(case="1")
    app.text_input(key="like").input("5, 9")
    app.text_input(key="unlike").input("12").run()
    assert not app.exception
    assert cases(app) == ids(found(small, like=[5, 9], unlike=[12]))
    assert "more like case 5, case 9, less like case 12" in plain(app)
    assert all(len(words) == 4 for words in hits(app))  # no percentile: the query is not one scan
    assert "A steered search has no figure" in plain(app)


def test_a_hits_buttons_add_it_to_one_list_and_take_it_from_the_other(small: SmallArchive, page: OpenPage) -> None:
    app = page(case="1")
    first, second = cases(app)[:2]
    app.button(key="like 1").click().run()
    app.button(key=f"unlike {cases(app).index(second) + 1}").click().run()
    assert (app.text_input(key="like").value, app.text_input(key="unlike").value) == (str(first), str(second))
    assert cases(app) == ids(found(small, like=[first], unlike=[second]))
    next(button for button in app.button if button.label == "Do not steer").click().run()
    assert cases(app) == ids(found(small))


def test_a_region_confines_the_score(small: SmallArchive, page: OpenPage) -> None:
    app = page(case="1")
    app.text_input(key="region").input(AXIAL).run()
    expected = found(small, region=[parse_region(AXIAL)])
    assert cases(app) == ids(expected)
    assert [words[1] for words in hits(app)] == [f"{hit.score:.3f}" for hit in expected.hits]
    assert ids(expected) != ids(found(small))
    assert "the same cell need not be the same anatomy" in plain(app)


@pytest.mark.parametrize(
    ("key", "text"),
    [("like", "5; 6"), ("like", "4711"), ("unlike", "9" * 30), ("region", "axial"), ("region", "axial:0-99,1-2")],
)
def test_steering_that_cannot_be_is_one_sentence(small: SmallArchive, page: OpenPage, key: str, text: str) -> None:
    app = page(case="1")
    app.text_input(key=key).input(text).run()
    assert not app.exception
    assert len(app.error) == 1
    assert not app.sidebar.error  # a phone hides the side
    assert hits(app) == []
    assert [header.value for header in app.subheader if header.value.startswith("Case")] == ["Case 1"]
    app.text_input(key=key).input("").run()
    assert len(hits(app)) == 10


def test_a_link_reopens_the_same_search_of_a_case(small: SmallArchive, page: OpenPage) -> None:
    app = page(case="1")
    app.number_input(key="hits").set_value(7)
    app.toggle(key="other_patients").set_value(True)
    app.toggle(key="collapse").set_value(True)
    app.multiselect(key="filter sex").select("F").select("M")
    app.multiselect(key="filter labels").select(("kind", "T1w")).select(("kind", "T2w"))
    app.slider[0].set_range(31.0, 40.0)
    app.text_input(key="condition").input("size_r = 20")
    app.text_input(key="like").input("5")
    app.text_input(key="unlike").input("9")
    app.text_input(key="region").input(AXIAL).run()
    assert not app.exception
    other = reopened(app, page)
    assert not other.exception
    assert cases(other) == cases(app)
    assert hits(other) == hits(app)
    where = "sex IN ('F', 'M') AND kind IN ('T1w', 'T2w') AND age BETWEEN 31 AND 40 AND size_r = 20"
    settings: dict[str, Any] = {"exclude_same_patient": True, "collapse": True, "like": [5], "unlike": [9]}
    assert cases(other) == ids(found(small, k=7, where=where, region=[parse_region(AXIAL)], **settings))
    assert other.query_params == app.query_params
    assert cases(other)


def test_a_link_to_values_that_are_gone_says_so_and_searches_without_them(small: SmallArchive, page: OpenPage) -> None:
    app = page(case="1", k="99", modality="XA", label="kind: <b>gone</b>", age="1-200", other_patients="yes")
    assert not app.exception
    assert len(app.warning) == 4
    assert cases(app) == ids(found(small))
    app.run()
    assert not app.warning
    assert app.query_params == {"case": "1", "k": "10"}


def test_searching_from_a_hit_keeps_the_filters_and_drops_the_steering(small: SmallArchive, page: OpenPage) -> None:
    app = page(case="1", k="5", like="5", sex="F")
    assert app.text_input(key="like").value == "5"
    app.query_params.clear()
    app.query_params["case"] = "2"  # as the button does
    app.run()
    assert app.text_input(key="like").value == ""
    assert cases(app) == ids(found(small, 2, k=5, where="sex = 'F'"))
    assert app.query_params == {"case": "2", "k": "5", "sex": "F"}


def test_a_search_from_elsewhere_is_a_whole_address_so_that_the_way_back_is_one_step(
    small: SmallArchive, page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = page(case="1", k="5", like="5", sex="F")
    monkeypatch.setattr("app.address.st.session_state", {NARROWED: app.session_state[NARROWED]})
    assert fresh(2) == {"case": ["2"], "k": ["5"], "sex": ["F"]}
    monkeypatch.setattr("app.address.st.session_state", {})
    assert fresh(3) == {"case": ["3"], "k": ["10"]}


def test_an_upload_leaves_nothing_in_the_address(small: SmallArchive, page: OpenPage) -> None:
    app = upload(page(), small.scan)
    app.text_input(key="like").input("5").run()
    assert cases(app)
    assert app.query_params == {}


def test_a_session_that_comes_back_has_its_filters_still(small: SmallArchive, page: OpenPage) -> None:
    app = upload(page(), small.scan)
    app.multiselect(key="filter modality").select("CT").run()
    before = cases(app)
    app.switch_page("views/archive.py").run()
    app.switch_page("views/search.py").run()
    assert app.multiselect(key="filter modality").value == ["CT"]
    assert cases(app) == before
