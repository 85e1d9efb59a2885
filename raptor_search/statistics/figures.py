"""Measured figures with their intervals and trivial baselines, and differences of two methods on the same scans."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from raptor_search.statistics.calibration_interval import calibration_interval
from raptor_search.statistics.classification import (
    Answers,
    accuracy,
    aupr,
    auroc,
    balanced_accuracy,
    brier,
    calibration_error,
    defined_mean,
)
from raptor_search.statistics.intervals import Interval, Kind, Statistic, subject_intervals
from raptor_search.statistics.protocol import ClassRun, Lists, NumberRun
from raptor_search.statistics.regression import Predictions, mean_absolute_error, r_squared
from raptor_search.statistics.retrieval import FIGURES

__all__ = [
    "CLASS_FIGURES",
    "COMPARED",
    "NUMBER_FIGURES",
    "RESAMPLES",
    "Difference",
    "Measured",
    "class_difference",
    "class_figures",
    "list_difference",
    "list_figures",
    "number_difference",
    "number_figures",
]

RESAMPLES = 1000

RANDOM_DRAWS = 20

Weights = Float[np.ndarray, "b s"]

CLASS_FIGURES: dict[str, tuple[Kind, Callable[[Answers, Weights], NDArray[np.float64]]]] = {
    "AUROC": ("auroc", lambda answers, weights: defined_mean(auroc(answers, weights))),
    "accuracy": ("rate", accuracy),
    "balanced accuracy": ("rate", balanced_accuracy),
    "AUPR": ("rate", lambda answers, weights: defined_mean(aupr(answers, weights))),
    "Brier score": ("mean", brier),
    "calibration error": ("rate", calibration_error),
}
"""Figures of probabilities; means over the classes where a figure is one class's. The last two are better low."""

COMPARED = tuple(name for name in CLASS_FIGURES if name != "calibration error")
"""Figures of which two methods' difference is given. Chance adds to every calibration error, to one more than to
another, and no interval of their difference holds it (seeded simulation: 54 to 85% do, of 95 that should); the Brier
score is compared instead."""

NUMBER_FIGURES: dict[str, Callable[[Predictions, Weights], NDArray[np.float64]]] = {
    "r2": r_squared,
    "MAE": mean_absolute_error,
}


@dataclass(frozen=True)
class Measured:
    """One figure.

    Attributes:
        name: what it is.
        value: as measured; NaN where nothing could be.
        low: lower end of its 95% interval, subjects resampled.
        high: upper end.
        majority: what the classes' frequencies in training (the mean, for a number) score; None for lists.
        random: what answers or lists at random score; None for numbers.
    """

    name: str
    value: float
    low: float
    high: float
    majority: float | None
    random: float | None


