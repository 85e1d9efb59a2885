"""A label column as classes, and which scans belong to one subject: what every figure on labels starts from."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Real
from numpy.typing import NDArray

from raptor_search.errors import QueryError

__all__ = ["Classes", "LabelValue", "is_number", "join_duplicates", "read_classes", "read_numbers", "subject_codes"]

LabelValue = str | float | bool | None
"""One cell of a label column; None, NaN and blank text mean that the scan has no value."""

MAX_CLASSES = 200
"""More distinct values than this are names or remarks. (TotalSegmentator, the longest list in use, has 104.)"""

MAX_NUMBER_CLASSES = 20
"""More distinct numbers than this are measurements, not codes."""

MAX_SPARSE_NUMBERS = 10
"""More distinct numbers than this are measurements too where most scans have one of their own."""


@dataclass(frozen=True, eq=False)
class Classes:
    """A label column, coded.

    Attributes:
        names: the values, sorted (as numbers where all are numbers).
        codes: position in `names` of each scan's value, -1 where it has none.
    """

    names: tuple[str, ...]
    codes: Int[np.ndarray, " n"]


def read_classes(values: Sequence[LabelValue], *, name: str = "label") -> Classes:
    """Code a label column; text is stripped, and the numbers 1 and 1.0 and the text "1" are one class.

    Raises:
        QueryError: no scan has a value, all have the same, there are more than `MAX_CLASSES` values,
            or the values look continuous.
    """
    texts = [_text(value) for value in values]
    names = sorted({text for text in texts if text is not None})
    labelled = sum(text is not None for text in texts)
    if not names:
        raise QueryError(f"label '{name}': none of {len(texts)} scans has a value; expected at least two classes")
    if len(names) == 1:
        raise QueryError(
            f"label '{name}': all {labelled} labelled scans have the value '{names[0]}'; expected at least two classes"
        )
    if all(is_number(text) for text in names):
        if len(names) > MAX_NUMBER_CLASSES or (len(names) > MAX_SPARSE_NUMBERS and 2 * len(names) > labelled):
            raise QueryError(
                f"label '{name}': {len(names)} distinct numbers in {labelled} scans look continuous; "
                f"expected classes: choose a column with at most {MAX_SPARSE_NUMBERS} different numbers"
            )
        names.sort(key=float)
    if len(names) > MAX_CLASSES:
        raise QueryError(
            f"label '{name}': {len(names)} distinct values; expected at most {MAX_CLASSES} classes: "
            "choose a column of categories"
        )
    code = {text: position for position, text in enumerate(names)}
    codes = np.array([-1 if text is None else code[text] for text in texts], dtype=np.int64)
    return Classes(tuple(names), codes)


def read_numbers(values: Sequence[LabelValue], *, name: str = "label") -> NDArray[np.float64]:
    """A label column as numbers, NaN where a scan has no value.

    Raises:
        QueryError: no scan has a value, some are no numbers, or all are the same.
    """
    texts = [_text(value) for value in values]
    known = [text for text in texts if text is not None]
    strangers = [text for text in known if not is_number(text)]
    if not known:
        raise QueryError(f"label '{name}': none of {len(texts)} scans has a value; expected numbers")
    if strangers:
        raise QueryError(
            f"label '{name}': {len(strangers)} of {len(known)} values are no numbers, such as '{strangers[0][:40]}'; "
            "expected numbers throughout, or evaluate it as classes"
        )
    if len(set(map(float, known))) < 2:
        raise QueryError(f"label '{name}': all {len(known)} labelled scans have the value {known[0]}; expected two")
    return np.array([np.nan if text is None else float(text) for text in texts])


def subject_codes(groups: Sequence[str | int | None] | None, scans: int) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Number the subjects 0, 1, ... in order of appearance; a scan of no known subject is a subject of its own.

    Returns:
        The code of each scan, and what has to be said about them.

    Raises:
        ValueError: `groups` does not have one entry a scan.
    """
    known = [None] * scans if groups is None else list(groups)
    if len(known) != scans:
        raise ValueError(f"{len(known)} groups for {scans} scans; expected one each")
    numbers: dict[object, int] = {}
    keys = [("scan", row) if group is None else ("subject", group) for row, group in enumerate(known)]
    codes = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
    unknown = sum(group is None for group in known)
    if unknown == 0:
        return codes, ()
    who = "no scan names its subject" if unknown == scans else f"{unknown} of {scans} scans name no subject"
    return codes, (f"{who}: each of them counts as a subject of its own",)


def join_duplicates(
    subjects: Int[np.ndarray, " n"], vectors: Real[np.ndarray, "n d"]
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Make one subject of those that share a bit-identical vector.

    The same scan filed under two subjects would otherwise answer for itself when one of them is held out.

    Returns:
        New codes, again 0, 1, ..., and what has to be said about them.
    """
    parent = list(range(int(subjects.max(initial=-1)) + 1))

    def root(subject: int) -> int:
        while parent[subject] != subject:
            parent[subject] = parent[parent[subject]]
            subject = parent[subject]
        return subject

    first: dict[bytes, int] = {}
    for row, subject in enumerate(subjects.tolist()):
        digest = hashlib.blake2b(np.ascontiguousarray(vectors[row]).tobytes(), digest_size=16).digest()
        parent[root(subject)] = root(first.setdefault(digest, subject))
    roots, codes = np.unique([root(subject) for subject in subjects.tolist()], return_inverse=True)
    joined = len(set(subjects.tolist())) - len(roots)
    if joined == 0:
        return codes.astype(np.int64), ()
    return codes.astype(np.int64), (
        f"identical scans are filed under different subjects: these were joined, which leaves {len(roots)} subjects",
    )


def _text(value: LabelValue) -> str | None:
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return None
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def is_number(text: str) -> bool:
    """Whether a value reads as a finite number."""
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
