"""Search: upload a scan or pick one of the archive, and see the scans most like it."""

import re
from typing import Any, cast

import streamlit as st

from app.cards import alt_text, chips, facts_line, head, picture
from app.case import gallery, open_case, search_from
from app.facets import facets
from app.filters import Asked, ask
from app.guidance import remarks, say, spec_or_guide
from app.matching import explain
from app.querying import Query, answer, of_case, of_files
from app.session import embedding_turn, open_archive
from app.uploads import title
from app.words import count, literal
from raptor_search.archive import Archive
from raptor_search.catalog import StoredSpec, VolumeRecord
from raptor_search.errors import QueryError, RaptorError, ReadError
from raptor_search.search import Hit, SearchResult

__all__ = ["show"]

# Cases that the list to pick from shows; a larger archive takes a case's number.
LISTED_CASES = 2_000

GALLERY = 3

_CASE = re.compile("[0-9]{1,18}")

CENTRED_ON = {
    "archive": "centred on the mean of this archive",
    "reference": "centred on a reference mean that is shipped with the encoder",
    "none": "not centred, because this archive is too small for a mean",
}


def show() -> None:
    """Draw the page."""
    archive = open_archive()
    stored = spec_or_guide(archive)
    if stored is None:
        return
    asked = _filters(archive, stored)
    st.title("Find similar scans", anchor=False)
    query = _current(archive, stored)
    if query is None:
        _choose(archive, stored)
        return
    if asked is None:
        return
    try:
        result = answer(archive, stored, query, asked)
    except QueryError as error:
        say(error)
        return
    _query_card(query, result, other_patients_of_nobody=asked.other_patients and query.patient_key is None)
    _hits(archive, query, result)


def _filters(archive: Archive, stored: StoredSpec) -> Asked | None:
    with st.sidebar:
        try:
            return ask(facets(archive, stored), archive.catalog.columns())
        except QueryError as error:
            say(error)
            return None


def _current(archive: Archive, stored: StoredSpec) -> Query | None:
    """The query in hand: the case that the address names, else the upload that this session embedded."""
    case = st.query_params.get("case", "")
    try:
        if _CASE.fullmatch(case):
            return of_case(archive, stored, int(case))
    except RaptorError as error:
        say(error)
        return None
    uploaded = cast("Query | None", st.session_state.get("uploaded"))
    return uploaded if uploaded and uploaded.fingerprint == stored.fingerprint else None


def _forget_query() -> None:
    st.query_params.pop("case", None)
    st.session_state.pop("uploaded", None)


def _choose(archive: Archive, stored: StoredSpec) -> None:
    """The two ways to begin."""
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True, height="stretch"):
        st.subheader("Upload a scan", anchor=False)
        _upload(archive, stored)
    with right, st.container(border=True, height="stretch"):
        st.subheader("Or start from a scan of the archive", anchor=False)
        _pick(archive, stored)
    _examples(archive, stored)


def _upload(archive: Archive, stored: StoredSpec) -> None:
    round_ = st.session_state.setdefault("upload round", 0)
    files = st.file_uploader(
        "NIfTI, NRRD, a zip of one DICOM series, or all files of one series",
        accept_multiple_files=True,
        key=f"upload {round_}",
    )
    st.caption("The file is read, embedded and deleted; nothing of it enters the archive.")
    if not files:
        if failed := st.session_state.get("upload error"):
            say(failed)
        return
    st.session_state.pop("upload error", None)
    try:
        st.session_state["uploaded"] = _embed(archive, stored, cast("list[Any]", files))
    except ReadError as error:
        st.session_state["upload error"] = f"{title(files)}: {error.message}"
    except RaptorError as error:
        st.session_state["upload error"] = error.message
    # A new uploader: the browser's bytes are given back, and another scan may follow.
    st.session_state["upload round"] = round_ + 1
    st.rerun()