@dataclass(frozen=True)
class Difference:
    """One figure of `first` less that of `second`, on the same resampled subjects."""

    first: str
    second: str
    figure: str
    value: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the 95% interval leaves 0 out."""
        return self.low > 0 or self.high < 0


def class_figures(run: ClassRun, *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[Measured, ...]:
    """Every figure of `CLASS_FIGURES`."""
    answers = run.answers
    majority = _plain(_with(answers, run.prior))
    rng = np.random.default_rng(seed)
    shape = run.prior.shape
    random = np.mean(
        [_plain(_with(answers, rng.dirichlet(np.ones(shape[1]), shape[0]))) for _ in range(RANDOM_DRAWS)], 0
    )
    found = list(_intervals(lambda weights: _all(answers, weights), answers, resamples, seed))
    place = list(CLASS_FIGURES).index("calibration error")
    found[place] = calibration_interval(answers, found[place], resamples=resamples, seed=seed)
    return tuple(
        Measured(name, i.value, i.low, i.high, float(m), float(r))
        for name, i, m, r in zip(CLASS_FIGURES, found, majority, random, strict=True)
    )


def number_figures(run: NumberRun, *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[Measured, ...]:
    """r2 and mean absolute error."""
    own = run.predictions
    prior = Predictions(own.truth, run.prior, own.subjects)
    ones = np.ones((1, own.n_subjects))
    found = _free(
        lambda weights: np.stack([f(own, weights) for f in NUMBER_FIGURES.values()], axis=1),
        len(NUMBER_FIGURES),
        own.n_subjects,
        resamples,
        seed,
    )
    return tuple(
        Measured(name, i.value, i.low, i.high, float(figure(prior, ones)[0]), None)
        for (name, figure), i in zip(NUMBER_FIGURES.items(), found, strict=True)
    )


def list_figures(
    lists: Lists, subjects: NDArray[np.int64], *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Measured, ...]:
    """Every figure of `retrieval.FIGURES`, the mean over the queries that count.

    Args:
        lists: as `protocol.run_lists` gives them.
        subjects: of its rows.
        resamples: bootstrap draws.
        seed: of the draws.
    """
    counted = np.isfinite(lists.figures[:, 0])
    if not counted.any():
        nan = float("nan")
        return tuple(Measured(name, nan, nan, nan, None, nan) for name in FIGURES)
    sums, sizes = _by_subject(lists.figures[counted], subjects[counted])
    found = subject_intervals(
        lambda weights: _ratio(weights @ sums, weights @ sizes),
        len(sizes),
        evidence=[len(sizes)] * len(FIGURES),
        resamples=resamples,
        seed=seed,
    )
    random = lists.random[counted].mean(axis=0)
    return tuple(
        Measured(name, i.value, i.low, i.high, None, float(r))
        for name, i, r in zip(FIGURES, found, random, strict=True)
    )


def class_difference(
    first: tuple[str, ClassRun], second: tuple[str, ClassRun], *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Difference, ...]:
    """First less second, paired: both answer the same scans, and each resample draws the same subjects for both.

    Every figure of `COMPARED`.
    """
    one, other = first[1].answers, second[1].answers
    figures = [CLASS_FIGURES[name][1] for name in COMPARED]

    def statistic(weights: Weights) -> NDArray[np.float64]:
        return np.stack([figure(one, weights) - figure(other, weights) for figure in figures], axis=1)

    found = subject_intervals(
        statistic,
        one.n_subjects,
        evidence=[one.n_subjects] * len(COMPARED),
        kinds=["difference"] * len(COMPARED),
        resamples=resamples,
        seed=seed,
    )
    return _differences(first[0], second[0], COMPARED, found)


def number_difference(
    first: tuple[str, NumberRun], second: tuple[str, NumberRun], *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Difference, ...]:
    """As `class_difference`, for numbers."""
    one, other = first[1].predictions, second[1].predictions

    def statistic(weights: Weights) -> NDArray[np.float64]:
        return np.stack([f(one, weights) - f(other, weights) for f in NUMBER_FIGURES.values()], axis=1)

    found = _free(statistic, len(NUMBER_FIGURES), one.n_subjects, resamples, seed)
    return _differences(first[0], second[0], list(NUMBER_FIGURES), found)


def list_difference(
    first: tuple[str, Lists],
    second: tuple[str, Lists],
    subjects: NDArray[np.int64],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Difference, ...]:
    """As `class_difference`, for retrieval."""
    gap = first[1].figures - second[1].figures
    counted = np.isfinite(gap[:, 0])
    if not counted.any():
        return ()
    sums, sizes = _by_subject(gap[counted], subjects[counted])
    found = _free(lambda weights: _ratio(weights @ sums, weights @ sizes), len(FIGURES), len(sizes), resamples, seed)
    return _differences(first[0], second[0], FIGURES, found)


def _differences(first: str, second: str, names: Sequence[str], found: Sequence[Interval]) -> tuple[Difference, ...]:
    return tuple(Difference(first, second, n, i.value, i.low, i.high) for n, i in zip(names, found, strict=True))


def _with(answers: Answers, probabilities: Float[np.ndarray, "n c"]) -> Answers:
    return Answers(answers.codes, probabilities, answers.subjects, answers.strata)


def _all(answers: Answers, weights: Weights) -> NDArray[np.float64]:
    return np.stack([figure(answers, weights) for _, figure in CLASS_FIGURES.values()], axis=1)


def _plain(answers: Answers) -> NDArray[np.float64]:
    plain: NDArray[np.float64] = _all(answers, np.ones((1, answers.n_subjects)))[0]
    return plain


def _intervals(statistic: Statistic, answers: Answers, resamples: int, seed: int) -> tuple[Interval, ...]:
    # A mean over classes rests on no more subjects than if every class were as small as the smallest.
    classes = np.unique(answers.codes)
    smallest = min(len(np.unique(answers.subjects[answers.codes == code])) for code in classes)
    each = min(answers.n_subjects, len(classes) * smallest)
    rarer = smallest if len(classes) == 2 else min(each, answers.n_subjects // 2)
    return subject_intervals(
        statistic,
        answers.n_subjects,
        evidence=[rarer if kind == "auroc" else each for kind, _ in CLASS_FIGURES.values()],
        kinds=[kind for kind, _ in CLASS_FIGURES.values()],
        resamples=resamples,
        seed=seed,
    )


def _free(statistic: Statistic, count: int, subjects: int, resamples: int, seed: int) -> tuple[Interval, ...]:
    return subject_intervals(
        statistic, subjects, evidence=[subjects] * count, kinds=["free"] * count, resamples=resamples, seed=seed
    )


def _by_subject(
    figures: Float[np.ndarray, "q f"], subjects: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    numbers = np.unique(subjects, return_inverse=True)[1]
    sums = np.zeros((int(numbers.max()) + 1, figures.shape[1]))
    np.add.at(sums, numbers, figures)
    return sums, np.bincount(numbers).astype(np.float64)


def _ratio(sums: Float[np.ndarray, "b f"], sizes: Float[np.ndarray, " b"]) -> NDArray[np.float64]:
    """Means over what each resample counts; NaN where it counts nothing, as without the only subject there is."""
    figures: NDArray[np.float64] = np.full(sums.shape, np.nan)
    np.divide(sums, sizes[:, None], out=figures, where=sizes[:, None] > 0)
    return figures
