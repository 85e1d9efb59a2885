"""One case of the archive: its picture, what is known of it, and the scans most like it."""

import streamlit as st

from app.cards import alt_text, chips, facts_line, picture
from app.words import column_name, literal, shown
from raptor_search.archive import Archive

__all__ = ["neighbours", "search_from", "show_case"]

SEARCH_PAGE = "views/search.py"
NEIGHBOURS = 3


def show_case(archive: Archive, case: int) -> None:
    """The case as a card: picture, facts, labels, all metadata, and where it came from on request."""
    record = archive.catalog.volume(case)
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.subheader(f"Case {case}", anchor=False)
            search_from(case, key=f"search from case {case}")
        picture(archive.catalog.preview(case), alt_text(record))
        facts_line(record)
        chips(record.labels)
        with st.expander("All that is known"):
            known = {column_name(name): shown(value) for name, value in record.metadata.items() if value is not None}
            st.table({"": list(known), " ": list(known.values())}, hide_index=True)
            if st.toggle("Show where it came from", key=f"source of {case}"):
                st.text(archive.catalog.locator(case))


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
                st.caption(literal(", ".join(f"{name}: {value}" for name, value in hit.record.labels.items())))


def search_from(case: int, *, key: str) -> None:
    """A button that opens the search page with this case as the query."""
    if st.button("Search from here", key=key, icon=":material/search:", type="tertiary"):
        st.switch_page(SEARCH_PAGE, query_params={"case": str(case)})
