import numpy as np
import pytest

from app.charts import (
    WEBGL_FROM,
    Places,
    bars,
    calibration,
    cells,
    confusion,
    efficiency,
    match,
    numbers_map,
    values_map,
)
from app.palette import MISSING, OTHER, marks
from raptor_search.efficiency import CurvePoint
from raptor_search.region import Region


def places(n: int) -> Places:
    rng = np.random.default_rng(0)
    return Places(rng.normal(size=(n, 2)), np.arange(100, 100 + n), [f"case {i}" for i in range(n)])


def test_every_category_up_to_28_has_its_own_mark_and_the_rest_share_one() -> None:
    looks = marks([f"v{i}" for i in range(30)] + [None])
    own = [(looks[f"v{i}"].colour, looks[f"v{i}"].symbol) for i in range(28)]
    assert len(set(own)) == 28
    assert looks["v28"] is looks["v29"] is OTHER
    assert looks[None] is MISSING


def test_the_commonest_value_comes_first() -> None:
    assert list(marks(["b", "a", "a"])) == ["a", "b", None]


def test_a_map_holds_every_case_once_in_its_categorys_trace() -> None:
    values = ["CT", "MR", None, "MR"]
    spots = places(4)
    figure = values_map(spots, values, selected=None)
    drawn = {trace.name: trace.customdata.tolist() for trace in figure.data}
    assert drawn == {"MR": [101, 103], "CT": [100], "no value": [102]}
    for trace in figure.data:
        rows = np.array(trace.customdata) - 100
        np.testing.assert_array_equal(np.column_stack([trace.x, trace.y]), spots.xy[rows])


def test_the_selected_case_is_ringed() -> None:
    spots = places(3)
    ring = values_map(spots, ["a", "a", "a"], selected=101).data[-1]
    assert (ring.x[0], ring.y[0]) == tuple(spots.xy[1])
    assert len(values_map(spots, ["a", "a", "a"], selected=999).data) == 1


@pytest.mark.parametrize(("n", "kind"), [(WEBGL_FROM - 1, "scatter"), (WEBGL_FROM, "scattergl")])
def test_large_maps_are_drawn_by_webgl(n: int, kind: str) -> None:
    assert {trace.type for trace in values_map(places(n), ["a"] * n, selected=None).data} == {kind}


def test_numbers_are_a_colour_scale_and_missing_ones_are_apart() -> None:
    figure = numbers_map(places(3), [4.0, None, 6.0], "Age", selected=None)
    missing, known = figure.data
    assert missing.customdata.tolist() == [101]
    assert (known.customdata.tolist(), list(known.marker.color)) == ([100, 102], [4.0, 6.0])


def test_names_are_never_read_as_html() -> None:
    figure = values_map(places(1), ["<a href='x'>y</a>"], selected=None)
    assert "<a" not in figure.data[0].name
    assert all("<b" not in name for name in bars({"<b>x": 1}).data[0].y)
    assert all("<b" not in name for name in confusion(["<b>x"], np.array([[1]])).data[0].x)


def test_the_longest_bar_is_on_top() -> None:
    figure = bars({"MR": 5, "CT": 2})
    assert list(figure.data[0].y) == ["MR", "CT"]
    assert figure.layout.yaxis.autorange == "reversed"


def test_the_confusion_matrix_has_true_classes_as_rows_from_the_top() -> None:
    figure = confusion(["a", "b"], np.array([[1, 2], [3, 4]]))
    np.testing.assert_array_equal(figure.data[0].z, [[1, 2], [3, 4]])
    assert figure.layout.yaxis.autorange == "reversed"


def test_shares_lie_over_their_own_plane() -> None:
    shares = np.arange(3 * 2 * 4, dtype=np.float32).reshape(3, 2, 4)
    figure = match(b"png", shares, opacity=0.5)
    z = np.asarray(figure.data[0].z)
    assert z.shape == (2, 12)
    for plane in range(3):
        np.testing.assert_array_equal(z[:, 4 * plane : 4 * plane + 4], shares[plane])
    assert (figure.data[0].zmin, figure.data[0].zmax) == (-23, 23)
    image = figure.layout.images[0]
    assert (image.x, image.y, image.sizex, image.sizey) == (0, 0, 12, 2)
    assert list(figure.layout.yaxis.range) == [2, 0]


def test_without_a_picture_the_shares_are_shown_alone() -> None:
    assert not match(None, np.ones((3, 2, 2), np.float32), opacity=1).layout.images


def test_every_cell_is_a_point_of_its_place_and_chosen_ones_are_framed() -> None:
    figure = cells(b"png", (2, 4), [Region(1, (0, 0), (1, 2)), Region(2, (1, 1), (3, 3))])
    points = figure.data[0]
    assert len(points.customdata) == 3 * 2 * 4
    for (plane, row, column), x, y in zip(points.customdata, points.x, points.y, strict=True):
        assert (int(x), int(y)) == (plane * 4 + column, row)
    frames = [(shape.x0, shape.x1, shape.y0, shape.y1) for shape in figure.layout.shapes]
    assert frames == [(5, 7, 0, 1), (11, 12, 1, 2)]
    assert figure.layout.dragmode == "select"


def test_calibration_has_a_dot_a_bin_beside_the_diagonal() -> None:
    diagonal, dots = calibration([(4, 0.6, 0.5), (16, 0.9, 1.0)]).data
    assert list(diagonal.x) == list(diagonal.y) == [0, 1]
    assert (list(dots.x), list(dots.y), list(dots.marker.size)) == ([0.6, 0.9], [0.5, 1.0], [4, 16])
    assert not calibration([]).data[1].x


def test_the_curves_bars_reach_from_the_least_to_the_greatest_draw() -> None:
    line = efficiency([CurvePoint(10, 0.6, 0.5, 0.8), CurvePoint(20, 0.9, 0.7, 1.0)]).data[0]
    np.testing.assert_allclose(line.y - line.error_y.arrayminus, [0.5, 0.7])
    np.testing.assert_allclose(line.y + line.error_y.array, [0.8, 1.0])
