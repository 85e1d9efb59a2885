"""What can be filtered by: the values of the catalog's columns with how many scans have each.

Kept for a minute at most, and counted again once the catalog has changed; the same for every user, as it says nothing
about a query.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from app.session import identity
from raptor_search.archive import Archive
from raptor_search.catalog import StoredSpec, Value

__all__ = ["Facets", "facets", "forget_facets"]

COLUMNS = ("modality", "body_part", "sex", "manufacturer")
MAX_VALUES = 40
"""A label with more values than this is not offered value by value."""


@dataclass(frozen=True)
class Facets:
    """Values by column, the commonest first.

    Attributes:
        columns: typed columns: how many scans have each value; those without any value are absent.
        labels: the same for labels of at most `MAX_VALUES` values.
        ages: youngest and oldest in years, or None where no age is known.
        scans: how many scans there are.
        patients: how many patients are known.
    """

    columns: dict[str, dict[str, int]]
    labels: dict[str, dict[str, int]]
    ages: tuple[float, float] | None
    scans: int
    patients: int


def facets(archive: Archive, stored: StoredSpec) -> Facets:
    """The values of the scans embedded under a spec."""
    return _facets(archive, stored.id, (identity(), archive.catalog.moment(stored.id)))


def forget_facets() -> None:
    """A label was changed: count again."""
    _facets.clear()


@st.cache_data(ttl=60, show_spinner=False, max_entries=8)
def _facets(_archive: Archive, spec_id: int, moment: object) -> Facets:
    catalog = _archive.catalog
    columns = {name: _counted(catalog.value_counts(name, spec_id)) for name in COLUMNS}
    # One value more than is offered tells that there are too many.
    labels = {
        name: _counted(catalog.value_counts(name, spec_id, limit=MAX_VALUES + 1))
        for name, kind in catalog.columns().items()
        if kind == "label"
    }
    ages = [float(age) for age in catalog.value_counts("age", spec_id)]
    return Facets(
        columns={name: counts for name, counts in columns.items() if counts},
        labels={name: counts for name, counts in labels.items() if len(counts) <= MAX_VALUES},
        ages=(min(ages), max(ages)) if ages else None,
        scans=catalog.count(spec_id),
        patients=catalog.count_patients(spec_id),
    )


def _counted(values: Mapping[Value, int]) -> dict[str, int]:
    return {str(value): count for value, count in values.items()}
