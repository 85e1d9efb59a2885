import numpy as np

from app.charts import (
    bars,
    calibration,
    cells,
    confusion,
    efficiency,
    match,
    per_class,
    roc,
    spread,
)
from raptor_search.searching.region import Region
from raptor_search.statistics.efficiency import CurvePoint


def test_names_are_never_read_as_html() -> None:
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


def test_a_spread_holds_every_number() -> None:
    assert spread(np.array([1.0, 2.0, 2.0])).data[0].x.tolist() == [1.0, 2.0, 2.0]


def test_each_class_has_its_roc_curve_and_its_own_line() -> None:
    points = np.array([[0.0, 0.0], [0.2, 0.9], [1.0, 1.0]])
    names = [f"<b>{i}" for i in range(9)]
    figure = roc(dict.fromkeys(names, points), dict.fromkeys(names, "0.85"))
    lines = figure.data[1:]
    assert [line.y.tolist() for line in lines] == [points[:, 1].tolist()] * 9
    assert len({(line.line.color, line.line.dash) for line in lines}) == 9
    assert all("<b" not in line.name and line.name.endswith("0.85") for line in lines)


def test_each_class_has_a_dot_at_its_area() -> None:
    dots = per_class({"CT": 0.9, "MR": float("nan")}).data[0]
    assert list(dots.y) == ["CT", "MR"]
    assert dots.x[0] == 0.9
    assert np.isnan(dots.x[1])
