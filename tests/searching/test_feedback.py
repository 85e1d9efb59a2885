import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raptor_search.scoring import centred
from raptor_search.searching.feedback import combined

NONE = np.empty((0, 30), np.float16)


def draw(seed, n):
    return np.random.default_rng(seed).normal(4, 1, (n, 30)).astype(np.float16)


@given(st.integers(0, 2**31), st.booleans())
def test_the_direction_is_rocchios(seed, with_mean):
    query, liked, unliked = draw(seed, 1)[0], draw(seed + 1, 3), draw(seed + 2, 2)
    mean = np.full(30, 4, np.float32) if with_mean else np.empty(0, np.float32)

    def unit(rows):
        wide = rows.astype(np.float64) - (mean if with_mean else 0)
        return wide / np.linalg.norm(wide, axis=-1, keepdims=True)

    expected = unit(query) + 0.75 * unit(liked).mean(axis=0) - 0.15 * unit(unliked).mean(axis=0)
    expected /= np.linalg.norm(expected)
    assert centred(combined(query, liked, unliked, mean)[None], mean)[0] == pytest.approx(expected, abs=1e-5)


def test_without_examples_it_is_the_query():
    query, mean = draw(0, 1)[0], np.full(30, 4, np.float32)
    assert combined(query, NONE, NONE, mean) == pytest.approx(query.astype(np.float32), abs=1e-5)


def test_what_is_liked_comes_nearer_and_what_is_not_goes_away():
    query, example, mean = draw(1, 1)[0], draw(2, 1), np.full(30, 4, np.float32)
    score = lambda q: float(centred(q[None], mean)[0] @ centred(example, mean)[0])  # noqa: E731
    pulled, pushed = combined(query, example, NONE, mean), combined(query, NONE, example, mean)
    assert score(pushed) < score(query) < score(pulled)


def test_the_arguments_are_left_alone():
    query, liked, mean = draw(3, 1)[0], draw(4, 2), np.full(30, 4, np.float32)
    before = query.copy(), liked.copy(), mean.copy()
    combined(query, liked, NONE, mean)
    assert all((a == b).all() for a, b in zip(before, (query, liked, mean), strict=True))
