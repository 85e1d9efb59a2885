"""Compare: a query and a scan of the archive side by side, and where their score comes from."""

import streamlit as st

from app.address import back_to
from app.cards import alt_text, chips, facts_line, head, picture
from app.case import SEARCH_PAGE, search_from
from app.charts import match
from app.guidance import say, spec_or_guide
from app.in_hand import answered, case_number, current_query, view_of_case
from app.matching import is_aligned
from app.own_viewer import offer_viewer
from app.querying import Query
from app.session import open_archive
from app.standing import marks
from app.viewer import Shown, viewer
from app.words import literal
from raptor_search.archive import Archive
from raptor_search.catalog import VolumeRecord
from raptor_search.errors import RaptorError, ReadError
from raptor_search.explain import Shares
from raptor_search.search import Hit

__all__ = ["show"]

AVERAGES = (
    "Each cell is an average along its plane's normal: it says where in the picture two scans match, not in which "
    "slice, so that it lies over every slice of its plane. Cells are not registered between scans."
)


def show() -> None:
    """Draw the page."""
    archive = open_archive()
    stored = spec_or_guide(archive)
    if stored is None:
        return
    try:
        query, case = current_query(archive, stored), case_number("hit")
        record = None if case is None else archive.catalog.volume(case)
        if query is None or record is None:
            st.title("Compare", anchor=False)
            _nothing()
            return
        found = answered(query, record.id)
        parts = archive.explain(*found) if found else archive.compare(query.question, record.id)
    except RaptorError as error:
        st.title("Compare", anchor=False)
        say(error)
        return
    _title(archive, query, record)
    _heads(query, record, parts, found[1] if found else None)
    aligned = is_aligned(query.question.stored.spec)
    _scans(archive, query, record, parts, aligned=aligned)
    chips(record.labels, marks(query, *found) if found else [])
    st.caption(
        f"The score of {parts.score:.3f} is a sum over the cells of the three planes: orange ones speak for the match, "
        f"blue ones against it. {AVERAGES}"
        if aligned
        else "This archive's recipe cuts the slices in another way than the viewer, so that the cells are left out."
    )


def _nothing() -> None:
    st.info("Nothing is chosen yet: search, then press Compare on a hit.", icon=":material/compare:")
    if st.button("Go to Search", icon=":material/search:"):
        st.switch_page(SEARCH_PAGE)


def _title(archive: Archive, query: Query, record: VolumeRecord) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title("Compare", anchor=False, width="stretch")
        if st.button("Back to the hits", icon=":material/arrow_back:", type="tertiary"):
            st.switch_page(SEARCH_PAGE, query_params=back_to(query.case))
        search_from(record.id, key="from")
        offer_viewer(archive, record.id, key="own viewer")


def _heads(query: Query, record: VolumeRecord, parts: Shares, hit: Hit | None) -> None:
    """What is compared, a line or two each, so that the scans come soon."""
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader(literal(query.title), anchor=False)
        st.caption(literal(" · ".join(query.facts)))
    with right:
        if hit is None:
            st.subheader(f"Case {record.id} · {parts.score:.3f}", anchor=False)
        else:
            head(rank=hit.rank, score=hit.score, percentile=hit.percentile, exact=hit.exact, case=record.id)
        facts_line(record)


def _scans(archive: Archive, query: Query, record: VolumeRecord, parts: Shares, *, aligned: bool) -> None:
    """Both scans in the viewer; where the voxels of one cannot be had, the stored pictures of both."""
    try:
        with st.spinner("Reading the scans", show_time=False):
            pair = [
                Shown(query.title, query.view or view_of_case(archive, int(query.case or 0))),
                Shown(f"Case {record.id}", view_of_case(archive, record.id)),
            ]
    except ReadError as error:
        st.warning(literal(f"{error.message}; the stored pictures are shown instead."), icon=":material/folder_off:")
        _stored(archive, query, record, parts, aligned=aligned)
        return
    viewer(pair, key="compare", shares=parts if aligned else None)


def _stored(archive: Archive, query: Query, record: VolumeRecord, parts: Shares, *, aligned: bool) -> None:
    pictures = {
        f"{query.title}: axial, coronal and sagittal middle slices": query.picture,
        alt_text(record): archive.catalog.preview(record.id),
    }
    opacity = st.slider("Overlay", 0.0, 1.0, 0.6, 0.05)
    for alt, png in pictures.items():
        if png is None or not aligned:
            picture(png, alt)
            continue
        st.plotly_chart(
            match(png, parts.cells, opacity=opacity), key=f"stored {alt}", config={"displayModeBar": False}, alt=alt
        )


if __name__ == "__main__":
    show()
