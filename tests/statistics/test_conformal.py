import numpy as np
import pytest

from raptor_search.statistics.conformal import LEVELS, conformal_quantile, conformal_sets


def draw(rng, subjects, decimals=None):
    """1 to 6 scans a subject, whose probabilities share the subject's own luck; a subject's class is one."""
    owner = np.repeat(np.arange(subjects), rng.integers(1, 7, subjects))
    codes = rng.integers(0, 3, subjects)[owner]
    logits = 1.5 * np.eye(3)[codes] + rng.normal(size=(subjects, 3))[owner] + 0.5 * rng.normal(size=(len(owner), 3))
    raised = np.exp(logits)
    given = raised / raised.sum(axis=1, keepdims=True)
    return (given if decimals is None else np.round(given, decimals)), codes, owner


@pytest.mark.parametrize("coverage", LEVELS)
def test_sets_hold_the_truth_of_new_subjects_as_often_as_they_say(coverage):
    rng, rates = np.random.default_rng(0), []
    for _ in range(150):
        given, codes, owner = draw(rng, 150)
        fitted = conformal_sets(given, codes, owner, coverage=coverage)
        new, truth, whose = draw(rng, 150)
        inside = fitted.sets(new)[np.arange(len(truth)), truth]
        weights = 1 / np.bincount(whose)[whose]
        rates.append(weights @ inside / weights.sum())
    assert abs(np.mean(rates) - coverage) < 0.02


def test_equal_probabilities_cover_too_much_unless_ties_are_broken():
    rng, plain, broken = np.random.default_rng(1), [], []
    for _ in range(100):
        given, codes, owner = draw(rng, 150, decimals=0)
        new, truth, _ = draw(rng, 150, decimals=0)
        ties, new_ties = rng.uniform(-1, 1, given.shape), rng.uniform(-1, 1, new.shape)
        rows = np.arange(len(truth))
        plain.append(conformal_sets(given, codes, owner, coverage=0.8).sets(new)[rows, truth].mean())
        fitted = conformal_sets(given, codes, owner, coverage=0.8, ties=ties)
        broken.append(fitted.sets(new, new_ties)[rows, truth].mean())
    assert abs(np.mean(broken) - 0.8) < 0.02
    assert np.mean(plain) > np.mean(broken) + 0.02


def test_a_quantile_by_hand():
    scores = np.array([0.1, 0.2, 0.3, 0.4])
    # Five subjects with the new one: four fifths of them lie at or below the fourth.
    assert conformal_quantile(scores, np.arange(4), 0.8) == 0.4
    assert conformal_quantile(scores, np.arange(4), 0.6) == 0.3
    assert conformal_quantile(scores, np.arange(4), 0.81) == np.inf


def test_a_subject_of_many_scans_has_one_vote():
    scores = np.array([0.1, 0.2, 0.3, *[0.9] * 50])
    owner = np.array([0, 1, 2, *[3] * 50])
    assert conformal_quantile(scores, owner, 0.6) == 0.3


def test_too_few_subjects_give_sets_of_every_class_and_say_so():
    given, codes, owner = draw(np.random.default_rng(2), 10)
    fitted = conformal_sets(given, codes, owner, coverage=0.95)
    assert not fitted.is_informative
    assert fitted.sets(given).all()
    assert fitted.subjects == 10
    assert conformal_quantile(np.zeros(0), np.zeros(0, int), 0.9) == np.inf


def test_an_ambiguous_scan_gets_several_classes_and_an_odd_one_none():
    given, codes, owner = draw(np.random.default_rng(3), 300)
    strict = conformal_sets(given, codes, owner, coverage=0.6)
    assert strict.sets(np.array([[0.34, 0.33, 0.33]])).sum() == 0
    wide = conformal_sets(given, codes, owner, coverage=0.95)
    assert wide.sets(np.array([[0.5, 0.49, 0.01]])).sum() == 2


@pytest.mark.parametrize("coverage", [0, 1, -0.1])
def test_a_coverage_that_is_none_is_refused(coverage):
    with pytest.raises(ValueError, match="expected between 0 and 1"):
        conformal_quantile(np.zeros(3), np.arange(3), coverage)
