import numpy as np
import pytest
from sklearn import metrics

from raptor_search.statistics.regression import Predictions, mean_absolute_error, r_squared


def draw(seed, n=50, subjects=12):
    rng = np.random.default_rng(seed)
    truth = rng.normal(70, 10, n)
    owner = np.concatenate([np.arange(subjects), rng.integers(0, subjects, n - subjects)])
    return Predictions(truth, truth + rng.normal(0, 6, n), owner)


@pytest.mark.parametrize("seed", range(5))
def test_figures_equal_scikit_learns(seed):
    given = draw(seed)
    ones = np.ones((1, given.n_subjects))
    assert r_squared(given, ones)[0] == pytest.approx(metrics.r2_score(given.truth, given.predicted))
    assert mean_absolute_error(given, ones)[0] == pytest.approx(
        metrics.mean_absolute_error(given.truth, given.predicted)
    )


@pytest.mark.parametrize("figure", [r_squared, mean_absolute_error])
def test_a_subject_that_counts_twice_is_a_subject_there_twice(figure):
    given = draw(9)
    line = np.random.default_rng(1).integers(0, 3, given.n_subjects)
    rows = np.repeat(np.arange(len(given.truth)), line[given.subjects])
    again = Predictions(given.truth[rows], given.predicted[rows], given.subjects[rows])
    np.testing.assert_allclose(
        figure(given, line[None].astype(float)), figure(again, np.ones((1, given.n_subjects))), rtol=1e-9
    )


def test_numbers_without_spread_have_no_r_squared():
    flat = Predictions(np.full(4, 3.0), np.arange(4.0), np.arange(4))
    assert np.isnan(r_squared(flat, np.ones((1, 4)))[0])
