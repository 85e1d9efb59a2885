import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raptor_search.scoring import best, centred, scores, widened

NO_MEAN = np.empty(0, np.float32)


def vectors(seed, n, length=24):
    return np.random.default_rng(seed).normal(3, 1, (n, length)).astype(np.float16)


def test_score_of_a_hand_worked_case():
    mean = np.array([1, 1], np.float32)
    query = centred(np.array([[4, 5]]), mean)[0]
    assert query == pytest.approx([0.6, 0.8])
    rows = np.array([[4, 5], [-2, -3], [5, -2]], np.float16)
    assert scores(query, rows, mean) == pytest.approx([1, -1, 0], abs=1e-7)


def test_without_a_mean_the_score_is_the_plain_cosine():
    rows = vectors(0, 5)
    wide = rows.astype(np.float64)
    expected = wide @ wide[0] / np.linalg.norm(wide, axis=1) / np.linalg.norm(wide[0])
    assert scores(centred(rows[:1], NO_MEAN)[0], rows, NO_MEAN) == pytest.approx(expected, abs=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_scores_equal_a_loop_in_double_precision(seed, n):
    rows, mean = vectors(seed, n + 1), vectors(seed + 1, 1)[0].astype(np.float32)
    query = centred(rows[:1], mean)[0]
    for score, row in zip(scores(query, rows[1:], mean), rows[1:], strict=True):
        a, b = (v.astype(np.float64) - mean for v in (rows[0], row))
        assert score == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)), abs=1e-6)


def test_a_row_has_the_same_score_to_the_last_bit_in_any_block():
    rows = np.random.default_rng(1).normal(size=(37, 9_001)).astype(np.float16)
    mean = rows.mean(axis=0, dtype=np.float32)
    query = centred(rows[:1], mean)[0]
    whole = scores(query, rows, mean)
    parts = np.concatenate([scores(query, rows[a:b], mean) for a, b in ((0, 1), (1, 4), (4, 21), (21, 37))])
    assert (whole == parts).all()


def test_centring_leaves_the_rows_of_the_caller_alone():
    rows = vectors(2, 4).astype(np.float32)
    before = rows.copy()
    centred(rows, rows[0])
    assert (rows == before).all()


def test_a_row_equal_to_the_mean_scores_zero():
    rows = vectors(3, 2)
    mean = rows[0].astype(np.float32)
    assert scores(centred(rows[1:], mean)[0], rows, mean)[0] == 0
    assert (scores(centred(rows[:1], mean)[0], rows, mean) == 0).all()


def test_equal_scores_rank_by_id():
    order = best(np.array([9, 4, 7, 1]), np.array([0.5, 0.9, 0.5, 0.1], np.float32), 3)
    assert order.tolist() == [1, 2, 0]


def test_every_finite_half_is_widened_exactly():
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    wide = widened(halves)
    assert wide.dtype == np.float32
    assert (wide == halves.astype(np.float32)).all()
    assert (np.signbit(wide) == np.signbit(halves)).all()
    assert (widened(halves[::3].astype(np.float64)) == halves[::3]).all()
