"""The paper's classifier, L2-penalised logistic regression, and its counterpart for numbers, ridge regression."""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from raptor_search.statistics.classification import Answers, auroc, defined_mean
from raptor_search.statistics.gram import Features, Gram

__all__ = ["PENALTIES", "LinearAnswers", "logistic", "ridge"]

PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)
"""The paper's grid: inverse strengths of the penalty. Vectors have a mean squared length of 1 after centring, where
the grid runs from answering by the classes' frequencies to separating a thousand scans."""

MAX_STEPS = 2000


@dataclass(frozen=True, eq=False)
class LinearAnswers:
    """What a linear model answers.

    Attributes:
        penalty: the inverse strength that was best on the validation part.
        val: answers for the validation part: probabilities, or numbers.
        test: answers for the test part.
    """

    penalty: float
    val: Float[np.ndarray, "v ..."]
    test: Float[np.ndarray, "e ..."]


def logistic(
    gram: Gram,
    train: Int[np.ndarray, " t"],
    val: Int[np.ndarray, " v"],
    test: Int[np.ndarray, " e"],
    codes: Int[np.ndarray, " n"],
    *,
    classes: int,
) -> LinearAnswers:
    """Probabilities by logistic regression on the training part, its penalty chosen by AUROC on the validation part.

    Without validation scans of two classes the penalty is 1. Equal AUROCs go to the stronger penalty.
    """
    features = gram.features(train, np.concatenate([val, test]))
    best: tuple[float, float, NDArray[np.float64]] | None = None
    can_choose = len(np.unique(codes[val])) > 1
    for penalty in PENALTIES if can_choose else (1.0,):
        probabilities = _fitted(features, codes[train], penalty, classes)
        score = 0.0
        if can_choose:
            answers = Answers(codes[val], probabilities[: len(val)], np.arange(len(val)))
            score = float(defined_mean(auroc(answers, np.ones((1, len(val)))))[0])
        if best is None or score > best[0]:
            best = score, penalty, probabilities
    assert best is not None
    return LinearAnswers(best[1], best[2][: len(val)], best[2][len(val) :])


def ridge(
    gram: Gram,
    train: Int[np.ndarray, " t"],
    val: Int[np.ndarray, " v"],
    test: Int[np.ndarray, " e"],
    values: Float[np.ndarray, " n"],
) -> LinearAnswers:
    """Numbers by ridge regression, its penalty chosen by squared error on the validation part (1 without one)."""
    features = gram.features(train, np.concatenate([val, test]))
    mean = values[train].mean()
    # The axes are orthogonal: each coefficient is had by itself, for every penalty at once.
    variances = (features.train**2).sum(axis=0)
    along = features.train.T @ (values[train] - mean)
    tries = []
    for penalty in PENALTIES if len(val) else (1.0,):
        predicted = features.queries @ (along / (variances + 1 / penalty)) + mean
        error = float(((predicted[: len(val)] - values[val]) ** 2).sum())
        tries.append((error, penalty, predicted))
    _, penalty, predicted = min(tries, key=lambda one: one[:2])
    return LinearAnswers(penalty, predicted[: len(val)], predicted[len(val) :])


def _fitted(features: Features, codes: Int[np.ndarray, " t"], penalty: float, classes: int) -> NDArray[np.float64]:
    """Probabilities of the queries; a class without training scans gets none."""
    present = np.unique(codes)
    probabilities = np.zeros((len(features.queries), classes))
    if len(present) == 1:
        probabilities[:, present[0]] = 1.0
        return probabilities
    if not features.train.shape[1]:  # all training scans are the same: the model is its intercept
        probabilities[:, present] = np.bincount(codes)[present] / len(codes)
        return probabilities
    with warnings.catch_warnings():
        # The steps are far beyond what the answers can be told apart at.
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        model = LogisticRegression(C=penalty, max_iter=MAX_STEPS).fit(features.train, codes)
    probabilities[:, present] = model.predict_proba(features.queries)
    return probabilities
