"""One method on one set of vectors: train, choose on validation, answer the test part; everything pooled over folds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from raptor_search.statistics.classification import Answers
from raptor_search.statistics.conformal import LEVELS, conformal_quantile, conformal_sets
from raptor_search.statistics.gram import Gram
from raptor_search.statistics.knn_model import fit_classifier, fit_regressor
from raptor_search.statistics.linear_model import logistic, ridge
from raptor_search.statistics.regression import Predictions
from raptor_search.statistics.retrieval import FIGURES, random_lists, ranked_relevance, retrieval_figures
from raptor_search.statistics.splitting import Part

__all__ = ["METHODS", "ClassRun", "Lists", "Method", "NumberRun", "run_classes", "run_lists", "run_numbers"]

Method = Literal["knn", "logistic"]

METHODS: tuple[Method, ...] = ("knn", "logistic")
"""Nearest neighbours, and the paper's logistic regression (ridge regression where the label is a number)."""

FAR_LEVEL = 0.02
"""A scan is far from the archive where at most this share of validation scans is as far from its nearest."""


@dataclass(frozen=True, eq=False)
class ClassRun:
    """Answers for every test scan.

    Attributes:
        rows: the test scans, fold after fold.
        answers: probabilities for them; `answers.subjects` are numbered anew among them.
        prior: each class's share of the training subjects of the scan's fold: the majority baseline.
        settings: what each fold chose, one line each.
        sets: by coverage, whether each class is in the scan's set; None where too few subjects calibrate.
        is_far: scans as far from the training part as 2% of validation scans are; kNN only.
    """

    rows: Int[np.ndarray, " e"]
    answers: Answers
    prior: Float[np.ndarray, "e c"]
    settings: tuple[str, ...]
    sets: dict[float, Bool[np.ndarray, "e c"] | None]
    is_far: Bool[np.ndarray, " e"]


@dataclass(frozen=True, eq=False)
class NumberRun:
    """Predicted numbers for every test scan; `half_widths` are those of conformal intervals, by coverage."""

    rows: Int[np.ndarray, " e"]
    predictions: Predictions
    prior: Float[np.ndarray, " e"]
    settings: tuple[str, ...]
    half_widths: dict[float, Float[np.ndarray, " e"]]


@dataclass(frozen=True, eq=False)
class Lists:
    """Retrieval figures of every test scan against its fold's training part, and what random lists score."""

    rows: Int[np.ndarray, " e"]
    figures: Float[np.ndarray, "e f"]
    random: Float[np.ndarray, "e f"]
    codes: Int[np.ndarray, " e"]


def run_classes(
    gram: Gram,
    codes: Int[np.ndarray, " n"],
    subjects: Int[np.ndarray, " n"],
    parts: Sequence[Part],
    *,
    method: Method,
    classes: int,
    fixed: tuple[int, float] | None = None,
) -> ClassRun:
    """Train, choose and answer, fold by fold.

    kNN chooses k and temperature within the training part and calibrates there; logistic regression chooses its
    penalty on the validation part. Conformal sets are calibrated on the validation part: for kNN it has chosen
    nothing, for logistic regression one penalty of five, which costs exchangeability little.

    Args:
        gram: products of all scans.
        codes: classes of all scans.
        subjects: of all scans.
        parts: one for each fold.
        method: which.
        classes: how many classes the label has.
        fixed: k and temperature of kNN where they are not to be chosen.
    """
    run: list[_Fold] = []
    for part in parts:
        if method == "knn":
            model = fit_classifier(gram, part.train, codes, subjects, classes=classes, fixed=fixed)
            val, val_ties = model.probabilities(gram, part.val)
            test, ties = model.probabilities(gram, part.test)
            setting = f"k = {model.chosen.k}, temperature {model.chosen.temperature:g}"
            is_far = _far(val_ties.max(axis=1, initial=-1), ties.max(axis=1, initial=-1))
        else:
            linear = logistic(gram, part.train, part.val, part.test, codes, classes=classes)
            val, test, val_ties, ties = linear.val, linear.test, None, None
            setting, is_far = f"penalty {linear.penalty:g}", np.zeros(len(part.test), bool)
        sets: dict[float, NDArray[np.bool_] | None] = {}
        for level in LEVELS:
            fitted = conformal_sets(val, codes[part.val], subjects[part.val], coverage=level, ties=val_ties)
            sets[level] = fitted.sets(test, ties) if fitted.is_informative else None
        run.append(_Fold(test, _prior(codes, subjects, part.train, classes), setting, sets, is_far))
    rows = np.concatenate([part.test for part in parts])
    strata = np.repeat(np.arange(len(parts)), [len(part.test) for part in parts])
    return ClassRun(
        rows=rows,
        answers=Answers(codes[rows], np.concatenate([f.probabilities for f in run]), _anew(subjects[rows]), strata),
        prior=np.concatenate([np.tile(f.prior, (len(f.probabilities), 1)) for f in run]),
        settings=tuple(f.setting for f in run),
        sets={level: _stacked([f.sets[level] for f in run]) for level in LEVELS},
        is_far=np.concatenate([f.is_far for f in run]),
    )


