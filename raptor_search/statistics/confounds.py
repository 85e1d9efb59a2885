"""Same disease or same scanner? What neighbours share beside the label.

Neighbours that agree on a label may do so because they came off one scanner. Three questions to each column,
each answered by permuting whole subjects: do neighbours agree on the column more than by chance; does the column
go with the label; and, among subjects of one value of the column, do neighbours still agree on the label?
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from raptor_search.statistics.classes import LabelValue

__all__ = ["Confound", "agreement", "find_confounds", "holm", "read_column"]

PERMUTATIONS = 999

ALPHA = 0.05

MAX_VALUES = 10
"""Numbers of more distinct values are cut into fifths."""

MIN_SUBJECTS = 10
"""Fewer subjects with a known value say nothing."""


@dataclass(frozen=True)
class Confound:
    """What one column has to do with neighbours and label.

    Attributes:
        column: its name.
        subjects: with a known value and a label.
        agreement: mean share of a scan's neighbours that have its value.
        expected: the same when values are dealt anew to subjects.
        agreement_p: how often dealing anew agrees as much; corrected over the columns (Holm).
        association: Cramer's V of column and label among subjects, 0 to 1.
        association_p: how often dealing anew associates as much; corrected likewise.
        label_agreement: mean share of a scan's neighbours that have its label.
        label_expected: the same when labels are dealt anew within subjects of one value of the column.
        within_p: how often that agrees as much: small where neighbours share the label beyond the column.
    """

    column: str
    subjects: int
    agreement: float
    expected: float
    agreement_p: float
    association: float
    association_p: float
    label_agreement: float
    label_expected: float
    within_p: float

    @property
    def is_flagged(self) -> bool:
        """Whether neighbours share the column and the column goes with the label."""
        return self.agreement_p < ALPHA and self.association_p < ALPHA

    @property
    def verdict(self) -> str:
        """One sentence for a reader."""
        if not self.is_flagged:
            return f"no sign that '{self.column}' makes scans neighbours of one label"
        if self.within_p >= ALPHA:
            return (
                f"neighbours share '{self.column}', which goes with the label, and among scans of one value of it they "
                "do not share the label more than by chance: the figures may measure it, not the label"
            )
        return (
            f"neighbours share '{self.column}', which goes with the label; they share the label beyond it too, but the "
            "figures are raised by it"
        )


def find_confounds(
    indices: Int[np.ndarray, "n k"],
    label: Int[np.ndarray, " n"],
    columns: Mapping[str, Sequence[LabelValue]],
    subjects: Int[np.ndarray, " n"],
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> tuple[Confound, ...]:
    """Ask every column that has two values.

    Args:
        indices: the nearest of each scan among other subjects, -1 where there are fewer.
        label: class of each scan; -1 where it has none.
        columns: values of each scan, by name.
        subjects: of each scan, numbered 0, 1, ...; a subject has its most frequent value.
        permutations: of subjects.
        seed: of the permutations.
    """
    found = []
    for name, values in columns.items():
        codes = read_column(values)
        known = (codes >= 0) & (label >= 0)
        people = np.unique(subjects[known])
        if len(people) < MIN_SUBJECTS or len(np.unique(codes[known])) < 2:
            continue
        found.append(_ask(name, indices, label, codes, subjects, known, permutations, seed))
    return _corrected(found)


def read_column(values: Sequence[LabelValue]) -> NDArray[np.int64]:
    """A column as codes, -1 where it has no value; numbers of many values in fifths."""
    cells = [None if value is None or value == "" or _is_nan(value) else value for value in values]
    known = [value for value in cells if value is not None]
    numbers = [float(value) for value in known if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(known) and len(set(numbers)) > MAX_VALUES:
        edges = np.quantile(numbers, [0.2, 0.4, 0.6, 0.8])
        return np.array([-1 if v is None else int(np.searchsorted(edges, float(v))) for v in cells], np.int64)
    code = {value: number for number, value in enumerate(sorted(set(known), key=str))}
    return np.array([-1 if v is None else code[v] for v in cells], np.int64)


def agreement(indices: Int[np.ndarray, "n k"], codes: Int[np.ndarray, " n"]) -> float:
    """Mean over scans of the share of their neighbours that have their code; -1 is no code and is passed over."""
    there = (indices >= 0) & (codes[indices] >= 0) & (codes >= 0)[:, None]
    same = there & (codes[indices] == codes[:, None])
    count = there.sum(axis=1)
    return float((same.sum(axis=1)[count > 0] / count[count > 0]).mean()) if (count > 0).any() else float("nan")


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979, Scandinavian Journal of Statistics 6)."""
    corrected = [0.0] * len(p_values)
    least = 0.0
    for place, which in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[which]))
        corrected[which] = least
    return corrected


def _is_nan(value: LabelValue) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _ask(
    name: str,
    indices: Int[np.ndarray, "n k"],
    label: Int[np.ndarray, " n"],
    codes: Int[np.ndarray, " n"],
    subjects: Int[np.ndarray, " n"],
    known: NDArray[np.bool_],
    permutations: int,
    seed: int,
) -> Confound:
    rng = np.random.default_rng(seed)
    people, person = np.unique(subjects[known], return_inverse=True)
    whose = np.full(len(subjects), len(people))
    whose[known] = person
    value, truth = _of_person(codes[known], person, len(people)), _of_person(label[known], person, len(people))

    def dealt(by_person: NDArray[np.int64]) -> float:
        return agreement(indices, np.append(by_person, -1)[whose])

    measured = dealt(value), _cramers_v(value, truth), dealt(truth)
    order = np.lexsort((np.arange(len(people)), value))
    drawn = np.empty((permutations, 3))
    for draw in range(permutations):
        anew = rng.permutation(value)
        within = np.empty_like(truth)
        # A random key within each value: both orders list the values alike, one of them shuffled within.
        within[order] = truth[np.lexsort((rng.random(len(people)), value))]
        drawn[draw] = dealt(anew), _cramers_v(anew, truth), dealt(within)
    above = (np.sum(drawn >= np.array(measured) - 1e-12, axis=0) + 1) / (permutations + 1)
    return Confound(
        column=name,
        subjects=len(people),
        agreement=measured[0],
        expected=float(drawn[:, 0].mean()),
        agreement_p=float(above[0]),
        association=measured[1],
        association_p=float(above[1]),
        label_agreement=measured[2],
        label_expected=float(drawn[:, 2].mean()),
        within_p=float(above[2]),
    )


def _of_person(codes: Int[np.ndarray, " m"], person: Int[np.ndarray, " m"], people: int) -> NDArray[np.int64]:
    table = np.zeros((people, int(codes.max()) + 1), np.int64)
    np.add.at(table, (person, codes), 1)
    return np.asarray(table.argmax(axis=1), dtype=np.int64)


def _cramers_v(one: Int[np.ndarray, " p"], other: Int[np.ndarray, " p"]) -> float:
    table: Float[np.ndarray, "a b"] = np.zeros((int(one.max()) + 1, int(other.max()) + 1))
    np.add.at(table, (one, other), 1)
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    if min(table.shape) < 2:
        return 0.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    chi2 = float(((table - expected) ** 2 / expected).sum())
    return float(np.sqrt(chi2 / (table.sum() * (min(table.shape) - 1))))


def _corrected(found: Sequence[Confound]) -> tuple[Confound, ...]:
    shared, gone = holm([one.agreement_p for one in found]), holm([one.association_p for one in found])
    return tuple(
        Confound(**(one.__dict__ | {"agreement_p": a, "association_p": b}))
        for one, a, b in zip(found, shared, gone, strict=True)
    )
