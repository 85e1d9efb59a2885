"""Labels spread along the stored graph, and how that compares with the votes of neighbours.

A scan far from every labelled one may still be reached over unlabelled scans in between; where classes overlap, the
same bridges lead astray. So both are measured, on labelled subjects whose labels are hidden.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from sklearn.semi_supervised import LabelSpreading

from raptor_search.cohorts.graph import KnnGraph
from raptor_search.errors import QueryError
from raptor_search.knn import DEFAULT_NEIGHBOURS, DEFAULT_TEMPERATURE, predict
from raptor_search.propagation import (
    MIN_CONFIDENCE,
    MIN_SUBJECTS,
    ConfidenceKind,
    Proposal,
    Proposals,
    Voter,
    low_reason,
    set_reason,
)
from raptor_search.statistics.calibration import Calibration, calibrate
from raptor_search.statistics.classes import LabelValue, read_classes, subject_codes
from raptor_search.statistics.classification import Answers
from raptor_search.statistics.conformal import ConformalSets, conformal_sets
from raptor_search.statistics.figures import Difference, Measured, class_difference, class_figures
from raptor_search.statistics.intervals import ROUGH_BELOW
from raptor_search.statistics.protocol import ClassRun
from raptor_search.statistics.splitting import FOLDS, fold_numbers

__all__ = ["Comparison", "compare", "propose_by_spreading", "spread"]

CLAMPING = 0.8
"""Share of a scan's value that comes from its neighbours, the rest from its own label; scikit-learn's `alpha`."""

MAX_STEPS = 100

NOBODY = 1e-9
"""Less than this in all means that no label reached a scan."""


@dataclass(frozen=True)
class Comparison:
    """Votes of neighbours and spreading on hidden labels: figures of both, and votes less spreading, paired.

    `notes` are sentences that a reader must see.
    """

    votes: tuple[Measured, ...]
    spreading: tuple[Measured, ...]
    differences: tuple[Difference, ...]
    subjects: int
    notes: tuple[str, ...] = ()


def spread(
    graph: KnnGraph, codes: Int[np.ndarray, " n"], classes: int, *, temperature: float = DEFAULT_TEMPERATURE
) -> Float[np.ndarray, "n c"]:
    """Each class's share at each scan, rows that sum to 1 or are 0 where no label reaches.

    Source: Zhou et al. 2004, NIPS, "Learning with local and global consistency", scikit-learn's LabelSpreading.

    Args:
        graph: of the scans; edges weigh exp((score - 1) / temperature) in both directions.
        codes: class of each scan, -1 where it has none.
        classes: how many classes there are.
        temperature: the smaller, the more the nearest decide.
    """
    affinity = _affinity(graph, temperature)
    model = LabelSpreading(kernel=lambda rows, _: affinity, alpha=CLAMPING, max_iter=MAX_STEPS, tol=1e-4)
    model.fit(np.arange(len(codes))[:, None], codes)
    reached: NDArray[np.float64] = np.nan_to_num(model.label_distributions_)
    shares = np.zeros((len(codes), classes))
    shares[:, np.asarray(model.classes_, np.int64)] = reached
    shares[reached.sum(axis=1) < NOBODY] = 0
    return shares


def propose_by_spreading(
    graph: KnnGraph,
    labels: Sequence[LabelValue],
    groups: Sequence[str | None] | None = None,
    *,
    candidates: Sequence[int] | None = None,
    name: str = "label",
    k: int = DEFAULT_NEIGHBOURS,
    min_confidence: float = MIN_CONFIDENCE,
    coverage: float | None = None,
) -> Proposals:
    """As `propagation.propose`, by spreading; a scan's own subject is no neighbour of it.

    Confidences and sets are calibrated on five folds of labelled subjects whose labels were hidden, from
    `propagation.MIN_SUBJECTS` labelled subjects on; below, confidences are the plain shares and named so.

    Raises:
        QueryError: the label has fewer than two classes or looks continuous.
    """
    setup = _SetUp.of(graph, labels, groups, name)
    classes, names = len(setup.names), setup.names
    shares = spread(setup.graph, setup.codes, classes)
    is_calibrated = setup.subjects >= MIN_SUBJECTS
    sets = None
    if is_calibrated:
        hidden = setup.held_out_spread()
        calibration = calibrate(hidden[setup.known], setup.codes[setup.known], setup.people)
        sets = _sets(calibration, hidden, setup, coverage)
        given = calibration(shares)
    else:
        given = shares
    inside = None if sets is None else sets.sets(given)
    asked = np.flatnonzero(setup.codes < 0) if candidates is None else np.unique(np.asarray(candidates, np.int64))
    items = []
    for row in asked.tolist():
        is_reached = bool(shares[row].any())
        code = int(given[row].argmax())
        plausible = None
        if inside is not None and is_reached:
            plausible = tuple(one for one, is_in in zip(names, inside[row], strict=True) if is_in)
        voters = setup.voters(row, k)
        confidence = float(given[row, code]) if is_reached else 0.0
        items.append(
            Proposal(
                index=row,
                value=names[code] if is_reached else None,
                confidence=confidence,
                supporting=tuple(one for one in voters if one.value == names[code]),
                opposing=tuple(one for one in voters if one.value != names[code]),
                abstained=_reason(is_reached, confidence, min_confidence) or set_reason(plausible),
                plausible=plausible,
            )
        )
    notes = list(setup.notes)
    if not is_calibrated:
        notes.append(
            f"{setup.subjects} labelled subjects: confidence is the share of what spread; "
            f"it is calibrated from {MIN_SUBJECTS} subjects on"
        )
    if coverage is not None and sets is None:
        notes.append(f"{setup.subjects} labelled subjects: too few for sets that cover {coverage:.0%}")
    kind: ConfidenceKind = "calibrated" if is_calibrated else "vote share"
    return Proposals(tuple(items), names, kind, len(setup.known), setup.subjects, tuple(notes))


def compare(
    graph: KnnGraph,
    labels: Sequence[LabelValue],
    groups: Sequence[str | None] | None = None,
    *,
    name: str = "label",
    k: int = DEFAULT_NEIGHBOURS,
    resamples: int = 500,
) -> Comparison:
    """Hide the labels of a fifth of the subjects at a time, and tell them by votes and by spreading on one graph.

    Raises:
        QueryError: as `propose_by_spreading`, or the label has fewer subjects than there are fifths.
    """
    setup = _SetUp.of(graph, labels, groups, name)
    if setup.subjects < FOLDS:
        raise QueryError(
            f"label '{name}': {setup.subjects} labelled subjects; votes and diffusion are compared from {FOLDS} on: "
            "label scans of more patients, or leave out --compare"
        )
    rough = f"{setup.subjects} labelled subjects: below {ROUGH_BELOW} the intervals of the comparison are rough"
    one, other = setup.run(setup.held_out_votes(k)), setup.run(setup.held_out_spread())
    return Comparison(
        votes=class_figures(one, resamples=resamples),
        spreading=class_figures(other, resamples=resamples),
        differences=class_difference(("votes", one), ("spreading", other), resamples=resamples),
        subjects=one.answers.n_subjects,
        notes=(rough,) if setup.subjects < ROUGH_BELOW else (),
    )


@dataclass(frozen=True, eq=False)
class _SetUp:
    """Labelled scans of a graph without edges within a subject, and the fold of each."""

    graph: KnnGraph
    names: tuple[str, ...]
    codes: Int[np.ndarray, " n"]
    known: Int[np.ndarray, " m"]
    people: Int[np.ndarray, " m"]
    fold: Int[np.ndarray, " m"]
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        graph: KnnGraph,
        labels: Sequence[LabelValue],
        groups: Sequence[str | None] | None,
        name: str,
    ) -> "_SetUp":
        read = read_classes(labels, name=name)
        subjects, notes = subject_codes(groups, len(graph))
        known = np.flatnonzero(read.codes >= 0)
        people = np.unique(subjects[known], return_inverse=True)[1].astype(np.int64)
        fold = fold_numbers(read.codes[known], people, FOLDS, 0)
        apart = graph.without(subjects, max(1, graph.indices.shape[1]))
        return cls(apart, read.names, read.codes, known, people, fold, notes)

    @property
    def subjects(self) -> int:
        """How many have a label."""
        return int(self.people.max()) + 1

    def hidden(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows of a fold, and the codes of all scans with theirs hidden."""
        rows = self.known[self.fold == number]
        codes = self.codes.copy()
        codes[rows] = -1
        return rows, codes

    def held_out_spread(self) -> NDArray[np.float64]:
        shares = np.zeros((len(self.codes), len(self.names)))
        for number in range(FOLDS):
            rows, codes = self.hidden(number)
            if len(np.unique(codes[codes >= 0])) > 1:
                shares[rows] = spread(self.graph, codes, len(self.names))[rows]
        return shares

    def held_out_votes(self, k: int) -> NDArray[np.float64]:
        shares = np.zeros((len(self.codes), len(self.names)))
        for number in range(FOLDS):
            rows, codes = self.hidden(number)
            near = self.graph.indices[rows]
            labels = np.where(near >= 0, codes[near], -1)
            # The k nearest that are labelled, however many unlabelled ones lie between.
            place = np.cumsum(labels >= 0, axis=1)
            labels = np.where(place <= k, labels, -1)
            shares[rows] = predict(self.graph.scores[rows], labels, len(self.names))
        return shares

    def run(self, shares: NDArray[np.float64]) -> ClassRun:
        own = shares[self.known]
        prior = np.bincount(self.codes[self.known], minlength=len(self.names)) / len(self.known)
        own = np.where(own.sum(axis=1, keepdims=True) > 0, own, prior)
        answers = Answers(self.codes[self.known], own / own.sum(axis=1, keepdims=True), self.people, self.fold)
        return ClassRun(self.known, answers, np.tile(prior, (len(own), 1)), (), {}, np.zeros(len(own), bool))

    def voters(self, row: int, k: int) -> tuple[Voter, ...]:
        """The labelled among a scan's neighbours, nearest first."""
        near = [n for n in self.graph.indices[row].tolist() if n >= 0 and self.codes[n] >= 0][:k]
        scores = {int(n): float(s) for n, s in zip(self.graph.indices[row], self.graph.scores[row], strict=True)}
        weights = [np.exp((scores[n] - 1) / DEFAULT_TEMPERATURE) for n in near]
        return tuple(
            Voter(n, self.names[int(self.codes[n])], scores[n], float(weight / sum(weights)))
            for n, weight in zip(near, weights, strict=True)
        )


def _sets(
    calibration: Calibration, hidden: NDArray[np.float64], setup: _SetUp, coverage: float | None
) -> ConformalSets | None:
    if coverage is None:
        return None
    given = calibration(hidden[setup.known])
    fitted = conformal_sets(given, setup.codes[setup.known], setup.people, coverage=coverage)
    return fitted if fitted.is_informative else None


def _affinity(graph: KnnGraph, temperature: float) -> coo_array:
    n, k = graph.indices.shape
    there = graph.indices >= 0
    weights = np.exp((np.minimum(graph.scores[there].astype(np.float64), 1) - 1) / temperature)
    edges = csr_array((weights, (np.repeat(np.arange(n), k)[there.ravel()], graph.indices[there])), shape=(n, n))
    return coo_array(edges.maximum(edges.T))


def _reason(is_reached: bool, confidence: float, min_confidence: float) -> str | None:
    return low_reason(confidence, min_confidence) if is_reached else "no label reaches it over the graph"
