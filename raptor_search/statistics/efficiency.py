"""How many labelled subjects it takes: the same test part, ever more of the training part."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from raptor_search.statistics.classification import Answers, auroc, defined_mean
from raptor_search.statistics.gram import Gram
from raptor_search.statistics.protocol import Method, run_classes
from raptor_search.statistics.splitting import Part

__all__ = ["CurvePoint", "efficiency_curve"]

SIZES = (10, 30, 100, 300, 1000, 3000)
"""Subjects to learn from: training and validation together."""

DRAWS = 5
"""Draws at each size, over the folds there are."""


@dataclass(frozen=True)
class CurvePoint:
    """AUROC after learning from so many subjects: mean, least and greatest over the draws."""

    subjects: int
    auroc: float
    low: float
    high: float


def efficiency_curve(
    gram: Gram,
    codes: Int[np.ndarray, " n"],
    subjects: Int[np.ndarray, " n"],
    parts: Sequence[Part],
    *,
    method: Method,
    classes: int,
    seed: int = 0,
) -> tuple[CurvePoint, ...]:
    """AUROC by number of subjects learned from, each size a part of the next; draws without two classes are skipped.

    Args:
        gram: products of all scans.
        codes: classes of all scans.
        subjects: of all scans.
        parts: folds; their draws are averaged.
        method: which.
        classes: how many classes the label has.
        seed: of the draws.
    """
    known = min(len(np.unique(subjects[np.concatenate([part.train, part.val])])) for part in parts)
    points = []
    for size in [*(size for size in SIZES if size < known), known]:
        draws = 1 if size == known else max(1, DRAWS // len(parts))
        values = []
        for number, part in enumerate(parts):
            for draw in range(draws):
                smaller = _drawn(part, codes, subjects, size, np.random.default_rng([seed, number, draw]))
                if len(np.unique(codes[smaller.train])) < 2:
                    continue
                run = run_classes(gram, codes, subjects, [smaller], method=method, classes=classes)
                values.append(_auroc(run.answers))
        values = [value for value in values if np.isfinite(value)]
        if values:
            points.append(CurvePoint(size, float(np.mean(values)), min(values), max(values)))
    return tuple(points)


def _auroc(answers: Answers) -> float:
    each: Float[np.ndarray, "1 c"] = auroc(answers, np.ones((1, answers.n_subjects)))
    return float(defined_mean(each)[0])


def _drawn(
    part: Part, codes: Int[np.ndarray, " n"], subjects: Int[np.ndarray, " n"], size: int, rng: np.random.Generator
) -> Part:
    """The part with `size` subjects of training and validation together, four fifths of them to train on.

    The classes take turns, so that a small draw has as many of them as it can.
    """
    rows = np.concatenate([part.train, part.val])
    people, first = np.unique(subjects[rows], return_index=True)
    shuffled = rng.permutation(len(people))
    turn = _turns(codes[rows][first[shuffled]])
    chosen = people[shuffled[np.argsort(turn, kind="stable")][:size]]
    train, val = chosen[: len(chosen) - len(chosen) // 5], chosen[len(chosen) - len(chosen) // 5 :]
    return Part(rows[np.isin(subjects[rows], train)], rows[np.isin(subjects[rows], val)], part.test)


def _turns(codes: Int[np.ndarray, " p"]) -> NDArray[np.int64]:
    """How many of its class come before each."""
    turns = np.zeros(len(codes), np.int64)
    for code in np.unique(codes):
        turns[codes == code] = np.arange(int((codes == code).sum()))
    return turns
