"""How well neighbours tell a label of subjects they have not seen, with intervals and the trivial baseline."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Real
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from raptor_search.errors import QueryError
from raptor_search.knn import DEFAULT_NEIGHBOURS, DEFAULT_TEMPERATURE, held_out_neighbours, predict
from raptor_search.statistics.auroc import LeavePairOutAuroc, pair_depth
from raptor_search.statistics.classes import LabelValue, join_duplicates, read_classes, subject_codes
from raptor_search.statistics.intervals import ROUGH_BELOW, subject_intervals

__all__ = ["Baseline", "Figure", "leave_one_out"]

RESAMPLES = 2000

FEW_SUBJECTS = 10
"""A class of fewer subjects makes every mean over classes rough; a note says so."""

MIN_SUBJECTS = 3
"""AUROC leaves two subjects out at a time, and somebody has to be left to vote."""


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        name: what it is.
        value: between 0 and 1.
        low: lower end of its 95% interval.
        high: upper end.
        majority: what always answering with the most frequent class scores.
    """

    name: str
    value: float
    low: float
    high: float
    majority: float


@dataclass(frozen=True, eq=False)
class Baseline:
    """Leave-one-subject-out kNN of one label.

    Attributes:
        auroc: mean over the classes of one-vs-rest AUROC, by leave-pair-out (see `auroc`).
        balanced_accuracy: mean over the classes of the share answered rightly.
        accuracy: share of scans answered rightly.
        classes: the values that took part, in the order of every table here.
        class_auroc: AUROC of each class against the rest.
        confusion: scans by true class (rows) and answer (columns).
        majority_class: the most frequent class.
        rows: the scans that took part, as positions in what was given.
        answers: the class answered for each of `rows`, as a position in `classes`.
        votes: each class's share of the votes for each of `rows`.
        left_out: classes that one subject alone has: nothing can be said about them.
        scans: how many scans took part.
        subjects: how many subjects.
        k: neighbours that voted.
        notes: what a reader must know, one sentence each.
    """

    auroc: Figure
    balanced_accuracy: Figure
    accuracy: Figure
    classes: tuple[str, ...]
    class_auroc: tuple[float, ...]
    confusion: Int[np.ndarray, "c c"]
    majority_class: str
    rows: Int[np.ndarray, " n"]
    answers: Int[np.ndarray, " n"]
    votes: Float[np.ndarray, "n c"]
    left_out: tuple[str, ...]
    scans: int
    subjects: int
    k: int
    notes: tuple[str, ...]

    @property
    def figures(self) -> tuple[Figure, Figure, Figure]:
        """AUROC, balanced accuracy, accuracy."""
        return self.auroc, self.balanced_accuracy, self.accuracy


