"""How often the 95% intervals of an evaluation hold the truth: a seeded simulation.

    python benchmarks/interval_coverage.py [--quick] [--draws N] [--subjects N] [--settings NAME ...] [--keep DIR]

Subjects are drawn with 1 to 3 scans each, whose scores share a part that is the subject's own. The truth is the
figure of 200,000 such subjects. With 300 subjects and 1,000 draws every figure is to lie within 95% +- 2%; the
simulation's own error is 0.7%. The intervals of AUROC, Brier score and calibration error were chosen by simulations of
other signals (0.2 to 4, two to four classes) with other seeds.

    figures     of three classes, at a weak, a fair and a strong signal
    AUROC       of two classes up to 0.995, where plain bootstrap intervals hold too little
    mAP, P@1    of lists of 60 scans that belong to no subject
    r2, MAE     of a number
    difference  of two methods on the same scans, paired: classes, lists, a number
    patients    of sets: how often split-conformal sets hold the truth for new subjects, at 80, 90 and 95%
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raptor_search.statistics.classification import Answers
from raptor_search.statistics.conformal import LEVELS, conformal_sets
from raptor_search.statistics.figures import (
    CLASS_FIGURES,
    COMPARED,
    NUMBER_FIGURES,
    Difference,
    class_difference,
    class_figures,
    list_difference,
    list_figures,
    number_difference,
    number_figures,
)
from raptor_search.statistics.protocol import ClassRun, Lists, NumberRun
from raptor_search.statistics.regression import Predictions
from raptor_search.statistics.retrieval import FIGURES, retrieval_figures

TRUTH_SUBJECTS = 200_000
RESAMPLES = 1000
CLASS_RESAMPLES = 100
"""Of probabilities: their intervals need the bootstrap's spread alone, not its tails."""

TOLERANCE = 0.02

QUICK_DRAWS = 100

KEPT_EVERY = 20
"""Draws after which the counts are written down."""

SHOWN_LISTS = ("mAP", "P@1", "nDCG@10", "MRR", "recall@10")


@dataclass(frozen=True)
class Line:
    """How often the intervals of one figure held the truth."""

    setting: str
    figure: str
    truth: float
    coverage: float
    draws: int


Found = dict[str, tuple[float, float, float]]
"""Value and interval by figure."""


def subjects_of(rng: np.random.Generator, subjects: int) -> NDArray[np.int64]:
    return np.repeat(np.arange(subjects), rng.integers(1, 4, subjects))


def answers_of(rng: np.random.Generator, owner: NDArray[np.int64], signal: float, classes: int) -> Answers:
    """Class of each subject, and probabilities from noisy logits half of whose noise is the subject's own."""
    codes = rng.choice(classes, p=_frequencies(classes), size=owner.max() + 1)[owner]
    shared = rng.normal(size=(owner.max() + 1, classes))[owner]
    logits = signal * np.eye(classes)[codes] + np.sqrt(0.5) * shared + np.sqrt(0.5) * rng.normal(size=shared.shape)
    raised = np.exp(1.5 * logits)
    return Answers(codes, raised / raised.sum(axis=1, keepdims=True), owner)


def run_of(answers: Answers) -> ClassRun:
    prior = np.tile(_frequencies(answers.probabilities.shape[1]), (len(answers.codes), 1))
    rows = np.arange(len(answers.codes))
    return ClassRun(rows, answers, prior, (), {}, np.zeros(len(rows), bool))


def class_setting(signal: float, classes: int) -> "Setting":
    def draw(rng: np.random.Generator, subjects: int, resamples: int) -> Found:
        run = run_of(answers_of(rng, subjects_of(rng, subjects), signal, classes))
        if not resamples:
            return values_of(run)
        return {m.name: (m.value, m.low, m.high) for m in class_figures(run, resamples=CLASS_RESAMPLES)}

    return draw


def values_of(run: ClassRun) -> Found:
    """The figures alone."""
    ones = np.ones((1, run.answers.n_subjects))
    return {name: (float(figure(run.answers, ones)[0]), 0, 0) for name, (_, figure) in CLASS_FIGURES.items()}


def lists_of(rng: np.random.Generator, owner: NDArray[np.int64], noise: float = 0.0) -> Lists:
    """Each scan's list of 60, and with `noise` what a worse method makes of the same scores."""
    codes = rng.integers(0, 3, owner.max() + 1)[owner]
    gallery = np.arange(60) % 3
    shared = rng.normal(size=(owner.max() + 1, 60))[owner]
    scores = (codes[:, None] == gallery) + 0.7 * shared + 0.7 * rng.normal(size=shared.shape)
    order = np.argsort(-(scores + noise * rng.normal(size=scores.shape)), axis=1)
    figures = retrieval_figures(codes[:, None] == gallery[order])
    return Lists(np.arange(len(owner)), figures, figures, codes)