def _embed(archive: Archive, stored: StoredSpec, files: list[Any]) -> Query:
    place = st.empty()
    bar = st.progress(0.0, "Reading the scan")

    def on_read(png: bytes) -> None:
        place.image(png, width="stretch", alt="The uploaded scan")
        bar.progress(0.0, "Preparing the encoder")

    turn = embedding_turn()
    if not turn.acquire(blocking=False):
        bar.progress(0.0, "Another scan is being embedded; yours is next")
        turn.acquire()
    try:
        return of_files(
            archive,
            stored,
            files,
            on_read=on_read,
            progress=lambda done, total: cast(None, bar.progress(done / total, f"Slice {done} of {total}")),
        )
    finally:
        turn.release()


def _pick(archive: Archive, stored: StoredSpec) -> None:
    ids = archive.catalog.ids(stored.id).tolist()
    if len(ids) > LISTED_CASES:
        case = st.number_input("Case number", ids[0], ids[-1], value=None, placeholder=f"{ids[0]} to {ids[-1]}")
    else:
        names = {record.id: _name(record) for record in archive.catalog.volumes(ids)}
        case = st.selectbox("Case", list(names), index=None, format_func=names.__getitem__, placeholder="Choose one")
    st.caption(f"{count(len(ids), 'scan')} can be searched. The page Cohort shows them as a map.")
    if case is not None:
        st.query_params["case"] = str(case)
        st.rerun()


def _examples(archive: Archive, stored: StoredSpec) -> None:
    """A few cases from all over the archive."""
    ids = archive.catalog.ids(stored.id)
    st.subheader("Some of its scans", anchor=False)
    gallery(archive, ids[:: -(-len(ids) // GALLERY)].tolist())


def _name(record: VolumeRecord) -> str:
    facts = [record.modality, record.body_part, *record.labels.values()]
    return " · ".join([f"Case {record.id}", *(fact for fact in facts if fact)])


def _query_card(query: Query, result: SearchResult, *, other_patients_of_nobody: bool) -> None:
    with st.container(border=True, key="query"):
        left, right = st.columns([2, 3], gap="medium", vertical_alignment="center")
        with left:
            picture(query.picture, f"{query.title}: axial, coronal and sagittal middle slices")
        with right:
            st.subheader(literal(query.title), anchor=False)
            st.write(literal(" · ".join(query.facts)))
            st.button("New search", icon=":material/restart_alt:", on_click=_forget_query)
    manner = "every one was compared" if result.exact else f"{result.candidates:,} of them were compared"
    st.caption(
        f"{count(result.passed, 'scan')} pass the filters, {manner}. A score is a cosine, at most 1, "
        f"{CENTRED_ON[result.centring]}. Index version {result.index_version or 'none'}."
    )
    unknown = ["the query names no patient, so that none could be left out"] if other_patients_of_nobody else []
    remarks((*result.notes, *unknown))


def _hits(archive: Archive, query: Query, result: SearchResult) -> None:
    if not result.hits:
        st.info("No scan of this archive passes the filters.", icon=":material/filter_alt_off:")
        return
    st.header(f"{count(len(result.hits), 'most similar scan')}", anchor=False)
    for start in range(0, len(result.hits), 2):
        for column, hit in zip(st.columns(2, gap="medium"), result.hits[start : start + 2], strict=False):
            with column:
                _hit(archive, query, result, hit)


def _hit(archive: Archive, query: Query, result: SearchResult, hit: Hit) -> None:
    with st.container(border=True, key=f"hit-{hit.rank}"):
        head(rank=hit.rank, score=hit.score, exact=hit.exact, case=hit.volume_id)
        picture(archive.catalog.preview(hit.volume_id), alt_text(hit.record))
        facts_line(hit.record)
        marks = ["same bytes as the query"] if hit.duplicate else []
        if query.patient_key is not None and query.patient_key in (hit.record.patient_key, hit.record.subject_key):
            marks.append("same patient")
        chips(hit.record.labels, marks)
        with st.container(horizontal=True):
            if st.button("Why they match", key=f"why {hit.rank}", icon=":material/grid_on:", type="tertiary"):
                explain(archive, query, result, hit)
            if st.button("Details", key=f"details {hit.rank}", icon=":material/info:", type="tertiary"):
                open_case(archive, hit.volume_id)
            search_from(hit.volume_id, key=f"from {hit.rank}")


if __name__ == "__main__":
    show()
