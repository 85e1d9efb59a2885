"""The filters beside the hits: widgets that together make one condition of the library's filter language."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import streamlit as st

from app.facets import Facets
from app.steering import parse_cases, parse_regions, steer
from app.words import column_name
from raptor_search.filters import And, Between, Filter, In, parse_where
from raptor_search.searching.region import Region

__all__ = ["DEFAULT_HITS", "MAX_HITS", "Asked", "age_key", "ask"]

MAX_HITS = 50
DEFAULT_HITS = 10


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the user narrowed the search to.

    Attributes:
        where: the condition, or None.
        k: hits wanted.
        other_patients: whether the query's own patient is left out.
        collapse: whether the best of equal scans stands for the others.
        like: cases that pull the query towards them.
        unlike: cases that push it away.
        region: the cells that the score is confined to; none means all.
        narrowed: the filters in words, one phrase each.
    """

    where: Filter | None
    k: int
    other_patients: bool
    collapse: bool
    like: tuple[int, ...]
    unlike: tuple[int, ...]
    region: tuple[Region, ...]
    narrowed: tuple[str, ...]


def ask(facets: Facets, columns: Mapping[str, str]) -> Asked:
    """Draw the filters and say what they ask for.

    Raises:
        QueryError: the condition, an example or the region that was typed cannot be read.
    """
    st.subheader("Narrow the search", anchor=False)
    st.session_state.setdefault("hits", DEFAULT_HITS)
    k = st.number_input("Scans to show", min_value=1, max_value=MAX_HITS, key="hits", persist_state="session")
    other_patients = st.toggle("Other patients only", key="other_patients", persist_state="session")
    collapse = st.toggle(
        "Equal scans once", key="collapse", help="The best of equal scans stands for them all.", persist_state="session"
    )
    terms: list[In | Between] = [
        In(column, tuple(chosen)) for column, counts in facets.columns.items() if (chosen := _choose(column, counts))
    ]
    if facets.ages is not None and (ages := _ages(*facets.ages)):
        terms.append(Between("age", *ages))
    terms += _labels(facets.labels)
    typed = st.text_input(
        "Condition",
        placeholder="age > 60 AND sex = 'F'",
        help="Words of SQL's WHERE: =, !=, <, >, IN, BETWEEN, IS NULL, AND, OR, NOT. "
        f"Columns: {', '.join(f'`{name}`' for name in columns if '`' not in name)}",
        key="condition",
        persist_state="session",
    )
    steering = steer()
    # Read once all widgets are drawn, so that a slip in one line takes none of the others away.
    conditions: list[Filter] = [*terms, *([parse_where(typed)] if typed.strip() else [])]
    flags = {"other patients only": other_patients, "equal scans once": collapse, typed.strip(): bool(typed.strip())}
    return Asked(
        where=And(tuple(conditions)) if conditions else None,
        k=int(k),
        other_patients=other_patients,
        collapse=collapse,
        like=parse_cases(steering.like),
        unlike=parse_cases(steering.unlike),
        region=parse_regions(steering.region),
        narrowed=(*map(_in_words, terms), *(words for words, holds in flags.items() if holds)),
    )


def _in_words(term: In | Between) -> str:
    if isinstance(term, Between):
        return f"{column_name(term.column)} {term.low:g} to {term.high:g}"
    return f"{column_name(term.column)}: {' or '.join(map(str, term.values))}"


def age_key(youngest: float, oldest: float) -> str:
    """The slider's key: another one where the archive's ages have changed."""
    return f"filter age {youngest:g} {oldest:g}"


def _choose(column: str, counts: Mapping[str, int]) -> list[str]:
    return st.multiselect(
        column_name(column),
        list(counts),
        format_func=lambda value: f"{value} ({counts[value]})" if value in counts else value,
        placeholder="any",
        key=f"filter {column}",
        persist_state="session",
    )


def _ages(youngest: float, oldest: float) -> tuple[float, float] | None:
    """The age range that was chosen, or None where the slider covers everybody."""
    if youngest == oldest:
        return None
    key = age_key(youngest, oldest)
    st.session_state.setdefault(key, (youngest, oldest))
    chosen = st.slider(
        "Age in years",
        youngest,
        oldest,
        step=1.0,
        format="%d",
        help="A narrowed range leaves out scans without an age. Ages from 90 on are pooled as 90.",
        key=key,
        persist_state="session",
    )
    low, high = cast("tuple[float, float]", chosen)  # a range, as its state is one
    return None if (low, high) == (youngest, oldest) else (low, high)


def _labels(labels: Mapping[str, Mapping[str, int]]) -> list[In]:
    """One term a label: any of its chosen values."""
    options = [(name, value) for name, counts in labels.items() for value in counts]
    if not options:
        return []
    chosen = st.multiselect(
        "Labels",
        options,
        format_func=lambda option: f"{option[0]}: {option[1]} ({labels.get(option[0], {}).get(option[1], 0)})",
        placeholder="any",
        help="Values of one label are alternatives; different labels must all hold.",
        key="filter labels",
        persist_state="session",
    )
    values: dict[str, list[str]] = {}
    for name, value in chosen:
        values.setdefault(name, []).append(value)
    return [In(name, tuple(some)) for name, some in values.items()]
