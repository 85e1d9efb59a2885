import numpy as np
import pytest
from sklearn import metrics

from raptor_search.statistics.classification import Answers, auroc
from raptor_search.statistics.roc import roc_points


def draw(seed, n=120, classes=3, strata=1, decimals=2):
    """Rounded probabilities, so that there are ties; every class is in every stratum."""
    rng = np.random.default_rng(seed)
    stratum = np.arange(n) % strata
    codes = (np.arange(n) // strata) % classes
    raised = np.round(rng.dirichlet(np.ones(classes), n) + 0.4 * np.eye(classes)[codes], decimals)
    return Answers(codes, raised / raised.sum(axis=1, keepdims=True), np.arange(n), stratum)


@pytest.mark.parametrize("seed", range(4))
def test_the_curve_of_one_model_is_scikit_learns(seed):
    answers = draw(seed)
    for code in range(3):
        false, true, _ = metrics.roc_curve(answers.codes == code, answers.probabilities[:, code].round(9))
        found = roc_points(answers, code)
        np.testing.assert_allclose(found[[0, -1]], [[0, 0], [1, 1]])
        # Scikit-learn keeps points on straight lines: each of them lies on the curve.
        for x, y in zip(false, true, strict=True):
            at = found[found[:, 0] == x, 1]
            low, high = (at.min(), at.max()) if len(at) else (np.interp(x, *found.T),) * 2
            assert low - 1e-9 <= y <= high + 1e-9


@pytest.mark.parametrize("strata", [1, 2, 5])
@pytest.mark.parametrize("classes", [2, 4])
def test_the_area_is_the_auroc_whoever_answered(strata, classes):
    answers = draw(strata, n=200, classes=classes, strata=strata)
    areas = [np.trapezoid(points[:, 1], points[:, 0]) for points in (roc_points(answers, c) for c in range(classes))]
    np.testing.assert_allclose(areas, auroc(answers, np.ones((1, 200)))[0], atol=1e-9)


def test_by_hand():
    given = np.array([0.9, 0.8, 0.8, 0.1])
    answers = Answers(np.array([1, 1, 0, 0]), np.stack([1 - given, given], axis=1), np.arange(4))
    assert roc_points(answers, 1).tolist() == [[0, 0], [0, 0.5], [0.5, 1], [1, 1]]


def test_a_class_that_nobody_or_everybody_has_leaves_no_curve():
    one = Answers(np.array([0, 0]), np.array([[0.6, 0.4], [0.5, 0.5]]), np.arange(2))
    assert roc_points(one, 0).shape == roc_points(one, 1).shape == (0, 2)
