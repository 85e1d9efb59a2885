"""What is done with the scans that were picked on the map: counted, listed, searched from, labelled, exported."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import streamlit as st

from app.case import SEARCH_PAGE
from app.charts import bars, spread
from app.cohort_data import Column, column_title
from app.facets import forget_facets
from app.filters import DEFAULT_HITS
from app.guidance import say
from app.scan_table import scan_list, scans_csv
from app.session import author
from app.steering import MAX_EXAMPLES
from app.words import count, literal
from raptor_search.archive import Archive
from raptor_search.catalog import Ids, StoredSpec
from raptor_search.cohorts.typical import typical
from raptor_search.deciding import label_many, outlook, undo_many
from raptor_search.errors import RaptorError

__all__ = ["show_picked"]

SHOWN_VALUES = 12
OFFERED_VALUES = 40


def show_picked(
    archive: Archive, stored: StoredSpec, words: str, ids: Ids, counted: Callable[[], tuple[Column, Ids]]
) -> None:
    """The picked scans.

    Args:
        archive: that holds them.
        stored: the spec of the map.
        words: what they are, after their number.
        ids: of them.
        counted: draws the choice of a column, and gives it with the scans' rows in it.
    """
    st.header(f"{count(len(ids), 'scan')} {literal(words)}", anchor=False)
    if not len(ids):
        st.info("No scan that the map shows lies there.", icon=":material/crop_free:")
        st.button("Drop the selection", icon=":material/deselect:", on_click=_drop, key="drop")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        _search_button(archive, stored, ids)
        _export_button(archive, words, ids)
        st.button("Drop the selection", icon=":material/deselect:", on_click=_drop, key="drop")
    with st.expander("Label these", icon=":material/label:", expanded="picked done" in st.session_state):
        _label(archive, stored, ids)
    left, right = st.columns([2, 3], gap="large")
    with left:
        st.subheader("What they are", anchor=False)
        _counts(*counted())
    with right:
        st.subheader("The scans", anchor=False)
        scan_list(archive, ids, key="picked")


def _drop() -> None:
    st.session_state.pop("cohort picked", None)
    st.session_state.pop("picked done", None)


def _search_button(archive: Archive, stored: StoredSpec, ids: Ids) -> None:
    more = f", and {MAX_EXAMPLES} of the others, evenly taken, pull" if len(ids) > MAX_EXAMPLES else ", the others pull"
    asked = st.button(
        "Search like these",
        icon=":material/search:",
        type="primary",
        key="search like these",
        help=f"The most typical of them is the query{more} it towards them.",
    )
    if asked:
        try:
            first, *others = typical(archive.catalog, stored, ids, count=1 + MAX_EXAMPLES)
        except RaptorError as error:
            say(error)
            return
        wanted = {"case": str(first), "k": str(DEFAULT_HITS)}
        if others:
            wanted["like"] = ", ".join(map(str, others))
        st.switch_page(SEARCH_PAGE, query_params=wanted)


def _export_button(archive: Archive, words: str, ids: Ids) -> None:
    who = author()

    def table() -> bytes:
        archive.audit("export", f"{len(ids)} scans {words}", author=who)
        return scans_csv(archive, ids, words)

    st.download_button(
        "Export as CSV",
        table,
        file_name="picked-scans.csv",
        mime="text/csv",
        key="export",
        on_click="ignore",
        icon=":material/download:",
        disabled=not archive.principal.may("export"),
    )


def _counts(column: Column, rows: Ids) -> None:
    title = column_title(column.name)
    if column.numbers is not None:
        known = column.numbers[rows]
        known = known[~np.isnan(known)]
        if known.size:
            alt = f"How many of the picked scans have which {title}"
            st.plotly_chart(spread(known), key="picked spread", config={"displayModeBar": False}, alt=alt)
        _without(len(rows) - known.size)
        return
    values = [value for value in column.values(rows) if value is not None]
    found = Counter(values)
    shown = dict(found.most_common(SHOWN_VALUES))
    if shown:
        alt = f"The picked scans by {title}: " + ", ".join(f"{name} {number}" for name, number in shown.items())
        st.plotly_chart(bars(shown), key="picked bars", config={"displayModeBar": False}, alt=alt)
    if len(found) > len(shown):
        st.caption(f"and {len(found) - len(shown):,} rarer values")
    _without(len(rows) - len(values))


def _without(number: int) -> None:
    if number:
        st.caption(f"{count(number, 'scan')} without a value")


def _label(archive: Archive, stored: StoredSpec, ids: Ids) -> None:
    if not archive.principal.may("label"):
        st.caption("To decide about labels takes the role curator.")
        return
    done = st.session_state.get("picked done")
    if done is not None:
        label, value, given = done
        with st.container(horizontal=True, vertical_alignment="center"):
            st.success(
                f"{count(len(given), 'scan')} got {literal(label)}: {literal(value)}, accepted by {literal(author())}."
            )
            st.button("Undo", icon=":material/undo:", key="undo picked", on_click=_undo, args=(archive,))
    left, right = st.columns(2)
    with left:
        name = st.selectbox(
            "Label",
            archive.catalog.label_names(),
            index=None,
            accept_new_options=True,
            placeholder="Choose a label, or type a new name",
            key="picked label",
        )
    label = (name or "").strip()
    with right:
        value = st.selectbox(
            "Value",
            _known_values(archive, stored, label),
            index=None,
            accept_new_options=True,
            placeholder="Choose or type",
            key="picked value",
        )
    if not label or not (value or "").strip():
        st.caption("They get the value as accepted by you, now. A scan that has a value keeps it.")
        return
    ahead = outlook(archive, label, ids)
    kept = [
        f"{number:,} keep a value {how}"
        for number, how in ((ahead.given, "from their files"), (ahead.accepted, "accepted before"))
        if number
    ]
    st.write("; ".join([f"{count(ahead.open, 'scan')} will get it", *kept]) + ".")
    st.button(
        f"Give {literal(str(value).strip())} to {count(ahead.open, 'scan')}",
        icon=":material/label:",
        disabled=not ahead.open,
        key="give picked",
        on_click=_give,
        args=(archive, label, str(value).strip(), ids),
    )


def _known_values(archive: Archive, stored: StoredSpec, label: str) -> list[str]:
    if label not in archive.catalog.label_names():
        return []
    return [str(value) for value in archive.catalog.value_counts(label, stored.id, limit=OFFERED_VALUES)]


def _give(archive: Archive, label: str, value: str, ids: Ids) -> None:
    try:
        given = label_many(archive, label, value, ids, author=author())
    except RaptorError as error:
        st.toast(literal(error.message), icon=":material/error:")
        return
    st.session_state["picked done"] = label, value, given
    st.session_state["picked value"] = None
    forget_facets()


def _undo(archive: Archive) -> None:
    label, _, given = st.session_state.pop("picked done")
    undo_many(archive, label, given, author=author())
    forget_facets()