def leave_one_out(
    vectors: Real[np.ndarray, "n d"],
    labels: Sequence[LabelValue],
    groups: Sequence[str | int | None] | None = None,
    *,
    name: str = "label",
    k: int = DEFAULT_NEIGHBOURS,
    temperature: float = DEFAULT_TEMPERATURE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Baseline:
    """Answer each labelled scan by the votes of its k nearest among the other subjects' labelled scans.

    Everything, the mean that centres the scores included, comes from the other subjects. Subjects that share a
    bit-identical scan count as one. Figures count scans, intervals resample subjects (see `intervals`; in seeded
    simulations 92 to 97% of them hold the truth with 300 subjects; 89 to 93% with 60 and
    labels without signal).

    Args:
        vectors: one embedding a scan.
        labels: one value a scan; scans without one take no part.
        groups: the subject of each scan; None, as a whole or for a scan, makes it a subject of its own.
        name: of the label, for messages.
        k: neighbours that vote.
        temperature: of the votes, see `knn.predict`.
        resamples: bootstrap draws.
        seed: of the draws.

    Raises:
        QueryError: the label cannot be judged this way; the message says why.
    """
    part = _taking_part(vectors, labels, groups, name, k)
    found = held_out_neighbours(vectors[part.rows], part.subjects, k=pair_depth(part.subjects, k))
    nearest = np.where(found.indices >= 0, part.codes[found.indices], -1)[:, :k]
    votes = predict(found.scores[:, :k], nearest, len(part.classes), temperature=temperature)
    answers = votes.argmax(axis=1)
    auroc = LeavePairOutAuroc(found, part.codes, part.subjects, len(part.classes), k=k, temperature=temperature)
    confusion = np.zeros((len(part.classes), len(part.classes)), dtype=np.int64)
    np.add.at(confusion, (part.codes, answers), 1)
    linked = _linked(np.where(found.indices >= 0, part.subjects[found.indices], -1)[:, :k], part)
    mean_auroc, balanced_accuracy, accuracy = _figures(auroc, part, answers, linked, resamples=resamples, seed=seed)
    return Baseline(
        auroc=mean_auroc,
        balanced_accuracy=balanced_accuracy,
        accuracy=accuracy,
        classes=part.classes,
        class_auroc=tuple(auroc(np.ones((1, part.n_subjects)))[0].tolist()),
        confusion=confusion,
        majority_class=part.classes[np.bincount(part.codes).argmax()],
        rows=part.rows,
        answers=answers,
        votes=votes,
        left_out=part.left_out,
        scans=len(part.rows),
        subjects=part.n_subjects,
        k=k,
        notes=(*part.notes, *_notes(part, nearest)),
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """The scans that can be judged: rows of what was given, class codes and subject codes 0, 1, ..."""

    rows: Int[np.ndarray, " n"]
    codes: Int[np.ndarray, " n"]
    subjects: Int[np.ndarray, " n"]
    classes: tuple[str, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def n_subjects(self) -> int:
        return int(self.subjects.max()) + 1

    def count(self, scans: Bool[np.ndarray, " n"]) -> Int[np.ndarray, "s c"]:
        """How many of the chosen scans each subject has of each class."""
        table = np.zeros((self.n_subjects, len(self.classes)), dtype=np.int64)
        np.add.at(table, (self.subjects[scans], self.codes[scans]), 1)
        return table


def _taking_part(
    vectors: Real[np.ndarray, "n d"],
    labels: Sequence[LabelValue],
    groups: Sequence[str | int | None] | None,
    name: str,
    k: int,
) -> _Part:
    if len(vectors) != len(labels):
        raise ValueError(f"{len(labels)} labels for {len(vectors)} vectors; expected one each")
    read = read_classes(labels, name=name)
    rows = np.flatnonzero(read.codes >= 0)
    subjects, unknown = subject_codes([None if groups is None else groups[row] for row in rows.tolist()], len(rows))
    subjects, joined = join_duplicates(subjects, vectors[rows])
    owners = [len(np.unique(subjects[read.codes[rows] == code])) for code in range(len(read.names))]
    shared = np.array([owner > 1 for owner in owners])
    left_out = tuple(value for value, kept in zip(read.names, shared, strict=True) if not kept)
    if shared.sum() < 2:
        raise QueryError(
            f"label '{name}': {shared.sum()} of {len(shared)} classes have scans of two subjects or more; "
            "expected at least two such classes, since each subject is judged by the others"
        )
    rows, subjects = rows[shared[read.codes[rows]]], subjects[shared[read.codes[rows]]]
    subjects = np.unique(subjects, return_inverse=True)[1]
    present, codes = np.unique(read.codes[rows], return_inverse=True)
    part = _Part(rows, codes, subjects, tuple(read.names[code] for code in present), left_out, (*unknown, *joined))
    if part.n_subjects < MIN_SUBJECTS:
        raise QueryError(f"label '{name}': {part.n_subjects} subjects are labelled; expected at least {MIN_SUBJECTS}")
    if k >= len(rows):
        raise QueryError(
            f"label '{name}': {k} neighbours asked of {len(rows)} labelled scans; choose at most {len(rows) - 1}"
        )
    return part


def _linked(voters: Int[np.ndarray, "n k"], part: _Part) -> csr_array:
    """1 where two subjects vote on each other."""
    voted = voters >= 0
    on, by = np.repeat(part.subjects, voted.sum(axis=1)), voters[voted]
    votes = coo_array((np.ones(len(on)), (on, by)), shape=(part.n_subjects, part.n_subjects)).tocsr()
    return csr_array((votes.multiply(votes.T) > 0).astype(np.float64))


def _figures(
    auroc: LeavePairOutAuroc,
    part: _Part,
    answers: Int[np.ndarray, " n"],
    linked: csr_array,
    *,
    resamples: int,
    seed: int,
) -> tuple[Figure, Figure, Figure]:
    scans = part.count(part.codes >= 0)
    right = part.count(answers == part.codes)

    def statistic(weights: Float[np.ndarray, "b s"]) -> NDArray[np.float64]:
        seen, answered = weights @ scans, weights @ right
        recall = np.divide(answered, seen, out=np.full(seen.shape, np.nan), where=seen > 0)
        accuracy = answered.sum(axis=1) / seen.sum(axis=1)
        return np.stack([_mean(auroc(weights)), _mean(recall), accuracy], axis=1)

    n_classes = len(part.classes)
    # A mean over classes rests on no more subjects than if every class were as small as the smallest.
    smallest = int((scans > 0).sum(axis=0).min())
    each = min(part.n_subjects, n_classes * smallest)
    intervals = subject_intervals(
        statistic,
        part.n_subjects,
        evidence=(smallest if n_classes == 2 else min(each, part.n_subjects // 2), each, part.n_subjects),
        kinds=("auroc", "share", "share"),
        linked=linked,
        resamples=resamples,
        seed=seed,
    )
    baselines = (
        ("AUROC", 0.5),
        ("balanced accuracy", 1 / n_classes),
        ("accuracy", float(scans.sum(axis=0).max() / scans.sum())),
    )
    first, second, third = (
        Figure(name, interval.value, interval.low, interval.high, majority)
        for (name, majority), interval in zip(baselines, intervals, strict=True)
    )
    return first, second, third


def _mean(figures: Float[np.ndarray, "b c"]) -> NDArray[np.float64]:
    """Mean over the classes that are defined; NaN where none is."""
    defined = np.isfinite(figures)
    count = defined.sum(axis=1)
    total = np.where(defined, figures, 0.0).sum(axis=1)
    mean = np.full(len(figures), np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def _notes(part: _Part, nearest: Int[np.ndarray, "n k"]) -> list[str]:
    notes = []
    owners = (part.count(part.codes >= 0) > 0).sum(axis=0)
    if part.left_out:
        notes.append(f"left out, because one subject alone has it: {', '.join(part.left_out)}")
    short = int((nearest < 0).any(axis=1).sum())
    if short:
        notes.append(f"{short} scans have fewer than {nearest.shape[1]} labelled scans of other subjects to vote")
    if owners.min() < FEW_SUBJECTS:
        smallest = part.classes[owners.argmin()]
        notes.append(f"class '{smallest}' has {owners.min()} subjects: figures that count it as one class are rough")
    if part.n_subjects < ROUGH_BELOW:
        notes.append(f"{part.n_subjects} subjects: below {ROUGH_BELOW} the 95% intervals are rough")
    return notes
