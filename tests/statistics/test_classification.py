import numpy as np
import pytest
from sklearn import metrics

from raptor_search.statistics.classification import (
    Answers,
    accuracy,
    aupr,
    auroc,
    balanced_accuracy,
    brier,
    calibration_error,
    confusion,
    defined_mean,
    reliability,
)


def draw(seed, n=80, classes=3, subjects=25, decimals=2):
    """Rounded probabilities, so that there are ties; every class and subject is there."""
    rng = np.random.default_rng(seed)
    codes = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    raised = np.round(rng.dirichlet(np.ones(classes), n) + 0.5 * np.eye(classes)[codes], decimals)
    probabilities = raised / raised.sum(axis=1, keepdims=True)
    owner = rng.permutation(np.concatenate([np.arange(subjects), rng.integers(0, subjects, n - subjects)]))
    return Answers(codes, np.round(probabilities, 6), owner)


def once(answers):
    return np.ones((1, answers.n_subjects))


@pytest.mark.parametrize("seed", range(8))
def test_figures_equal_scikit_learns(seed):
    answers = draw(seed, classes=2 + seed % 4)
    codes, given = answers.codes, answers.probabilities
    truth = np.eye(given.shape[1])[codes]
    ones = once(answers)
    np.testing.assert_allclose(
        auroc(answers, ones)[0], [metrics.roc_auc_score(truth[:, c], given[:, c]) for c in range(given.shape[1])]
    )
    np.testing.assert_allclose(
        aupr(answers, ones)[0],
        [metrics.average_precision_score(truth[:, c], given[:, c]) for c in range(given.shape[1])],
    )
    assert accuracy(answers, ones)[0] == pytest.approx(metrics.accuracy_score(codes, given.argmax(axis=1)))
    assert balanced_accuracy(answers, ones)[0] == pytest.approx(
        metrics.balanced_accuracy_score(codes, given.argmax(axis=1))
    )
    halved = ((given - truth) ** 2).sum(axis=1).mean() / 2
    assert brier(answers, ones)[0] == pytest.approx(halved)
    assert (confusion(answers) == metrics.confusion_matrix(codes, given.argmax(axis=1))).all()


def test_the_brier_score_of_two_classes_is_the_usual_one():
    answers = draw(3, classes=2)
    usual = metrics.brier_score_loss(answers.codes, answers.probabilities[:, 1])
    assert brier(answers, once(answers))[0] == pytest.approx(usual)


@pytest.mark.parametrize("seed", range(4))
def test_the_calibration_error_equals_a_loop_over_bins(seed):
    answers = draw(seed)
    confidence = answers.probabilities.max(axis=1)
    right = answers.probabilities.argmax(axis=1) == answers.codes
    total = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            total += inside.sum() * abs(confidence[inside].mean() - right[inside].mean())
    assert calibration_error(answers, once(answers))[0] == pytest.approx(total / len(right))
    assert sum(count for count, _, _ in reliability(answers)) == len(right)


@pytest.mark.parametrize("figure", [auroc, aupr, accuracy, balanced_accuracy, brier, calibration_error])
def test_a_subject_that_counts_twice_is_a_subject_there_twice(figure):
    answers = draw(1)
    weights = np.random.default_rng(0).integers(1, 4, (5, answers.n_subjects))
    for line in weights:
        rows = np.repeat(np.arange(len(answers.codes)), line[answers.subjects])
        again = Answers(answers.codes[rows], answers.probabilities[rows], answers.subjects[rows])
        np.testing.assert_allclose(figure(answers, line[None].astype(float)), figure(again, once(again)))


def test_scans_of_two_models_are_not_ranked_against_each_other():
    # The second model's scale is another: within each all pairs are right, between them half are wrong.
    codes = np.array([0, 1, 0, 1])
    positive = np.array([0.1, 0.2, 0.8, 0.9])
    given = np.stack([1 - positive, positive], axis=1)
    apart = Answers(codes, given, np.arange(4), np.array([0, 0, 1, 1]))
    pooled = Answers(codes, given, np.arange(4))
    assert auroc(apart, once(apart))[0, 1] == 1
    assert aupr(apart, once(apart))[0, 1] == 1
    assert auroc(pooled, once(pooled))[0, 1] == 0.75


def test_what_a_resample_leaves_undefined_is_nan_and_not_zero():
    answers = draw(2, classes=2)
    alone = (np.bincount(answers.subjects, weights=answers.codes == 0) == 0).astype(float)[None]
    assert np.isnan(auroc(answers, alone)).all()
    assert balanced_accuracy(answers, alone)[0] == pytest.approx(accuracy(answers, alone)[0])
    assert np.isnan(accuracy(answers, np.zeros_like(alone))).all()


def test_the_mean_over_classes_passes_over_undefined_ones():
    assert defined_mean(np.array([[0.5, np.nan, 1.0], [np.nan] * 3])).tolist() == pytest.approx(
        [0.75, np.nan], nan_ok=True
    )