def list_setting(rng: np.random.Generator, subjects: int, resamples: int) -> Found:
    owner = subjects_of(rng, subjects)
    lists = lists_of(rng, owner)
    if not resamples:
        return {name: (float(lists.figures[:, FIGURES.index(name)].mean()), 0, 0) for name in SHOWN_LISTS}
    found = list_figures(lists, owner, resamples=resamples)
    return {m.name: (m.value, m.low, m.high) for m in found if m.name in SHOWN_LISTS}


def list_difference_setting(rng: np.random.Generator, subjects: int, resamples: int) -> Found:
    owner = subjects_of(rng, subjects)
    seed = int(rng.integers(2**32))
    # The same scores twice, so that both methods rank the same scans.
    one, other = (lists_of(np.random.default_rng(seed), owner, noise) for noise in (0.0, 1.0))
    if not resamples:
        gap = (one.figures - other.figures).mean(axis=0)
        return {name: (float(gap[FIGURES.index(name)]), 0, 0) for name in SHOWN_LISTS}
    return ends_of(list_difference(("a", one), ("b", other), owner, resamples=resamples), SHOWN_LISTS)


def number_run(truth: NDArray[np.float64], predicted: NDArray[np.float64], owner: NDArray[np.int64]) -> NumberRun:
    return NumberRun(np.arange(len(owner)), Predictions(truth, predicted, owner), np.zeros(len(owner)), (), {})


def numbers_of(run: NumberRun) -> dict[str, float]:
    ones = np.ones((1, run.predictions.n_subjects))
    return {name: float(figure(run.predictions, ones)[0]) for name, figure in NUMBER_FIGURES.items()}


def two_numbers(rng: np.random.Generator, subjects: int) -> tuple[NumberRun, NumberRun]:
    """A number told by two methods whose errors are the subject's own in part, and each other's in part."""
    owner = subjects_of(rng, subjects)
    truth = rng.normal(size=subjects)[owner] + 0.2 * rng.normal(size=len(owner))
    shared = 0.5 * rng.normal(size=subjects)[owner]
    one, other = (0.8 * truth + shared + noise * rng.normal(size=len(owner)) for noise in (0.3, 0.5))
    return number_run(truth, one, owner), number_run(truth, other, owner)


def number_setting(rng: np.random.Generator, subjects: int, resamples: int) -> Found:
    run, _ = two_numbers(rng, subjects)
    if not resamples:
        return {name: (value, 0, 0) for name, value in numbers_of(run).items()}
    return {m.name: (m.value, m.low, m.high) for m in number_figures(run, resamples=resamples)}


def number_difference_setting(rng: np.random.Generator, subjects: int, resamples: int) -> Found:
    one, other = two_numbers(rng, subjects)
    if not resamples:
        first, second = numbers_of(one), numbers_of(other)
        return {name: (first[name] - second[name], 0, 0) for name in first}
    return ends_of(number_difference(("a", one), ("b", other), resamples=resamples), tuple(NUMBER_FIGURES))


def difference_setting(signal: float, noise: float) -> "Setting":
    """Two classes, and a second method whose logits have more noise."""

    def draw(rng: np.random.Generator, subjects: int, resamples: int) -> Found:
        owner = subjects_of(rng, subjects)
        one = answers_of(rng, owner, signal, 2)
        logits = np.log(one.probabilities) + noise * rng.normal(size=one.probabilities.shape)
        raised = np.exp(logits)
        other = Answers(one.codes, raised / raised.sum(axis=1, keepdims=True), owner)
        if not resamples:
            first, second = values_of(run_of(one)), values_of(run_of(other))
            return {name: (first[name][0] - second[name][0], 0, 0) for name in COMPARED}
        return ends_of(class_difference(("a", run_of(one)), ("b", run_of(other)), resamples=resamples), COMPARED)

    return draw


def ends_of(found: Sequence[Difference], shown: Sequence[str]) -> Found:
    return {one.figure: (one.value, one.low, one.high) for one in found if one.figure in shown}


Setting = Callable[[np.random.Generator, int, int], Found]
"""Draws a study of so many subjects and gives its figures; without intervals where no resamples are asked for."""

