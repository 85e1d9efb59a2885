"""What an evaluation starts from: who takes part, who trains, who is tested, and what is wrong with that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Real
from numpy.typing import NDArray

from raptor_search.errors import QueryError
from raptor_search.knn import Neighbours
from raptor_search.statistics.classes import LabelValue, is_number, join_duplicates, subject_codes
from raptor_search.statistics.gram import Gram
from raptor_search.statistics.intervals import ROUGH_BELOW
from raptor_search.statistics.leaks import Leaks, find_leaks, joined
from raptor_search.statistics.splitting import Part, folds, given_split

__all__ = [
    "Division",
    "SetUp",
    "check_classes",
    "check_parts",
    "check_subjects",
    "class_notes",
    "set_up",
    "tested_notes",
]

NEIGHBOURS = 10
"""Neighbours whose agreement is asked about, and among which duplicates are sought."""

MIN_SUBJECTS = 5
"""Fewer leave nothing to train, validate and test on."""

FEW_SUBJECTS = 10
"""A class of fewer subjects makes every mean over classes rough; a note says so."""


@dataclass(frozen=True, eq=False)
class SetUp:
    """The scans that take part, and what is known of them before anything is learned."""

    rows: Int[np.ndarray, " n"]
    subjects: Int[np.ndarray, " n"]
    grams: dict[str, Gram]
    nearest: Neighbours
    leaks: Leaks
    splits: list[LabelValue] | None
    notes: tuple[str, ...]

    def divide(self, strata: Int[np.ndarray, " n"], seed: int) -> "Division":
        """Who trains, validates and is tested; for folds, near-duplicates count as one subject from here on."""
        notes: tuple[str, ...] = ()
        if self.splits is not None:
            part, notes = given_split(self.splits, self.subjects)
            if part is not None:
                sizes = f"{len(part.train)} training, {len(part.val)} validation and {len(part.test)} test scans"
                return Division((part,), self.subjects, f"the given split: {sizes}", notes)
        subjects = self.subjects
        if self.leaks.pairs:
            subjects = joined(subjects, self.leaks.pairs)
            notes = (
                *notes,
                "near-duplicates are filed under different subjects: these were joined, which leaves "
                f"{len(np.unique(subjects))} subjects",
            )
        parts = folds(strata, subjects, seed=seed)
        sentence = f"{len(parts)} folds of whole subjects, each tested once by models of the others"
        return Division(parts, subjects, sentence, notes)


@dataclass(frozen=True, eq=False)
class Division:
    """One part a fold, the subject of each scan, a sentence on how it came about, and what has to be said of it."""

    parts: tuple[Part, ...]
    subjects: Int[np.ndarray, " n"]
    sentence: str
    notes: tuple[str, ...]


def set_up(
    vectors: Mapping[str, Real[np.ndarray, "n _"]],
    known: NDArray[np.bool_],
    groups: Sequence[str | None] | None,
    splits: Sequence[LabelValue] | None,
    name: str,
    is_centred: bool,
) -> SetUp:
    """The scans with a value, their subjects and products; duplicates of two subjects are found here.

    Raises:
        QueryError: too few subjects.
    """
    for key, some in vectors.items():
        if len(some) != len(known):
            raise ValueError(f"{len(some)} vectors of '{key}' for {len(known)} labels; expected one each")
    rows = np.flatnonzero(known)
    subjects, unknown = subject_codes([None if groups is None else groups[row] for row in rows.tolist()], len(rows))
    first = next(iter(vectors.values()))[rows]
    subjects, same = join_duplicates(subjects, first)
    if len(np.unique(subjects)) < MIN_SUBJECTS:
        raise QueryError(
            f"label '{name}': {len(np.unique(subjects))} subjects are labelled; expected at least {MIN_SUBJECTS} to "
            "train, validate and test on"
        )
    grams = {key: Gram(some[rows], is_centred=is_centred) for key, some in vectors.items()}
    nearest = _nearest(next(iter(grams.values())), subjects)
    chosen = None if splits is None else [splits[row] for row in rows.tolist()]
    parts = None if chosen is None else [None if part is None else str(part) for part in chosen]
    leaks = find_leaks(nearest, subjects, parts)
    notes = [*unknown, *same]
    if leaks.crossing:
        notes.append(f"{leaks.crossing} near-duplicate pairs lie on two sides of the given split: figures are too good")
    return SetUp(rows, subjects, grams, nearest, leaks, chosen, tuple(notes))


def _nearest(gram: Gram, subjects: Int[np.ndarray, " n"]) -> Neighbours:
    """The nearest of each scan among other subjects, centred on all: for questions that train nothing."""
    rows = np.arange(len(gram))
    scores = gram.cosines(rows, rows)
    scores[subjects[:, None] == subjects] = -np.inf
    k = min(NEIGHBOURS, len(rows))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, order, axis=1)
    return Neighbours(np.where(np.isfinite(best), order, -1), best.astype(np.float32))


def check_classes(
    codes: Int[np.ndarray, " n"], subjects: Int[np.ndarray, " n"], names: Sequence[str], label: str
) -> None:
    """Refuse a class that one subject alone has.

    Raises:
        QueryError: there is one.
    """
    owners = [len(np.unique(subjects[codes == code])) for code in range(len(names))]
    alone = [name for name, count in zip(names, owners, strict=True) if count < 2]
    if alone:
        shown = ", ".join(f"'{name}'" for name in alone[:5]) + (" and others" if len(alone) > 5 else "")
        number = ", or evaluate it with --number" if all(map(is_number, names)) else ""
        raise QueryError(
            f"label '{label}': {shown} {'has' if len(alone) == 1 else 'have'} one subject only, which cannot be both "
            f"learned from and tested; label more scans, or leave these out with {_without(alone, label)}{number}"
        )


def _without(values: Sequence[str], label: str) -> str:
    """The option that leaves values out, written out where they can be copied."""
    plain = label.isidentifier() and len(values) <= 5 and not any("'" in one or is_number(one) for one in values)
    if not plain:
        return "--where"
    listed = ", ".join(f"'{one}'" for one in values)
    return f'--where "{label} not in ({listed})"'


def check_parts(parts: Sequence[Part], codes: Int[np.ndarray, " n"], names: Sequence[str], label: str) -> None:
    """Refuse a given split that has one class in training or test.

    Raises:
        QueryError: it has.
    """
    for part in parts:
        for what, rows in (("training", part.train), ("test", part.test)):
            if len(parts) == 1 and len(np.unique(codes[rows])) < 2:
                held = names[int(codes[rows][0])]
                raise QueryError(
                    f"label '{label}': the {what} part of the given split has the class '{held}' only; expected two"
                )


def check_subjects(parts: Sequence[Part], subjects: Int[np.ndarray, " n"], label: str) -> None:
    """Refuse too few subjects once near-duplicates are joined, and a given split that tests a single one.

    Raises:
        QueryError: then.
    """
    if (count := len(np.unique(subjects))) < MIN_SUBJECTS:
        raise QueryError(
            f"label '{label}': near-duplicates are filed under different subjects, and joining these leaves {count}; "
            f"expected at least {MIN_SUBJECTS}"
        )
    if len(parts) == 1 and len(np.unique(subjects[parts[0].test])) < 2:
        raise QueryError(f"label '{label}': the test part of the given split has one subject only; expected two")


def class_notes(
    codes: Int[np.ndarray, " n"], subjects: Int[np.ndarray, " n"], parts: Sequence[Part], names: Sequence[str]
) -> list[str]:
    """What has to be said about classes and their subjects."""
    owners = [len(np.unique(subjects[codes == code])) for code in range(len(names))]
    notes = tested_notes(subjects, parts)
    if min(owners) < FEW_SUBJECTS:
        smallest = names[int(np.argmin(owners))]
        notes.append(f"class '{smallest}' has {min(owners)} subjects: figures that count it as one class are rough")
    return notes


def tested_notes(subjects: Int[np.ndarray, " n"], parts: Sequence[Part]) -> list[str]:
    """What has to be said about the number of subjects tested."""
    tested = len(np.unique(subjects[np.concatenate([part.test for part in parts])]))
    if tested >= ROUGH_BELOW:
        return []
    return [f"{tested} subjects were tested: below {ROUGH_BELOW} the 95% intervals are rough"]
