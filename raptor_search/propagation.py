"""What the labelled scans propose for the unlabelled ones, how sure that is, and where nothing is proposed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Real
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from raptor_search.errors import QueryError
from raptor_search.knn import (
    DEFAULT_NEIGHBOURS,
    DEFAULT_TEMPERATURE,
    Neighbours,
    held_out_neighbours,
    neighbours,
    predict,
)
from raptor_search.statistics.classes import Classes, LabelValue, join_duplicates, read_classes, subject_codes
from raptor_search.statistics.conformal import ConformalSets, conformal_sets

__all__ = [
    "ConfidenceKind",
    "Proposal",
    "Proposals",
    "Voter",
    "low_reason",
    "nearest_of_class",
    "propose",
    "set_reason",
]

ConfidenceKind = Literal["calibrated", "vote share"]
"""What a confidence is: the chance that a proposal is right as measured on held-out subjects, or the plain share
of the votes, which is no chance of anything."""

MIN_CONFIDENCE = 0.6
"""Below this a proposal abstains, unless the caller says otherwise."""

MIN_SUBJECTS = 30
"""Labelled subjects that a calibration needs."""

MIN_LABELLED = 5
"""Labelled scans below which nobody votes, unless the caller says how many are to."""

WEAK_PENALTY = 1e4
"""Inverse penalty of the calibration: all but none, since Platt's targets already keep the fit finite."""

FAR_LEVEL = 0.02
"""A scan is far from the labelled ones where at most this share of labelled scans is as far from its nearest
(a conformal p-value: of scans that belong, this share is refused). It takes 49 labelled scans to refuse any."""


@dataclass(frozen=True)
class Voter:
    """A labelled neighbour: its row, its value, its centred cosine, and its share of the votes (0 to 1)."""

    index: int
    value: str
    score: float
    weight: float


@dataclass(frozen=True)
class Proposal:
    """What the neighbours say about one unlabelled scan.

    Attributes:
        index: its row.
        value: the class with most votes; None where nobody votes.
        confidence: 0 to 1, of the kind that `Proposals` names.
        supporting: the neighbours with that value, nearest first.
        opposing: the others, nearest first.
        abstained: why the value should not be taken; None where it may be.
        plausible: the classes of the conformal set; None where no coverage was asked for, or too few subjects
            calibrate.
    """

    index: int
    value: str | None
    confidence: float
    supporting: tuple[Voter, ...]
    opposing: tuple[Voter, ...]
    abstained: str | None
    plausible: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Proposals:
    """Proposals for a label, in order of row.

    Attributes:
        items: one for each scan asked about.
        classes: the values that may be proposed.
        confidence_kind: what the confidences are.
        labelled: labelled scans.
        subjects: subjects that they come from.
        notes: what a reader must know, one sentence each.
    """

    items: tuple[Proposal, ...]
    classes: tuple[str, ...]
    confidence_kind: ConfidenceKind
    labelled: int
    subjects: int
    notes: tuple[str, ...]


