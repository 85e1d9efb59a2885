"""The whole evaluation of one label: retrieval, diagnosis, intervals, baselines, leaks and confounds.

Everything is measured on subjects that training has not seen, the mean that centres the scores included.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Real
from numpy.typing import NDArray

from raptor_search.statistics.classes import LabelValue, read_classes, read_numbers
from raptor_search.statistics.classification import auroc, confusion, reliability
from raptor_search.statistics.confounds import Confound, find_confounds
from raptor_search.statistics.efficiency import CurvePoint, efficiency_curve
from raptor_search.statistics.evaluation_setup import (
    check_classes,
    check_parts,
    check_subjects,
    class_notes,
    set_up,
    tested_notes,
)
from raptor_search.statistics.figures import (
    RESAMPLES,
    Difference,
    Measured,
    class_difference,
    class_figures,
    list_difference,
    list_figures,
    number_difference,
    number_figures,
)
from raptor_search.statistics.leaks import Leaks
from raptor_search.statistics.protocol import (
    METHODS,
    ClassRun,
    Lists,
    Method,
    NumberRun,
    run_classes,
    run_lists,
    run_numbers,
)
from raptor_search.statistics.retrieval import FIGURES, class_means
from raptor_search.statistics.roc import roc_points

__all__ = ["Coverage", "Evaluation", "MethodResult", "VectorResult", "evaluate_classes", "evaluate_numbers"]

ROC_POINTS = 500
"""Of a curve, at most: more cannot be seen in a drawing."""


@dataclass(frozen=True)
class Coverage:
    """Conformal sets at one level.

    Attributes:
        level: how often the truth shall be in the set.
        covered: how often it was, among test scans; NaN where too few subjects calibrate.
        size: mean number of classes in a set (for a number, the mean width of the interval).
        abstained: share of test scans whose set is empty, has several classes, or that are far from the archive.
    """

    level: float
    covered: float
    size: float
    abstained: float


@dataclass(frozen=True, eq=False)
class MethodResult:
    """What one method makes of one set of vectors; for a number the tables and curves of classes are empty."""

    vectors: str
    method: Method
    figures: tuple[Measured, ...]
    class_auroc: tuple[float, ...]
    roc: tuple[NDArray[np.float64], ...]
    confusion: NDArray[np.int64]
    reliability: tuple[tuple[int, float, float], ...]
    coverage: tuple[Coverage, ...]
    settings: tuple[str, ...]
    curve: tuple[CurvePoint, ...]

    def figure(self, name: str) -> Measured:
        """One figure by its name."""
        return next(one for one in self.figures if one.name == name)


@dataclass(frozen=True, eq=False)
class VectorResult:
    """Retrieval with one set of vectors: overall, and by class a line of `retrieval.FIGURES`."""

    vectors: str
    retrieval: tuple[Measured, ...]
    by_class: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that was measured.

    Attributes:
        label: its name.
        classes: its values; empty where it is a number.
        scans: that took part.
        subjects: that took part, those joined by duplicates counted once.
        protocol: one sentence on who trained and who was tested.
        vectors: retrieval, by set of vectors; empty where the label is a number.
        methods: diagnosis, by set of vectors and method.
        differences: paired, of every two methods on one set, and of every two sets under one method.
        leaks: near-duplicates between subjects; rows are those of what was given.
        confounds: one a column that was asked about.
        notes: what a reader must know, one sentence each.
    """

    label: str
    classes: tuple[str, ...]
    scans: int
    subjects: int
    protocol: str
    vectors: tuple[VectorResult, ...]
    methods: tuple[MethodResult, ...]
    differences: tuple[Difference, ...]
    leaks: Leaks
    confounds: tuple[Confound, ...]
    notes: tuple[str, ...]
    tested: NDArray[np.int64] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN is null."""
        found = asdict(self)
        del found["tested"]
        found["leaks"] |= {"crossing": self.leaks.crossing}
        for line, one in zip(found["confounds"], self.confounds, strict=True):
            line |= {"flagged": one.is_flagged, "verdict": one.verdict}
        for line, result in zip(found["vectors"], self.vectors, strict=True):
            line["by_class"] = {
                name: dict(zip(FIGURES, row, strict=True))
                for name, row in zip(self.classes, result.by_class.tolist(), strict=True)
            }
        return dict(_plain(found))


def evaluate_classes(
    vectors: Mapping[str, Real[np.ndarray, "n _"]],
    labels: Sequence[LabelValue],
    groups: Sequence[str | None] | None = None,
    *,
    splits: Sequence[LabelValue] | None = None,
    columns: Mapping[str, Sequence[LabelValue]] | None = None,
    name: str = "label",
    methods: Sequence[Method] = METHODS,
    is_centred: bool = True,
    with_curve: bool = True,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Evaluate a label of classes.

    Args:
        vectors: sets of embeddings by name, each one row a scan.
        labels: one value a scan; scans without one take no part.
        groups: the subject of each scan; None, as a whole or for a scan, makes it a subject of its own.
        splits: "train", "val" or "test" a scan: obeyed where given; else five folds of subjects.
        columns: what neighbours may share beside the label, by name.
        name: of the label, for messages.
        methods: that answer.
        is_centred: whether scores are centred on the training part's mean.
        with_curve: whether the data-efficiency curve is drawn, which takes longest.
        resamples: bootstrap draws.
        seed: of folds and resamples.

    Raises:
        QueryError: the label cannot be judged; the message says why.
    """
    draws = _Draws(resamples, seed)
    read = read_classes(labels, name=name)
    setup = set_up(vectors, read.codes >= 0, groups, splits, name, is_centred)
    codes = read.codes[setup.rows]
    division = setup.divide(codes, seed)
    parts, subjects = division.parts, division.subjects
    check_subjects(parts, subjects, name)
    check_classes(codes, subjects, read.names, name)
    check_parts(parts, codes, read.names, name)
    lists = {key: run_lists(gram, codes, parts) for key, gram in setup.grams.items()}
    runs = {
        (key, method): run_classes(gram, codes, subjects, parts, method=method, classes=len(read.names))
        for key, gram in setup.grams.items()
        for method in methods
    }
    results = tuple(
        _class_result(
            key,
            method,
            run,
            efficiency_curve(
                setup.grams[key], codes, subjects, parts, method=method, classes=len(read.names), seed=seed
            )
            if with_curve
            else (),
            draws,
        )
        for (key, method), run in runs.items()
    )
    return Evaluation(
        label=name,
        classes=read.names,
        scans=len(setup.rows),
        subjects=len(np.unique(subjects)),
        protocol=division.sentence,
        vectors=tuple(_vector_result(key, found, subjects, read.names, draws) for key, found in lists.items()),
        methods=results,
        differences=_class_differences(runs, lists, subjects, draws),
        leaks=setup.leaks,
        confounds=find_confounds(
            setup.nearest.indices,
            codes,
            {key: [values[row] for row in setup.rows.tolist()] for key, values in (columns or {}).items()},
            subjects,
            seed=seed,
        ),
        notes=(*setup.notes, *division.notes, *class_notes(codes, subjects, parts, read.names)),
        tested=setup.rows[np.concatenate([part.test for part in parts])],
    )