SETTINGS: dict[str, Setting] = {
    "3 classes, weak": class_setting(0.5, 3),
    "3 classes, fair": class_setting(1.5, 3),
    "3 classes, strong": class_setting(3.0, 3),
    "2 classes, chance": class_setting(0.0, 2),
    "2 classes, strong": class_setting(2.6, 2),
    "2 classes, all but sure": class_setting(3.6, 2),
    "lists": list_setting,
    "a number": number_setting,
    "classes, paired": difference_setting(1.6, 1.2),
    "classes, paired, strong": difference_setting(3.0, 1.5),
    "lists, paired": list_difference_setting,
    "a number, paired": number_difference_setting,
}

CONFORMAL = "conformal sets"


def coverage(setting: str, draws: int, subjects: int, keep: Path | None) -> Iterator[Line]:
    """How often intervals hold the figure of a very large sample; counts are kept, so that a run can be cut short."""
    draw = SETTINGS[setting]
    file = None if keep is None else keep / f"{setting}, {subjects} subjects.json"
    state: dict[str, Any] = {"truth": None, "draws": 0, "held": {}}
    if file is not None and file.is_file():
        state = json.loads(file.read_text(encoding="utf-8"))
    if state["truth"] is None:
        truth = {name: found[0] for name, found in draw(np.random.default_rng(10**6), TRUTH_SUBJECTS, 0).items()}
        state = {"truth": truth, "draws": 0, "held": dict.fromkeys(truth, 0)}
    truth, held = state["truth"], state["held"]
    for seed in range(state["draws"], draws):
        for name, (_, low, high) in draw(np.random.default_rng(seed), subjects, RESAMPLES).items():
            held[name] += low <= truth[name] <= high
        state["draws"] = seed + 1
        if file is not None and (state["draws"] % KEPT_EVERY == 0 or state["draws"] == draws):
            part = file.with_suffix(".part")
            part.write_text(json.dumps(state), encoding="utf-8")
            part.replace(file)
    for name, count in held.items():
        yield Line(setting, name, truth[name], count / state["draws"], state["draws"])


def conformal_coverage(draws: int, subjects: int) -> Iterator[Line]:
    """How often sets calibrated on so many subjects hold the truth for as many new ones."""
    held: dict[float, list[float]] = {level: [] for level in LEVELS}
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        known, new = (answers_of(rng, subjects_of(rng, subjects), 1.5, 3) for _ in range(2))
        weights = 1 / np.bincount(new.subjects)[new.subjects]
        for level, rates in held.items():
            fitted = conformal_sets(known.probabilities, known.codes, known.subjects, coverage=level)
            inside = fitted.sets(new.probabilities)[np.arange(len(new.codes)), new.codes]
            rates.append(float(weights @ inside / weights.sum()))
    for level, rates in held.items():
        yield Line(CONFORMAL, f"{level:.0%}", level, float(np.mean(rates)), draws)


def _frequencies(classes: int) -> NDArray[np.float64]:
    shares = np.arange(classes, 0, -1.0)
    part: NDArray[np.float64] = shares / shares.sum()
    return part


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, help="simulated studies a setting (default: 1000)")
    parser.add_argument("--subjects", type=int, default=300, help="of each (default: 300)")
    parser.add_argument(
        "--settings",
        nargs="+",
        choices=[*SETTINGS, CONFORMAL],
        default=[*SETTINGS, CONFORMAL],
        metavar="NAME",
        help="some of them, to run in pieces (default: all)",
    )
    parser.add_argument("--quick", action="store_true", help="100 draws, unless --draws says otherwise")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the counts there and go on from them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    arguments = parser.parse_args()
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    draws = arguments.draws or (QUICK_DRAWS if arguments.quick else 1000)
    print(f"{arguments.subjects} subjects, {draws} draws, {RESAMPLES} resamples\n")
    print(f"{'setting':26}{'figure':20}{'truth':>8}{'coverage':>10}")
    lines: list[Line] = []
    for setting in arguments.settings:
        is_conformal = setting == CONFORMAL
        found = (
            conformal_coverage(min(draws, 200), arguments.subjects)
            if is_conformal
            else coverage(setting, draws, arguments.subjects, arguments.keep)
        )
        for line in found:
            lines.append(line)
            off = "" if abs(line.coverage - (line.truth if is_conformal else 0.95)) <= TOLERANCE else "   off"
            print(f"{line.setting:26}{line.figure:20}{line.truth:8.3f}{line.coverage:10.3f}{off}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([line.__dict__ for line in lines], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
