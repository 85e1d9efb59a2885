"""kNN with settings that the training part chose for itself: neighbours and temperature by folds of whole subjects."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from raptor_search.knn import predict
from raptor_search.statistics.calibration import Calibration, calibrate
from raptor_search.statistics.gram import Gram
from raptor_search.statistics.splitting import FOLDS, fold_numbers

__all__ = ["KNN_GRID", "Chosen", "KnnClassifier", "KnnRegressor", "fit_classifier", "fit_regressor"]

COUNTS = (1, 3, 5, 10, 20, 40)
TEMPERATURES = (0.02, 0.05, 0.1, 0.2, 0.5)

KNN_GRID = tuple((k, temperature) for k in COUNTS for temperature in TEMPERATURES)
"""Numbers of neighbours and temperatures that are tried, the simplest first."""

Rows = Int[np.ndarray, " r"]


@dataclass(frozen=True)
class Chosen:
    """Settings and the loss that they had on held-out training subjects."""

    k: int
    temperature: float
    loss: float


@dataclass(frozen=True, eq=False)
class KnnClassifier:
    """A fitted classifier.

    Attributes:
        chosen: its settings.
        calibration: of its votes.
        train: rows that vote.
        codes: their classes.
        classes: how many there are.
    """

    chosen: Chosen
    calibration: Calibration
    train: Rows
    codes: Int[np.ndarray, " t"]
    classes: int

    def votes(self, gram: Gram, queries: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Each class's share of the votes, and the score of its nearest voter (-1 where it has none)."""
        scores, labels = _nearest(gram.cosines(queries, self.train), self.codes, self.chosen.k)
        ties = np.full((len(queries), self.classes), -1.0)
        rows = np.arange(len(queries))
        for place in reversed(range(scores.shape[1])):
            ties[rows, labels[:, place]] = scores[:, place]
        return predict(scores, labels, self.classes, temperature=self.chosen.temperature), ties

    def probabilities(self, gram: Gram, queries: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Calibrated probabilities, and what breaks ties among them (see `conformal`)."""
        shares, ties = self.votes(gram, queries)
        return self.calibration(shares), ties


@dataclass(frozen=True, eq=False)
class KnnRegressor:
    """A fitted regressor: the mean of the neighbours' numbers, weighted as votes are."""

    chosen: Chosen
    train: Rows
    values: Float[np.ndarray, " t"]

    def predict(self, gram: Gram, queries: Rows) -> NDArray[np.float64]:
        """The number proposed for each query, in the label's unit."""
        return _mean_of(gram.cosines(queries, self.train), self.values, self.chosen.k, self.chosen.temperature)


def fit_classifier(
    gram: Gram,
    train: Rows,
    codes: Int[np.ndarray, " n"],
    subjects: Int[np.ndarray, " n"],
    *,
    classes: int,
    fixed: tuple[int, float] | None = None,
    seed: int = 0,
) -> KnnClassifier:
    """Choose k and temperature by the Brier score of held-out training subjects, each counting once; then calibrate.

    Args:
        gram: products of all scans.
        train: rows that may be learned from.
        codes: classes of all scans.
        subjects: of all scans.
        classes: how many classes the label has.
        fixed: k and temperature, where they are not to be chosen.
        seed: of the folds.
    """
    mine, people = codes[train], subjects[train]
    weights = 1 / np.bincount(people)[people]
    truth = np.eye(classes)[mine]
    grid = KNN_GRID if fixed is None else (fixed,)
    held_out = {setting: np.zeros((len(train), classes)) for setting in grid}
    for rest, out in _inner(mine, people, seed):
        scores = gram.cosines(train[out], train[rest])
        nearest, labels = _nearest(scores, mine[rest], max(k for k, _ in grid))
        for (k, temperature), shares in held_out.items():
            shares[out] = predict(nearest[:, :k], labels[:, :k], classes, temperature=temperature)
    losses = {s: float(weights @ ((shares - truth) ** 2).sum(axis=1) / weights.sum()) for s, shares in held_out.items()}
    best = min(losses, key=losses.__getitem__)
    calibration = calibrate(held_out[best], mine, np.unique(people, return_inverse=True)[1])
    return KnnClassifier(Chosen(*best, losses[best]), calibration, train, mine, classes)


def fit_regressor(
    gram: Gram,
    train: Rows,
    values: Float[np.ndarray, " n"],
    subjects: Int[np.ndarray, " n"],
    *,
    fixed: tuple[int, float] | None = None,
    seed: int = 0,
) -> KnnRegressor:
    """As `fit_classifier`, by the squared error."""
    mine, people = values[train], subjects[train]
    weights = 1 / np.bincount(people)[people]
    grid = KNN_GRID if fixed is None else (fixed,)
    losses = dict.fromkeys(grid, 0.0)
    for rest, out in _inner(_quintiles(mine), people, seed):
        scores = gram.cosines(train[out], train[rest])
        for k, temperature in grid:
            error = _mean_of(scores, mine[rest], k, temperature) - mine[out]
            losses[k, temperature] += float(weights[out] @ error**2)
    best = min(losses, key=losses.__getitem__)
    return KnnRegressor(Chosen(*best, losses[best] / float(weights.sum())), train, mine)


def _inner(
    strata: Int[np.ndarray, " t"], people: Int[np.ndarray, " t"], seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Folds of whole subjects within the training part: who votes, who is asked."""
    count = min(FOLDS, len(np.unique(people)))
    fold = fold_numbers(strata, people, count, seed + 1)
    for number in range(count):
        if (fold != number).any():
            yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def _nearest(
    scores: Float[np.ndarray, "q t"], labels: Int[np.ndarray, " t"], k: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores and labels of the k nearest, best first; equal scores in the order of the training scans."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), labels[order]


def _mean_of(
    scores: Float[np.ndarray, "q t"], values: Float[np.ndarray, " t"], k: int, temperature: float
) -> NDArray[np.float64]:
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, order, axis=1)
    weights = np.exp((best - best[:, :1]) / temperature)
    mean: NDArray[np.float64] = (weights * values[order]).sum(axis=1) / weights.sum(axis=1)
    return mean


def _quintiles(values: Float[np.ndarray, " t"]) -> NDArray[np.int64]:
    return np.searchsorted(np.quantile(values, [0.2, 0.4, 0.6, 0.8]), values).astype(np.int64)
