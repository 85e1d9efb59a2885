"""Who trains, who validates, who is tested: the splits that are given, or folds of whole subjects."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from raptor_search.statistics.classes import LabelValue

__all__ = ["FOLDS", "Part", "fold_numbers", "folds", "given_split", "is_split"]

FOLDS = 5
"""Each fifth of the subjects is tested once, by models of three fifths, validated on the one before it."""

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True, eq=False)
class Part:
    """One division of the scans, as rows; no subject has scans in two of the three."""

    train: Int[np.ndarray, " t"]
    val: Int[np.ndarray, " v"]
    test: Int[np.ndarray, " e"]


def is_split(values: Sequence[LabelValue]) -> bool:
    """Whether a column names both training and test scans."""
    return {"train", "test"} <= {SPLIT_NAMES.get(str(value).strip().lower()) for value in values}


def given_split(values: Sequence[LabelValue], subjects: Int[np.ndarray, " n"]) -> tuple[Part | None, tuple[str, ...]]:
    """The division that a column names, or None where it names no training or no test scans, or too few subjects.

    The test part is kept whole. A subject with scans in several parts keeps those of the test part, else those
    of the validation part; its others are left out, and a note says so.

    Returns:
        The division, and what has to be said about it.
    """
    names = [SPLIT_NAMES.get(str(value).strip().lower()) if value is not None else None for value in values]
    rows = {name: np.array([n == name for n in names], bool) for name in ("train", "val", "test")}
    if not rows["train"].any() or not rows["test"].any():
        return None, ()
    in_test = np.isin(subjects, subjects[rows["test"]])
    in_val = np.isin(subjects, subjects[rows["val"]])
    train, val = rows["train"] & ~in_test & ~in_val, rows["val"] & ~in_test
    straddling = int((rows["train"] | rows["val"]).sum() - train.sum() - val.sum())
    notes = []
    if straddling:
        notes.append(
            f"{straddling} scans were left out of training or validation: their subject has scans in another part"
        )
    outside = sum(name is None for name in names)
    if outside:
        notes.append(f"{outside} scans are in no part of the given split and take no part")
    if not train.any():
        return None, (*notes, "the given split leaves nothing to train on: folds of subjects were used instead")
    if not val.any():
        if len(np.unique(subjects[train])) < 2:
            return None, (
                *notes,
                "the given split has one subject to train on and none to validate: folds of subjects were used instead",
            )
        train, val = _carve(train, subjects)
        notes.append("the given split has no validation part: a fifth of the training subjects stands in")
    return Part(np.flatnonzero(train), np.flatnonzero(val), np.flatnonzero(rows["test"])), tuple(notes)


def folds(
    strata: Int[np.ndarray, " n"], subjects: Int[np.ndarray, " n"], *, count: int = FOLDS, seed: int = 0
) -> tuple[Part, ...]:
    """Divisions in which every scan is tested once, subjects whole, classes as even as whole subjects allow.

    Args:
        strata: class codes, or quantiles of a number.
        subjects: of each scan.
        count: of folds; lowered to the number of subjects.
        seed: of the deal.
    """
    count = min(count, len(np.unique(subjects)))
    fold = fold_numbers(strata, subjects, count, seed)
    parts = []
    for number in range(count):
        val = fold == (number + 1) % count
        test = fold == number
        if count < 3:
            val = np.zeros_like(test)
        parts.append(Part(np.flatnonzero(~val & ~test), np.flatnonzero(val), np.flatnonzero(test)))
    return tuple(parts)


def fold_numbers(
    strata: Int[np.ndarray, " n"], subjects: Int[np.ndarray, " n"], count: int, seed: int
) -> NDArray[np.int64]:
    """Which of `count` folds each scan is in: subjects are shuffled, ordered by class, and dealt out like cards.

    A subject with scans of several classes is dealt with its rarest one.
    """
    people, person = np.unique(subjects, return_inverse=True)
    rarity = np.argsort(np.argsort(-np.bincount(strata), kind="stable"), kind="stable")
    rarest = np.zeros(len(people), np.int64)
    np.maximum.at(rarest, person, rarity[strata])
    shuffled = np.random.default_rng(seed).permutation(len(people))
    dealt = shuffled[np.argsort(rarest[shuffled], kind="stable")]
    fold = np.empty(len(people), np.int64)
    fold[dealt] = np.arange(len(people)) % count
    return fold[person]


def _carve(train: NDArray[np.bool_], subjects: Int[np.ndarray, " n"]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Every fifth training subject, in order of appearance in a seeded shuffle, becomes validation."""
    people = np.random.default_rng(0).permutation(np.unique(subjects[train]))
    chosen = np.isin(subjects, people[: max(1, len(people) // FOLDS)])
    return train & ~chosen, train & chosen
