"""The same scan filed twice: under two patients, or on two sides of a split."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from raptor_search.knn import Neighbours

__all__ = ["DuplicatePair", "Leaks", "duplicate_threshold", "find_leaks", "joined"]

CLOSER = 0.2
"""A near-duplicate is at most this share as far (1 - score) as a typical scan's fifth nearest of another subject:
a scale that archives of one organ, where all are alike, and mixed ones both set for themselves."""

TYPICAL_PLACE = 5
"""Beyond the copies that a scan may have."""

FLOOR = 0.9
"""No pair below this score is called a duplicate, however spread out the archive is."""


@dataclass(frozen=True)
class DuplicatePair:
    """Two scans of different subjects that are all but the same.

    Attributes:
        first: row of one.
        second: row of the other, above `first`.
        score: their centred cosine.
        crosses: whether they lie in different parts of the given split.
    """

    first: int
    second: int
    score: float
    crosses: bool


@dataclass(frozen=True)
class Leaks:
    """What was found.

    Attributes:
        pairs: near-duplicates filed under different subjects, the most alike first.
        threshold: the score from which a pair counts.
        straddling: subjects with scans in more than one part of the given split.
    """

    pairs: tuple[DuplicatePair, ...]
    threshold: float
    straddling: int

    @property
    def crossing(self) -> int:
        """Pairs with one scan on each side of the split."""
        return sum(pair.crosses for pair in self.pairs)


def find_leaks(found: Neighbours, subjects: Int[np.ndarray, " n"], splits: Sequence[str | None] | None = None) -> Leaks:
    """Near-duplicates between subjects, and subjects on two sides of a split.

    Args:
        found: the nearest of each scan among all OTHER subjects, ten or so.
        subjects: of each scan.
        splits: part of each scan, None where it has none.
    """
    threshold = duplicate_threshold(found)
    parts = [None] * len(subjects) if splits is None else list(splits)
    pairs: dict[tuple[int, int], float] = {}
    for row, place in np.argwhere((found.scores >= threshold) & (found.indices >= 0)).tolist():
        other = int(found.indices[row, place])
        pairs[min(row, other), max(row, other)] = float(found.scores[row, place])
    listed = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return Leaks(
        tuple(DuplicatePair(a, b, score, _differ(parts[a], parts[b])) for (a, b), score in listed),
        threshold,
        _straddling(subjects, parts),
    )


def duplicate_threshold(found: Neighbours) -> float:
    """The score from which two scans of different subjects count as near-duplicates."""
    place = min(TYPICAL_PLACE, found.scores.shape[1]) - 1
    scores = found.scores[:, place][np.isfinite(found.scores[:, place])]
    if not len(scores):
        return FLOOR
    return max(FLOOR, 1 - CLOSER * (1 - float(np.median(scores))))


def joined(subjects: Int[np.ndarray, " n"], pairs: Sequence[DuplicatePair]) -> Int[np.ndarray, " n"]:
    """Subject codes in which near-duplicates share one subject, numbered 0, 1, ... again."""
    codes = np.array(subjects)
    for pair in pairs:
        codes[codes == codes[pair.second]] = codes[pair.first]
    numbered: Int[np.ndarray, " n"] = np.unique(codes, return_inverse=True)[1]
    return numbered


def _differ(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other


def _straddling(subjects: Int[np.ndarray, " n"], parts: Sequence[str | None]) -> int:
    seen: dict[int, set[str]] = {}
    for subject, part in zip(subjects.tolist(), parts, strict=True):
        if part is not None:
            seen.setdefault(subject, set()).add(part)
    return sum(len(names) > 1 for names in seen.values())