def propose(
    vectors: Real[np.ndarray, "n d"],
    labels: Sequence[LabelValue],
    groups: Sequence[str | int | None] | None = None,
    *,
    candidates: Sequence[int] | None = None,
    name: str = "label",
    k: int | None = None,
    temperature: float = DEFAULT_TEMPERATURE,
    min_confidence: float = MIN_CONFIDENCE,
    coverage: float | None = None,
    mean: Float[np.ndarray, " d"] | None = None,
) -> Proposals:
    """Propose a value for each unlabelled scan from its k nearest labelled ones.

    A scan's own subject does not vote: confidence is measured on held-out subjects, and holds only for votes
    cast the same way. With `MIN_SUBJECTS` labelled subjects or more the share of the votes is calibrated by
    Platt's method on leave-one-subject-out answers, each subject counting once (Platt 1999, "Probabilistic
    outputs for support vector machines"); below, the share itself is given and named so.

    Args:
        vectors: one embedding a scan.
        labels: one value a scan, None where it has none.
        groups: the subject of each scan; None, as a whole or for a scan, makes it a subject of its own.
        candidates: rows to propose for; None for all unlabelled ones.
        name: of the label, for messages.
        k: neighbours that vote; None for `knn.DEFAULT_NEIGHBOURS`, or all labelled scans where there are fewer.
        temperature: of the votes, see `knn.predict`.
        min_confidence: a proposal below it abstains.
        coverage: of conformal sets; a proposal abstains where its set has no class, or several. They are calibrated
            on the same held-out answers (cross-conformal: Vovk 2015, Annals of Mathematics and AI 74), by subject.
        mean: what centres the scores; None for the mean of `vectors`.

    Raises:
        QueryError: the label has fewer than two classes, looks continuous, or has fewer labelled scans than k or five.
        ValueError: a candidate that is labelled, or lengths that differ.
    """
    if len(vectors) != len(labels):
        raise ValueError(f"{len(labels)} labels for {len(vectors)} vectors; expected one each")
    classes = read_classes(labels, name=name)
    known = np.flatnonzero(classes.codes >= 0)
    asked = np.flatnonzero(classes.codes < 0) if candidates is None else np.unique(np.asarray(candidates, np.int64))
    if (classes.codes[asked] >= 0).any():
        raise ValueError("a candidate has a label already; expected unlabelled rows only")
    if k is None:
        if len(known) < MIN_LABELLED:
            raise QueryError(
                f"label '{name}': {len(known)} labelled scans; a vote takes {MIN_LABELLED}: label more, or choose k"
            )
        k = min(DEFAULT_NEIGHBOURS, len(known))
    if k > len(known):
        raise QueryError(f"label '{name}': {k} neighbours asked of {len(known)} labelled scans; choose a smaller k")
    subjects, notes = subject_codes(groups, len(vectors))
    centre = np.asarray(vectors.mean(axis=0, dtype=np.float64)) if mean is None else mean
    labelled = vectors[known]
    found = neighbours(labelled, vectors[asked], k=k, mean=centre, groups=subjects[known], query_groups=subjects[asked])
    trial = _trial(
        labelled,
        classes.codes[known],
        subjects[known],
        n_classes=len(classes.names),
        k=k,
        temperature=temperature,
        coverage=coverage,
    )
    items = _proposals(found, asked, known, classes, trial, temperature=temperature, min_confidence=min_confidence)
    return Proposals(
        items=items,
        classes=classes.names,
        confidence_kind=trial.kind,
        labelled=len(known),
        subjects=trial.subjects,
        notes=(*notes, *trial.notes),
    )


@dataclass(frozen=True, eq=False)
class _Trial:
    """What leave-one-subject-out answers for the labelled scans teach about a vote."""

    kind: ConfidenceKind
    confidence: Callable[[Float[np.ndarray, " q"]], Float[np.ndarray, " q"]]
    nearest: Float[np.ndarray, " n"]
    subjects: int
    notes: tuple[str, ...]
    sets: ConformalSets | None = None


def _trial(
    vectors: Real[np.ndarray, "n d"],
    codes: Int[np.ndarray, " n"],
    subjects: Int[np.ndarray, " n"],
    *,
    n_classes: int,
    k: int,
    temperature: float,
    coverage: float | None,
) -> _Trial:
    subjects, joined = join_duplicates(np.unique(subjects, return_inverse=True)[1], vectors)
    n_subjects = int(subjects.max()) + 1
    few = [
        f"{n_subjects} labelled subjects: confidence is the share of the votes; "
        f"it is calibrated from {MIN_SUBJECTS} subjects on"
    ]
    no_sets = f"{n_subjects} labelled subjects: too few for sets that cover {coverage or 0:.0%}"
    if coverage is not None:
        few.append(no_sets)
    if n_subjects < 2:
        return _Trial("vote share", np.asarray, np.zeros(0), n_subjects, (*joined, *few))
    found = held_out_neighbours(vectors, subjects, k=k)
    nearest = found.scores[:, 0].astype(np.float64)
    if n_subjects < MIN_SUBJECTS:
        return _Trial("vote share", np.asarray, nearest, n_subjects, (*joined, *few))
    votes = predict(found.scores, _codes_of(found, codes), n_classes, temperature=temperature)
    confidence = _calibrate(votes.max(axis=1), votes.argmax(axis=1) == codes, subjects)
    sets = None
    if coverage is not None:
        ties = nearest_of_class(found, _codes_of(found, codes), n_classes)
        sets = conformal_sets(votes, codes, subjects, coverage=coverage, ties=ties)
        if not sets.is_informative:
            sets = None
            joined = (*joined, no_sets)
    return _Trial("calibrated", confidence, nearest, n_subjects, joined, sets)


def nearest_of_class(found: Neighbours, labels: Int[np.ndarray, "q k"], n_classes: int) -> Float[np.ndarray, "q c"]:
    """The score of each class's nearest voter, -1 where it has none: what orders unanimous votes."""
    best = np.full((len(labels), n_classes), -1.0)
    rows = np.arange(len(labels))
    for place in reversed(range(labels.shape[1])):
        voting = labels[:, place] >= 0
        best[rows[voting], labels[voting, place]] = found.scores[voting, place]
    return best


