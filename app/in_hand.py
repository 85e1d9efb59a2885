"""What a session has in hand: its query, the answer that it saw last, and the scans that it looks at.

All of it lies in the session, so that nothing of one user reaches another.
"""

import re
from typing import cast

import streamlit as st

from app.querying import Query, of_case
from app.session import identity
from raptor_search.archive import Archive
from raptor_search.catalog import StoredSpec
from raptor_search.search import Hit, SearchResult
from raptor_search.viewing import View, view_of

__all__ = ["answered", "case_number", "current_query", "view_of_case"]

KEPT_VIEWS = 2
"""Scans of the archive whose voxels a session keeps: a pair."""

_CASE = re.compile("[0-9]{1,18}")


def case_number(parameter: str) -> int | None:
    """The case that the address names by a parameter."""
    text = st.query_params.get(parameter, "")
    return int(text) if _CASE.fullmatch(text) else None


def current_query(archive: Archive, stored: StoredSpec) -> Query | None:
    """The case that the address names, else the upload that this session embedded under the spec.

    Raises:
        UsageError: there is no such case.
        CatalogError: it is not embedded under the spec.
    """
    case = case_number("case")
    if case is not None:
        return of_case(archive, stored, case)
    uploaded = cast("Query | None", st.session_state.get("uploaded"))
    if uploaded is None:
        return None
    under = uploaded.question.stored
    return uploaded if (under.id, under.fingerprint) == (stored.id, stored.fingerprint) else None


def answered(query: Query, case: int) -> tuple[SearchResult, Hit] | None:
    """The answer that this session saw last and the case's place in it, where it is one to this query."""
    kept = st.session_state.get("answer")
    if kept is None or kept[0][:3] != (query.case, query.question.content_key, query.question.stored.fingerprint):
        return None
    result = cast(SearchResult, kept[1])
    hit = next((hit for hit in result.hits if hit.volume_id == case), None)
    return None if hit is None else (result, hit)


def view_of_case(archive: Archive, case: int) -> View:
    """The voxels of a case, read from its file; the last ones stay in the session.

    Raises:
        UsageError: there is no such case.
        ReadError: its file is gone, has changed, or cannot be read.
    """
    record = archive.catalog.volume(case)
    name = (identity(), case, record.content_key)
    kept: dict[object, View] = st.session_state.setdefault("views", {})
    if name not in kept:
        read = archive.open_source(case)
        kept[name] = view_of(read.scan.volume, modality=record.modality)
        while len(kept) > KEPT_VIEWS:
            del kept[next(iter(kept))]
    return kept[name]
