"""What colours the map, kept for all users: a column's values in the map's order. Nothing in it is of a query."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from jaxtyping import Int
from numpy.typing import NDArray

from app.session import identity
from app.words import column_name, shown
from raptor_search.archive import Archive
from raptor_search.catalog import Ids, StoredSpec
from raptor_search.cohorts.mapping import Cohort, stored_cohort

__all__ = ["CLUSTER", "NO_CLUSTER", "Column", "changes", "cluster_names", "cohort_of", "column_of", "column_title"]

CLUSTER = "\0cluster"
"""Stands for the clusters among the names of columns; no label can be called so."""

NO_CLUSTER = "no cluster"


@dataclass(frozen=True, eq=False)
class Column:
    """A column in the order of a map's scans.

    Attributes:
        name: of the column, or `CLUSTER`.
        numbers: what each scan has, where the column holds numbers; NaN where a scan has none.
        names: the different values as the page shows them, the commonest first; empty where it holds numbers.
        codes: place of each scan's value in `names`, -1 where it has none.
    """

    name: str
    numbers: NDArray[np.float64] | None
    names: tuple[str, ...]
    codes: Int[np.ndarray, " n"]

    def values(self, rows: Int[np.ndarray, " m"]) -> list[str | None]:
        """What some scans have, as the page shows it."""
        if self.numbers is not None:
            return [None if np.isnan(number) else f"{number:g}" for number in self.numbers[rows].tolist()]
        return [self.names[code] if code >= 0 else None for code in self.codes[rows].tolist()]


def cohort_of(archive: Archive, stored: StoredSpec) -> Cohort | None:
    """The map that was drawn last, with what was found on it."""
    return stored_cohort(archive.catalog, stored)


def column_of(archive: Archive, stored: StoredSpec, cohort: Cohort, name: str) -> Column:
    """A column's values, read again where anything in the catalog has changed.

    Raises:
        QueryError: there is no such column.
    """
    return _column(archive, cohort, name, (identity(), cohort.drawn.id, archive.catalog.moment(stored.id).revision))


def changes(archive: Archive, stored: StoredSpec, cohort: Cohort) -> tuple[Ids, Ids]:
    """The scans that came since the map was drawn, and those that went."""
    return _changes(archive, stored, cohort, (identity(), cohort.drawn.id, archive.catalog.moment(stored.id).revision))


def column_title(name: str) -> str:
    """What the page calls a column."""
    return "Cluster" if name == CLUSTER else column_name(name)


def cluster_names(cohort: Cohort) -> dict[int, str]:
    """The clusters by number, each told from the others by it."""
    if cohort.detail is None:
        return {}
    return {int(one["number"]): _cluster_name(one) for one in cohort.detail.document["clusters"]}


def _cluster_name(one: Mapping[str, Any]) -> str:
    """Its number, with what stands out in it where anything does."""
    number = int(one["number"]) + 1
    return f"{number}: {one['name']}" if one["traits"] else str(number)


@st.cache_resource(show_spinner=False, max_entries=24)
def _column(_archive: Archive, _cohort: Cohort, name: str, moment: tuple[object, ...]) -> Column:
    if name == CLUSTER:
        return _clusters(_cohort)
    catalog, ids = _archive.catalog, _cohort.drawn.volume_ids
    values = catalog.column_values(name, ids)
    if catalog.columns().get(name) == "number":
        numbers = np.array([np.nan if value is None else float(value) for value in values])
        return Column(name, numbers, (), np.full(len(values), -1, np.int64))
    return Column(name, None, *_coded([None if value is None else shown(value) for value in values]))


@st.cache_resource(show_spinner=False, max_entries=8)
def _changes(_archive: Archive, _stored: StoredSpec, _cohort: Cohort, moment: tuple[object, ...]) -> tuple[Ids, Ids]:
    ids, drawn = _archive.catalog.ids(_stored.id), _cohort.drawn.volume_ids
    return np.setdiff1d(ids, drawn), np.setdiff1d(drawn, ids)


def _clusters(cohort: Cohort) -> Column:
    known = cluster_names(cohort)
    if cohort.detail is None:
        return Column(CLUSTER, None, (), np.full(len(cohort.drawn.volume_ids), -1, np.int64))
    numbers = cohort.detail.clusters.tolist()
    return Column(CLUSTER, None, *_coded([known.get(number, NO_CLUSTER) for number in numbers]))


def _coded(values: Sequence[str | None]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    found, inverse, counts = np.unique(
        np.array(["" if value is None else f"={value}" for value in values]), return_inverse=True, return_counts=True
    )
    order = [int(place) for place in np.argsort(-counts, kind="stable") if found[place] != ""]
    new = np.full(len(found), -1, np.int64)
    new[order] = np.arange(len(order))
    return tuple(str(found[place])[1:] for place in order), new[inverse]