def _calibrate(
    shares: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"], subjects: Int[np.ndarray, " n"]
) -> Callable[[Float[np.ndarray, " q"]], Float[np.ndarray, " q"]]:
    """The chance of being right as a logistic function of the winning share, each subject counting once."""
    weights = 1 / np.bincount(subjects)[subjects]
    total = float(weights @ right), float(weights @ ~right)
    # Platt's targets keep the chance off 0 and 1 by what so many subjects cannot exclude.
    targets = np.where(right, (total[0] + 1) / (total[0] + 2), 1 / (total[1] + 2))
    model = LogisticRegression(C=WEAK_PENALTY, max_iter=1000).fit(
        np.concatenate([shares, shares])[:, None],
        np.repeat([1, 0], len(shares)),
        sample_weight=np.concatenate([weights * targets, weights * (1 - targets)]),
    )
    if model.coef_[0, 0] <= 0:
        # A winner's share that says nothing (or the opposite): everybody gets the average.
        average = float(weights @ targets / weights.sum())
        return lambda asked: np.full(len(asked), average)
    return lambda asked: np.asarray(model.predict_proba(asked[:, None])[:, 1], dtype=np.float64)


def _codes_of(found: Neighbours, codes: Int[np.ndarray, " n"]) -> NDArray[np.int64]:
    return np.where(found.indices >= 0, codes[found.indices], -1)


def _proposals(
    found: Neighbours,
    asked: Int[np.ndarray, " q"],
    known: Int[np.ndarray, " n"],
    classes: Classes,
    trial: _Trial,
    *,
    temperature: float,
    min_confidence: float,
) -> tuple[Proposal, ...]:
    nearest = _codes_of(found, classes.codes[known])
    votes = predict(found.scores, nearest, len(classes.names), temperature=temperature)
    weights = _weights(found, temperature)
    winners = votes.argmax(axis=1)
    sets = None
    if trial.sets is not None:
        sets = trial.sets.sets(votes, nearest_of_class(found, nearest, len(classes.names)))
    confidences = trial.confidence(votes.max(axis=1, initial=0.0)) if len(asked) else np.zeros(0)
    items = []
    for line, row in enumerate(asked.tolist()):
        voters = tuple(
            Voter(int(known[place]), classes.names[code], float(score), float(weight))
            for place, code, score, weight in zip(
                found.indices[line], nearest[line], found.scores[line], weights[line], strict=True
            )
            if code >= 0
        )
        value = classes.names[winners[line]] if voters else None
        confidence = float(confidences[line]) if voters else 0.0
        plausible = None
        if sets is not None and voters:
            plausible = tuple(name for name, inside in zip(classes.names, sets[line], strict=True) if inside)
        items.append(
            Proposal(
                index=row,
                value=value,
                confidence=confidence,
                supporting=tuple(voter for voter in voters if voter.value == value),
                opposing=tuple(voter for voter in voters if voter.value != value),
                abstained=_reason(voters, confidence, trial.nearest, min_confidence) or set_reason(plausible),
                plausible=plausible,
            )
        )
    return tuple(items)


def set_reason(plausible: tuple[str, ...] | None) -> str | None:
    """Why a conformal set lets nothing be proposed; None where it has one class, or there is none."""
    if plausible is None or len(plausible) == 1:
        return None
    if not plausible:
        return "no value is likely enough: its votes are unlike those of the labelled scans"
    return f"{len(plausible)} values cannot be told apart: {', '.join(plausible)}"


def _weights(found: Neighbours, temperature: float) -> NDArray[np.float64]:
    """Each neighbour's own share of the votes: `predict`, with every neighbour a class of its own."""
    places = np.broadcast_to(np.arange(found.indices.shape[1]), found.indices.shape)
    return predict(
        found.scores, np.where(found.indices >= 0, places, -1), found.indices.shape[1], temperature=temperature
    )


def _reason(
    voters: tuple[Voter, ...], confidence: float, nearest: Float[np.ndarray, " n"], min_confidence: float
) -> str | None:
    if not voters:
        return "no labelled scan of another subject"
    best = voters[0].score
    as_far = int(np.sum(nearest <= best))
    if (as_far + 1) / (len(nearest) + 1) <= FAR_LEVEL:
        return (
            f"far from the labelled scans: its nearest scores {best:.2f}, "
            f"and {as_far} of {len(nearest)} labelled scans are that far from theirs"
        )
    return low_reason(confidence, min_confidence)


def low_reason(confidence: float, least: float) -> str | None:
    """Why a proposal of this confidence abstains; None where it does not. Rounded down: never written as the least."""
    return f"confidence {math.floor(100 * confidence) / 100:.2f} is below {least:.2f}" if confidence < least else None
