import numpy as np
import pytest

from raptor_search.statistics.calibration_interval import calibration_interval
from raptor_search.statistics.classification import Answers, calibration_error
from raptor_search.statistics.intervals import Interval

UNSURE = Interval(0.0, 0.0, 0.1)
"""What stands where no gap varies."""


def answers_that_are(too_sure, rng, subjects=150):
    """Answers of two scans a subject, right less often than they say by `too_sure`."""
    confidence = rng.uniform(0.6, 1, 2 * subjects)
    right = rng.random(2 * subjects) < confidence - too_sure
    return Answers((~right).astype(int), np.stack([confidence, 1 - confidence], axis=1), np.arange(2 * subjects) // 2)


def interval_of(answers):
    value = float(calibration_error(answers, np.ones((1, answers.n_subjects)))[0])
    return calibration_interval(answers, Interval(value, np.nan, np.nan), resamples=200, seed=0)


@pytest.mark.parametrize(("too_sure", "most"), [(0.0, 0.98), (0.05, 1.0), (0.2, 0.98)])
def test_the_interval_holds_the_true_error_though_chance_adds_to_what_is_measured(too_sure, most):
    draws = 400
    found = [interval_of(answers_that_are(too_sure, np.random.default_rng(draw))) for draw in range(draws)]
    assert 0.92 <= np.mean([one.low <= too_sure <= one.high for one in found]) <= most
    assert all(0 <= one.low <= one.value <= one.high <= 1 for one in found)


def test_the_lower_end_is_0_where_chance_alone_would_show_as_much():
    found = [interval_of(answers_that_are(0.0, np.random.default_rng(draw))) for draw in range(50)]
    assert min(one.value for one in found) > 0
    assert np.mean([one.low == 0 for one in found]) >= 0.9
    assert interval_of(answers_that_are(0.2, np.random.default_rng(0))).low > 0.1


def test_where_all_is_right_and_sure_what_was_given_stands():
    sure = Answers(np.zeros(8, int), np.tile([1.0, 0.0], (8, 1)), np.arange(8))
    assert calibration_interval(sure, UNSURE, resamples=50, seed=0) == UNSURE


def test_scans_of_one_subject_are_no_independent_evidence():
    rng = np.random.default_rng(3)
    once = answers_that_are(0.2, rng)
    scans = np.repeat(np.arange(len(once.codes)), 20)
    many = Answers(once.codes[scans], once.probabilities[scans], once.subjects[scans])
    one, other = interval_of(once), interval_of(many)
    assert (one.low, one.high) == pytest.approx((other.low, other.high))
