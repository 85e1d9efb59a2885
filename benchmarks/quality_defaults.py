"""Which score and how many voting neighbours tell a label of other people's scans best: what `quality.py` chooses by.

Only the training and validation parts take part. Each group of people is asked of all others, with the mean of those
others where the score is centred; the test part of the table is left to judge what was chosen.

The rule, written before any figure of it was seen:

    score   centred or not: the one with the higher mean of mAP over the packaged encoders at K = 100 is the default,
            unless for one of them its paired difference to the present default lies wholly below 0
    k       of 1, 3, 5 and 10, at the default temperature and the chosen score: the one with the highest mean AUROC of
            the votes, under the same condition on its difference to the present default. 20 and 40 are shown and
            not eligible: an archive just begun has fewer labelled scans of a class

The present default stays where nothing has a higher mean. Intervals resample derived scans, the sources as given.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Real
from numpy.typing import NDArray

from raptor_search.knn import DEFAULT_NEIGHBOURS, DEFAULT_TEMPERATURE, predict
from raptor_search.statistics.classification import Answers
from raptor_search.statistics.figures import Difference, class_difference, class_figures, list_difference, list_figures
from raptor_search.statistics.gram import Gram
from raptor_search.statistics.protocol import ClassRun, Lists, run_lists
from raptor_search.statistics.splitting import Part

__all__ = ["Choice", "choose", "measured", "print_choices"]

COUNTS = (1, 3, 5, 10, 20, 40)
ELIGIBLE = (1, 3, 5, 10)
SCORES = {"centred": True, "not centred": False}
PRESENT_SCORE = "centred"


@dataclass(frozen=True)
class Choice:
    """One setting of one encoder, and its paired difference to the present default."""

    encoder: str
    setting: str
    figure: str
    value: float
    low: float
    high: float
    less_present: float
    less_present_low: float
    less_present_high: float


def measured(
    encoder: str, vectors: Real[np.ndarray, "n d"], codes: Int[np.ndarray, " n"], people: Sequence[str]
) -> dict[str, list[Choice]]:
    """Both scores under "score", and under each score's name the votes by k."""
    groups = np.unique(np.asarray(people), return_inverse=True)[1]
    rows = np.arange(len(codes))
    parts = [Part(rows[groups != group], rows[:0], rows[groups == group]) for group in np.unique(groups)]
    grams = {name: Gram(vectors, is_centred=is_centred) for name, is_centred in SCORES.items()}
    lists = {name: run_lists(gram, codes, parts) for name, gram in grams.items()}
    found = {"score": [_of_lists(encoder, name, lists) for name in lists]}
    for name, gram in grams.items():
        votes = {k: _votes(gram, codes, parts, k) for k in COUNTS}
        found[name] = [_of_votes(encoder, k, votes) for k in COUNTS]
    return found


def choose(found: Sequence[Choice], eligible: Sequence[str], present: str) -> str:
    """The setting that the rule takes."""

    def mean(setting: str) -> float:
        return float(np.mean([one.value for one in found if one.setting == setting]))

    allowed = [
        setting
        for setting in eligible
        if setting == present or not any(one.less_present_high < 0 for one in found if one.setting == setting)
    ]
    best = max(allowed, key=mean)
    return best if mean(best) > mean(present) else present


def print_choices(found: dict[str, dict[str, list[Choice]]], packaged: Sequence[str]) -> None:
    """Both tables with what the rule takes; encoders that are no packaged ones are shown and have no say."""
    print("\ntraining and validation parts, each group of people asked of the others; 95% intervals\n")
    print(f"{'encoder':20}{'setting':14}{'figure':8}{'value':>21}{'less the present default':>30}")
    score = _chosen(found, packaged, lambda one: one["score"], list(SCORES), PRESENT_SCORE)
    ks = [f"k = {k}" for k in ELIGIBLE]
    k = _chosen(found, packaged, lambda one: one[score], ks, f"k = {DEFAULT_NEIGHBOURS}")
    judged = [name for name in packaged if name in found]
    if judged:
        print(f"by the rule, from {' and '.join(judged)}: {score}, {k}")
    print(f"present default: {PRESENT_SCORE}, k = {DEFAULT_NEIGHBOURS}")


def _chosen(
    found: dict[str, dict[str, list[Choice]]],
    packaged: Sequence[str],
    part: Callable[[dict[str, list[Choice]]], list[Choice]],
    eligible: Sequence[str],
    present: str,
) -> str:
    for one in (line for by_name in found.values() for line in part(by_name)):
        ends = f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"
        gap = f"{one.less_present:+.3f} [{one.less_present_low:+.3f}, {one.less_present_high:+.3f}]"
        print(f"{one.encoder:20}{one.setting:14}{one.figure:8}{ends:>21}{gap if one.less_present else '-':>30}")
    lines = [line for name in packaged if name in found for line in part(found[name])]
    return choose(lines, eligible, present) if lines else present


def _of_lists(encoder: str, name: str, lists: dict[str, Lists]) -> Choice:
    here, present = lists[name], lists[PRESENT_SCORE]
    each = np.arange(len(here.rows))
    one = next(figure for figure in list_figures(here, each) if figure.name == "mAP")
    gaps = list_difference((name, here), (PRESENT_SCORE, present), each)
    return _choice(encoder, name, "mAP", (one.value, one.low, one.high), gaps)


def _of_votes(encoder: str, k: int, votes: dict[int, ClassRun]) -> Choice:
    one = next(figure for figure in class_figures(votes[k]) if figure.name == "AUROC")
    gaps = class_difference((f"k = {k}", votes[k]), ("present", votes[DEFAULT_NEIGHBOURS]))
    return _choice(encoder, f"k = {k}", "AUROC", (one.value, one.low, one.high), gaps)


def _choice(
    encoder: str, setting: str, figure: str, value: tuple[float, float, float], gaps: Sequence[Difference]
) -> Choice:
    gap = next(one for one in gaps if one.figure == figure)
    return Choice(encoder, setting, figure, *value, gap.value, gap.low, gap.high)


def _votes(gram: Gram, codes: Int[np.ndarray, " n"], parts: Sequence[Part], k: int) -> ClassRun:
    """The plain votes that `raptor propagate` counts, scan by scan; AUROC compares scans of one group of people."""
    classes = int(codes.max()) + 1
    shares: list[NDArray[np.float64]] = []
    for part in parts:
        scores = gram.cosines(part.test, part.train)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        near = codes[part.train][order]
        shares.append(
            predict(np.take_along_axis(scores, order, axis=1), near, classes, temperature=DEFAULT_TEMPERATURE)
        )
    rows = np.concatenate([part.test for part in parts])
    strata = np.repeat(np.arange(len(parts)), [len(part.test) for part in parts])
    answers = Answers(codes[rows], np.concatenate(shares), np.arange(len(rows)), strata)
    prior = np.tile(np.bincount(codes) / len(codes), (len(rows), 1))
    return ClassRun(rows, answers, prior, (), {}, np.zeros(len(rows), bool))
