"""One case of the archive: its picture, what is known of it, and the scans most like it."""

from collections.abc import Sequence

import streamlit as st

from app.address import fresh
from app.cards import alt_text, chips, facts_line, picture
from app.standing import above_pairs
from app.words import column_name, literal, shown
from raptor_search.archive import Archive

__all__ = ["gallery", "neighbours", "open_case", "search_from", "show_case"]

SEARCH_PAGE = "views/search.py"
NEIGHBOURS = 3


def show_case(archive: Archive, case: int) -> None:
    """The case as a card of its own."""
    with st.container(border=True):
        st.subheader(f"Case {case}", anchor=False)
        _body(archive, case)


def open_case(archive: Archive, case: int) -> None:
    """The case over the page that it was found on."""
    st.dialog(f"Case {case}", width="medium")(_body)(archive, case)


def _body(archive: Archive, case: int) -> None:
    """Picture, facts, labels, all metadata, and where it came from on request."""
    record = archive.catalog.volume(case)
    picture(archive.catalog.preview(case), alt_text(record))
    facts_line(record)
    chips(record.labels)
    with st.expander("All that is known"):
        known = {column_name(name): shown(value) for name, value in record.metadata.items() if value is not None}
        st.table({"": list(known), " ": list(known.values())}, hide_index=True)
        if archive.principal.may("identify") and st.toggle("Show where it came from", key=f"source of {case}"):
            st.text(archive.locator(case))
    search_from(case, key=f"search from case {case}")


def neighbours(archive: Archive, case: int) -> None:
    """The scans most like a case, small."""
    st.subheader("Most similar", anchor=False)
    for hit in archive.search(case, k=NEIGHBOURS).hits:
        with st.container(border=True):
            left, right = st.columns([3, 2], vertical_alignment="center")
            with left:
                picture(archive.catalog.preview(hit.volume_id), alt_text(hit.record))
            with right:
                st.markdown(f"**{hit.score:.3f}** · Case {hit.volume_id}")
                if hit.percentile is not None:
                    st.caption(above_pairs(hit.percentile))
                st.caption(literal(", ".join(f"{name}: {value}" for name, value in hit.record.labels.items())))


def search_from(case: int, *, key: str) -> None:
    """A button that opens the search page with this case as the query."""
    if st.button("Search from here", key=key, icon=":material/search:", type="tertiary"):
        st.switch_page(SEARCH_PAGE, query_params=fresh(case))


def gallery(archive: Archive, cases: Sequence[int]) -> None:
    """A few cases side by side, each of them a place to start from."""
    for column, record in zip(st.columns(len(cases), gap="medium"), archive.catalog.volumes(cases), strict=False):
        with column, st.container(border=True):
            picture(archive.catalog.preview(record.id), alt_text(record))
            facts_line(record)
            search_from(record.id, key=f"gallery {record.id}")
