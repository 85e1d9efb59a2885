import numpy as np
import pytest

from app.map_chart import Places, Spot, numbers_map, values_map
from app.palette import MISSING, OTHER, marks


def places(n: int, *, webgl: bool = False, spot: Spot | None = None) -> Places:
    xy = np.random.default_rng(0).uniform(-1, 1, size=(n, 2))
    ids = np.arange(100, 100 + n)
    hover = [f"case {i}" for i in range(n)]
    return Places(xy=xy, ids=ids, hover=hover, webgl=webgl, frame=(-1, 1, -2, 2), spot=spot)


def test_every_category_up_to_28_has_its_own_mark_and_the_rest_share_one() -> None:
    looks = marks([f"v{i}" for i in range(30)] + [None])
    own = [(looks[f"v{i}"].colour, looks[f"v{i}"].symbol) for i in range(28)]
    assert len(set(own)) == 28
    assert looks["v28"] is looks["v29"] is OTHER
    assert looks[None] is MISSING


def test_the_commonest_value_comes_first() -> None:
    assert list(marks(["b", "a", "a"])) == ["a", "b", None]


def test_a_map_holds_every_case_once_in_its_categorys_trace() -> None:
    spots = places(4)
    figure = values_map(spots, ["CT", "MR", None, "MR"], ["MR", "CT"])
    drawn = {trace.name: trace.customdata.tolist() for trace in figure.data}
    assert drawn == {"MR": [101, 103], "CT": [100], "no value": [102]}
    for trace in figure.data:
        rows = np.array(trace.customdata) - 100
        np.testing.assert_array_equal(np.column_stack([trace.x, trace.y]), spots.xy[rows])


def test_colours_depend_on_the_whole_map_and_not_on_what_is_drawn_of_it() -> None:
    whole = values_map(places(3), ["CT", "MR", "MR"], ["MR", "CT"])
    part = values_map(places(1), ["CT"], ["MR", "CT"])
    assert {t.name: t.marker.color for t in whole.data}["CT"] == part.data[0].marker.color
    assert whole.layout.xaxis.range == part.layout.xaxis.range


def test_a_legend_hides_nothing_since_what_is_hidden_would_still_be_picked() -> None:
    assert values_map(places(1), ["a"], ["a"]).layout.legend.itemclick is False


@pytest.mark.parametrize(("lasso", "mode"), [(True, "lasso"), (False, "pan")])
def test_dragging_draws_around_or_moves(lasso: bool, mode: str) -> None:
    spots = Places(xy=np.zeros((1, 2)), ids=np.ones(1, int), hover=["a"], webgl=False, frame=(0, 0, 0, 0), lasso=lasso)
    assert values_map(spots, ["a"], ["a"]).layout.dragmode == mode


def test_a_placed_scan_is_a_star_on_top() -> None:
    star = values_map(places(3, spot=Spot(0.5, -0.25, "<b>mine</b>")), ["a", "a", "a"], ["a"]).data[-1]
    assert (star.x[0], star.y[0], star.marker.symbol) == (0.5, -0.25, "star")
    assert "<b" not in star.name


@pytest.mark.parametrize(("webgl", "kind"), [(False, "scatter"), (True, "scattergl")])
def test_points_are_drawn_by_webgl_where_the_browser_has_it(webgl: bool, kind: str) -> None:
    assert {trace.type for trace in values_map(places(3, webgl=webgl), ["a"] * 3, ["a"]).data} == {kind}
    assert {trace.type for trace in numbers_map(places(3, webgl=webgl), np.ones(3), "Age").data} == {kind}


def test_numbers_are_a_colour_scale_and_missing_ones_are_apart() -> None:
    missing, known = numbers_map(places(3), np.array([4.0, np.nan, 6.0]), "Age").data
    assert missing.customdata.tolist() == [101]
    assert (known.customdata.tolist(), list(known.marker.color)) == ([100, 102], [4.0, 6.0])


def test_names_on_the_map_are_never_read_as_html() -> None:
    name = "<a href='x'>y</a>"
    assert "<a" not in values_map(places(1), [name], [name]).data[0].name
