"""A label judged by leaving one subject out at a time: for labels with classes too rare for folds.

Nothing is trained or chosen, so a class of two subjects is enough: each is answered by the others.
"""

import dataclasses

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from raptor_search.archive import Archive
from raptor_search.assessing import MAX_BYTES, MAX_SCANS
from raptor_search.errors import QueryError
from raptor_search.evaluation import Baseline, leave_one_out
from raptor_search.filters import parse_where
from raptor_search.knn import DEFAULT_NEIGHBOURS

__all__ = ["leave_out", "majority_confusion"]


def leave_out(
    archive: Archive,
    label: str,
    *,
    where: str | None = None,
    k: int | None = None,
    spec: str | None = None,
    author: str | None = None,
) -> Baseline:
    """How well the nearest scans of other subjects tell a label or column; the audit log keeps that it was asked.

    Args:
        archive: that holds the scans.
        label: a label, or a column such as "modality".
        where: a filter on the scans that take part.
        k: neighbours that vote; None for `knn.DEFAULT_NEIGHBOURS`, or fewer where fewer scans are labelled.
        spec: fingerprint, or its start, of a spec that is not the default.
        author: who asks; None for whoever acts through the archive.

    Raises:
        AccessError: the role does not suffice.
        QueryError: no scan passes the filter, or the label cannot be judged in this way either.
    """
    archive.require("evaluate")
    stored, catalog = archive.spec(spec), archive.catalog
    ids = catalog.ids(stored.id, parse_where(where) if where else None)
    values = catalog.column_values(label, ids)
    known = np.array([value is not None for value in values], bool)
    if not known.any():
        raise QueryError(f"label '{label}': none of {ids.size} scans has a value; expected at least two classes")
    if known.sum() > MAX_SCANS:
        raise QueryError(f"label '{label}': {known.sum()} labelled scans; at most {MAX_SCANS} at once: narrow --where")
    ids, labels = ids[known], [value for value in values if value is not None]
    archive.audit("evaluation", f"{label}, leave-one-out, {ids.size} scans", author=author)
    notes: tuple[str, ...] = ()
    if ids.size * stored.spec.length * 2 <= MAX_BYTES:
        vectors = catalog.vectors(ids, stored.id)
    else:
        vectors = catalog.prefixes(ids, stored.id)
        notes = (f"{ids.size} scans: judged by the first 10 components of their embeddings",)
    voters = min(DEFAULT_NEIGHBOURS, max(1, ids.size - 1)) if k is None else k
    found = leave_one_out(vectors, labels, catalog.patient_keys(ids), name=label, k=voters)
    accepted = np.isin(ids[found.rows], catalog.decided_ids(label, ["accepted"])).sum()
    if accepted:
        notes = (*notes, f"{accepted} values of '{label}' were accepted from proposals: figures are too good for it")
    return dataclasses.replace(found, notes=(*notes, *found.notes))


def majority_confusion(found: Baseline) -> Int[np.ndarray, "c c"]:
    """Scans by true class and answer where the answer is always the most frequent class."""
    matrix: NDArray[np.int64] = np.zeros_like(found.confusion)
    matrix[:, found.classes.index(found.majority_class)] = found.confusion.sum(axis=1)
    return matrix