def run_numbers(
    gram: Gram,
    values: Float[np.ndarray, " n"],
    subjects: Int[np.ndarray, " n"],
    parts: Sequence[Part],
    *,
    method: Method,
) -> NumberRun:
    """As `run_classes`, for a label that is a number."""
    predicted, settings, priors = [], [], []
    widths: dict[float, list[NDArray[np.float64]]] = {level: [] for level in LEVELS}
    for part in parts:
        if method == "knn":
            model = fit_regressor(gram, part.train, values, subjects)
            val, test = model.predict(gram, part.val), model.predict(gram, part.test)
            settings.append(f"k = {model.chosen.k}, temperature {model.chosen.temperature:g}")
        else:
            linear = ridge(gram, part.train, part.val, part.test, values)
            val, test = linear.val, linear.test
            settings.append(f"penalty {linear.penalty:g}")
        predicted.append(test)
        priors.append(np.full(len(test), values[part.train].mean()))
        for level, found in widths.items():
            width = conformal_quantile(np.abs(val - values[part.val]), subjects[part.val], level)
            found.append(np.full(len(test), width))
    rows = np.concatenate([part.test for part in parts])
    return NumberRun(
        rows=rows,
        predictions=Predictions(values[rows], np.concatenate(predicted), _anew(subjects[rows])),
        prior=np.concatenate(priors),
        settings=tuple(settings),
        half_widths={level: np.concatenate(found) for level, found in widths.items()},
    )


def run_lists(gram: Gram, codes: Int[np.ndarray, " n"], parts: Sequence[Part]) -> Lists:
    """Rank each fold's training scans for each of its test scans; the mean that centres is the training part's."""
    figures, random = [np.empty((0, len(FIGURES)))], [np.empty((0, len(FIGURES)))]
    for number, part in enumerate(parts):
        relevant, lengths = ranked_relevance(gram.cosines(part.test, part.train), codes[part.test], codes[part.train])
        figures.append(retrieval_figures(relevant))
        random.append(random_lists(relevant, lengths, seed=number))
    rows = np.concatenate([part.test for part in parts])
    return Lists(rows, np.concatenate(figures), np.concatenate(random), codes[rows])


@dataclass(frozen=True, eq=False)
class _Fold:
    probabilities: Float[np.ndarray, "e c"]
    prior: Float[np.ndarray, " c"]
    setting: str
    sets: dict[float, NDArray[np.bool_] | None]
    is_far: Bool[np.ndarray, " e"]


def _prior(
    codes: Int[np.ndarray, " n"], subjects: Int[np.ndarray, " n"], train: Int[np.ndarray, " t"], classes: int
) -> NDArray[np.float64]:
    people = np.unique(subjects[train], return_inverse=True)[1]
    counts = np.bincount(codes[train], weights=1 / np.bincount(people)[people], minlength=classes)
    share: NDArray[np.float64] = counts / counts.sum()
    return share


def _far(val: Float[np.ndarray, " v"], test: Float[np.ndarray, " e"]) -> NDArray[np.bool_]:
    """A conformal test of whether a scan belongs: its nearest score against those of the validation scans."""
    as_far = np.searchsorted(np.sort(val), test, side="right")
    return np.asarray((as_far + 1) / (len(val) + 1) <= FAR_LEVEL)


def _stacked(sets: Sequence[NDArray[np.bool_] | None]) -> NDArray[np.bool_] | None:
    there = [one for one in sets if one is not None]
    return np.concatenate(there) if len(there) == len(sets) else None


def _anew(subjects: Int[np.ndarray, " e"]) -> NDArray[np.int64]:
    return np.unique(subjects, return_inverse=True)[1].astype(np.int64)
