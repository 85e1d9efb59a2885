import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raptor_search.cohorts.map_points import inside_box, inside_lasso, thinned

SQUARE = ([0.0, 2.0, 2.0, 0.0], [0.0, 0.0, 2.0, 2.0])


def test_a_small_map_is_drawn_whole():
    assert thinned(np.zeros((5, 2)), limit=5).tolist() == [0, 1, 2, 3, 4]


def test_a_crowd_is_thinned_and_lone_points_and_rare_kinds_stay():
    rng = np.random.default_rng(0)
    crowd, lone = rng.normal(0, 0.01, (10_000, 2)), np.array([[5.0, 5.0], [-5.0, 5.0], [5.0, -5.0]])
    points = np.concatenate([crowd, lone])
    kinds = np.zeros(len(points), np.int64)
    kinds[17] = 1
    rows = thinned(points, kinds, limit=500)
    assert len(rows) <= 500
    assert {10_000, 10_001, 10_002, 17} <= set(rows.tolist())
    assert len(rows) > 100
    assert rows.tolist() == sorted(set(rows.tolist())) == thinned(points, kinds, limit=500).tolist()


@given(st.integers(1, 400), st.integers(1, 300), st.integers(1, 5))
def test_never_more_than_the_limit_and_never_nothing(n, limit, kinds):
    rng = np.random.default_rng(n)
    rows = thinned(rng.normal(size=(n, 2)), rng.integers(0, kinds, n), limit=limit)
    assert 1 <= len(rows) <= limit
    assert len(set(rows.tolist())) == len(rows)
    assert rows.max() < n


def test_a_lasso_holds_what_it_encloses_whichever_way_it_was_drawn():
    points = np.array([[1.0, 1.0], [3.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [1.9, 0.1]])
    expected = [True, False, False, False, True]
    assert inside_lasso(points, *SQUARE).tolist() == expected
    assert inside_lasso(points, SQUARE[0][::-1], SQUARE[1][::-1]).tolist() == expected
    assert inside_lasso(points, [0, 1], [0, 1]).tolist() == [False] * 5


def test_a_lasso_with_a_dent_leaves_the_dent_out():
    x, y = [0.0, 4.0, 4.0, 2.0, 0.0], [0.0, 0.0, 4.0, 1.0, 4.0]
    points = np.array([[2.0, 0.5], [2.0, 2.0], [0.5, 2.0], [3.8, 3.0]])
    assert inside_lasso(points, x, y).tolist() == [True, False, True, True]


@pytest.mark.parametrize("corners", [3, 4, 7])
def test_a_regular_lasso_agrees_with_half_planes(corners):
    rng = np.random.default_rng(corners)
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    x, y = np.cos(angles), np.sin(angles)
    points = rng.uniform(-1.2, 1.2, (2000, 2))
    left = np.ones(len(points), bool)
    for a in range(corners):
        b = (a + 1) % corners
        left &= (x[b] - x[a]) * (points[:, 1] - y[a]) - (y[b] - y[a]) * (points[:, 0] - x[a]) > 0
    np.testing.assert_array_equal(inside_lasso(points, x.tolist(), y.tolist()), left)


def test_a_box_holds_its_edges_in_any_order_of_corners():
    points = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 1.0], [1.0, 2.1]])
    assert inside_box(points, [0.0, 2.0], [0.0, 2.0]).tolist() == [True, True, True, False]
    assert inside_box(points, [2.0, 0.0], [2.0, 0.0]).tolist() == [True, True, True, False]