def evaluate_numbers(
    vectors: Mapping[str, Real[np.ndarray, "n _"]],
    labels: Sequence[LabelValue],
    groups: Sequence[str | None] | None = None,
    *,
    splits: Sequence[LabelValue] | None = None,
    name: str = "label",
    methods: Sequence[Method] = METHODS,
    is_centred: bool = True,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Evaluate a label that is a number: r2 and mean absolute error. Arguments as for `evaluate_classes`.

    Raises:
        QueryError: the label cannot be judged; the message says why.
    """
    draws = _Draws(resamples, seed)
    numbers = read_numbers(labels, name=name)
    setup = set_up(vectors, np.isfinite(numbers), groups, splits, name, is_centred)
    values = numbers[setup.rows]
    quintiles = np.searchsorted(np.quantile(values, [0.2, 0.4, 0.6, 0.8]), values).astype(np.int64)
    division = setup.divide(quintiles, seed)
    parts, subjects = division.parts, division.subjects
    check_subjects(parts, subjects, name)
    runs = {
        (key, method): run_numbers(gram, values, subjects, parts, method=method)
        for key, gram in setup.grams.items()
        for method in methods
    }
    return Evaluation(
        label=name,
        classes=(),
        scans=len(setup.rows),
        subjects=len(np.unique(subjects)),
        protocol=division.sentence,
        vectors=(),
        methods=tuple(_number_result(key, method, run, draws) for (key, method), run in runs.items()),
        differences=tuple(
            one
            for first, second in _pairs(list(runs))
            for one in number_difference(
                (_title(first), runs[first]), (_title(second), runs[second]), **draws._asdict()
            )
        ),
        leaks=setup.leaks,
        confounds=(),
        notes=(*setup.notes, *division.notes, *tested_notes(subjects, parts)),
        tested=setup.rows[np.concatenate([part.test for part in parts])],
    )


class _Draws(NamedTuple):
    """Bootstrap draws and their seed."""

    resamples: int
    seed: int


def _class_result(
    key: str, method: Method, run: ClassRun, curve: tuple[CurvePoint, ...], draws: _Draws
) -> MethodResult:
    answers = run.answers
    return MethodResult(
        vectors=key,
        method=method,
        figures=class_figures(run, **draws._asdict()),
        class_auroc=tuple(auroc(answers, np.ones((1, answers.n_subjects)))[0].tolist()),
        roc=tuple(_thinned(roc_points(answers, code)) for code in range(answers.probabilities.shape[1])),
        confusion=confusion(answers),
        reliability=tuple(reliability(answers)),
        coverage=tuple(_coverage(level, some, run) for level, some in run.sets.items()),
        settings=run.settings,
        curve=curve,
    )


def _thinned(points: NDArray[np.float64]) -> NDArray[np.float64]:
    step = max(1, math.ceil((len(points) - 1) / (ROC_POINTS - 1)))
    return np.concatenate([points[:-1:step], points[-1:]])


def _coverage(level: float, sets: NDArray[np.bool_] | None, run: ClassRun) -> Coverage:
    if sets is None:
        return Coverage(level, math.nan, math.nan, math.nan)
    size = sets.sum(axis=1)
    covered = sets[np.arange(len(sets)), run.answers.codes]
    return Coverage(level, float(covered.mean()), float(size.mean()), float(((size != 1) | run.is_far).mean()))


def _number_result(key: str, method: Method, run: NumberRun, draws: _Draws) -> MethodResult:
    error = np.abs(run.predictions.truth - run.predictions.predicted)
    return MethodResult(
        vectors=key,
        method=method,
        figures=number_figures(run, **draws._asdict()),
        class_auroc=(),
        roc=(),
        confusion=np.zeros((0, 0), np.int64),
        reliability=(),
        coverage=tuple(
            Coverage(level, float((error <= half).mean()), 2 * float(half.mean()), 0.0)
            if np.isfinite(half).all()
            else Coverage(level, math.nan, math.nan, math.nan)
            for level, half in run.half_widths.items()
        ),
        settings=run.settings,
        curve=(),
    )


def _vector_result(
    key: str, lists: Lists, subjects: Int[np.ndarray, " n"], names: Sequence[str], draws: _Draws
) -> VectorResult:
    return VectorResult(
        key,
        list_figures(lists, subjects[lists.rows], **draws._asdict()),
        class_means(lists.figures, lists.codes, names),
    )


def _class_differences(
    runs: Mapping[tuple[str, Method], ClassRun],
    lists: Mapping[str, Lists],
    subjects: Int[np.ndarray, " n"],
    draws: _Draws,
) -> tuple[Difference, ...]:
    found: list[Difference] = []
    for first, second in _pairs(list(runs)):
        found += class_difference((_title(first), runs[first]), (_title(second), runs[second]), **draws._asdict())
    for one, other in combinations(lists, 2):
        rows = lists[one].rows
        found += list_difference((one, lists[one]), (other, lists[other]), subjects[rows], **draws._asdict())
    return tuple(found)


def _pairs(runs: Sequence[tuple[str, Method]]) -> list[tuple[tuple[str, Method], tuple[str, Method]]]:
    """Two methods on one set of vectors, or two sets under one method."""
    return [(a, b) for a, b in combinations(runs, 2) if (a[0] == b[0]) != (a[1] == b[1])]


def _title(run: tuple[str, Method]) -> str:
    return f"{run[0]}, {run[1]}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
