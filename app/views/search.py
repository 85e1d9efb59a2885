"""Search: upload a scan or pick one of the archive, and see the scans most like it."""

from typing import Any, cast

import streamlit as st

from app.address import follow, forget, fresh, keep, note
from app.cards import alt_text, chips, facts_line, head, picture
from app.case import gallery, open_case, search_from
from app.charts import cells
from app.downloads import offer_downloads
from app.facets import Facets, facets
from app.filters import Asked, ask
from app.guidance import remarks, say, spec_or_guide
from app.in_hand import current_query, view_of_case
from app.matching import explain, is_aligned
from app.own_viewer import offer_viewer
from app.querying import Query, answer, seen
from app.session import open_archive
from app.standing import WEAK, marks, stands_out
from app.steering import EMPTY, add_example, take_region
from app.uploads import title
from app.viewer import Shown, viewer
from app.waiting import ROUND, embedded, give_up, is_on_its_way
from app.words import count, literal
from raptor_search.archive import Archive
from raptor_search.catalog import StoredSpec, VolumeRecord
from raptor_search.errors import QueryError, RaptorError, ReadError, UsageError
from raptor_search.readers.result import ReadResult
from raptor_search.search import Hit, SearchResult

__all__ = ["show"]

# Cases that the list to pick from shows; a larger archive takes a case's number.
LISTED_CASES = 2_000

GALLERY = 3
COMPARE_PAGE = "views/compare.py"

# Sentences on what a link asks for in vain.
SHOWN_MISSING = 5

CENTRED_ON = {
    "archive": "centred on the mean of this archive",
    "reference": "centred on a reference mean that is shipped with the encoder",
    "none": "not centred, because this archive is too small for a mean",
}

STEERS = (
    ("More like this", "like", ":material/thumb_up:"),
    ("Less like this", "unlike", ":material/thumb_down:"),
)


def show() -> None:
    """Draw the page."""
    archive = open_archive()
    stored = spec_or_guide(archive)
    if stored is None:
        return
    known = facets(archive, stored)
    missing = follow(known)
    asked, refused = _filters(archive, known)
    st.title("Find similar scans", anchor=False)
    query = _current(archive, stored)
    if query is None:
        if refused is not None:
            say(refused)
        _choose(archive, stored)
        return
    if query.case is not None:
        keep(query.case, known)
    for sentence in missing[:SHOWN_MISSING]:
        st.warning(literal(sentence), icon=":material/link_off:")
    if asked is not None:
        try:
            result = answer(archive, query, asked)
        except (QueryError, UsageError) as error:
            refused = error
        else:
            _query_card(archive, query, asked, result)
            _standing(result, asked)
            _hits(archive, query, result, asked)
            return
    _query_card(archive, query, asked, None)
    if refused is not None:
        say(refused)


def _filters(archive: Archive, known: Facets) -> tuple[Asked | None, RaptorError | None]:
    """What the side asks for; or why it cannot be read, to be said where the hits would be: a phone hides the side."""
    with st.sidebar:
        try:
            return ask(known, archive.catalog.columns()), None
        except QueryError as error:
            return None, error
        finally:
            note(known)


def _current(archive: Archive, stored: StoredSpec) -> Query | None:
    try:
        return current_query(archive, stored)
    except RaptorError as error:
        say(error)
        return None


def _forget_query() -> None:
    forget()
    st.session_state.pop("uploaded", None)
    st.session_state.update(EMPTY)


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
    round_ = st.session_state.setdefault(ROUND, 0)
    files = st.file_uploader(
        "NIfTI, NRRD, a zip of one DICOM series, or all files of one series",
        accept_multiple_files=True,
        key=f"upload {round_}",
        on_change=give_up,
    )
    st.caption("The file is read, embedded and deleted; nothing of it enters the archive.")
    if not files and not is_on_its_way():
        if failed := st.session_state.get("upload error"):
            say(failed)
        return
    st.session_state.pop("upload error", None)
    try:
        st.session_state["uploaded"] = embedded(archive, stored, cast("list[Any]", files), look=_look_at_once)
    except ReadError as error:
        st.session_state["upload error"] = f"{title(files)}: {error.message}"
    except RaptorError as error:
        st.session_state["upload error"] = error.message
    # A new uploader: the browser's bytes are given back, and another scan may follow.
    st.session_state[ROUND] = round_ + 1
    st.rerun()


def _look_at_once(name: str, read: ReadResult) -> None:
    viewer([Shown(name, seen(read))], key="upload viewer")


def _pick(archive: Archive, stored: StoredSpec) -> None:
    ids = archive.catalog.ids(stored.id).tolist()
    if len(ids) > LISTED_CASES:
        case = st.number_input("Case number", ids[0], ids[-1], value=None, placeholder=f"{ids[0]} to {ids[-1]}")
    else:
        names = {record.id: _name(record) for record in archive.catalog.volumes(ids)}
        case = st.selectbox("Case", list(names), index=None, format_func=names.__getitem__, placeholder="Choose one")
    st.caption(f"{count(len(ids), 'scan')} can be searched. The page Cohort shows them as a map.")
    if case is not None:
        st.query_params.from_dict(fresh(case))
        st.rerun()


def _examples(archive: Archive, stored: StoredSpec) -> None:
    """A few cases from all over the archive."""
    ids = archive.catalog.ids(stored.id)
    st.subheader("Some of its scans", anchor=False)
    gallery(archive, ids[:: -(-len(ids) // GALLERY)].tolist())


def _name(record: VolumeRecord) -> str:
    facts = [record.modality, record.body_part, *record.labels.values()]
    return " · ".join([f"Case {record.id}", *(fact for fact in facts if fact)])


def _query_card(archive: Archive, query: Query, asked: Asked | None, result: SearchResult | None) -> None:
    """The query with its picture; without an answer too, so that a slip in a filter does not take it away."""
    with st.container(border=True, key="query"):
        left, right = st.columns([2, 3], gap="medium", vertical_alignment="center")
        with left:
            picture(query.picture, f"{query.title}: axial, coronal and sagittal middle slices")
        with right:
            st.subheader(literal(query.title), anchor=False)
            st.write(literal(" · ".join(query.facts)))
            if query.question.patient_key is None:
                st.caption("It names no patient: hits of the same one cannot be marked or left out.")
            steered = "" if asked is None else _steered(asked)
            if steered:
                st.write(literal(steered))
            with st.container(horizontal=True):
                st.button("New search", icon=":material/restart_alt:", on_click=_forget_query)
                if steered:
                    st.button("Do not steer", icon=":material/undo:", on_click=st.session_state.update, args=(EMPTY,))
                looks = st.toggle("Look at its slices", key="look")
        if looks:
            _look(archive, query)
        if result is not None:
            _part(query, result)


def _standing(result: SearchResult, asked: Asked) -> None:
    """How the hits were come by, and what their scores are worth."""
    manner = "every one was compared" if result.exact else f"{result.candidates:,} of them were compared"
    filters = f" ({literal('; '.join(asked.narrowed))})" if asked.narrowed else ""
    st.caption(
        f"{count(result.passed, 'scan')} pass the filters{filters}, {manner}. A score is a cosine, at most 1, "
        f"{CENTRED_ON[result.centring]}. {_background(result, asked)} Index version {result.index_version or 'none'}."
    )
    if result.nothing_similar:
        st.warning(
            "No hit stands out: scans of different patients here are often as alike as the first.",
            icon=":material/search_off:",
        )
    elif weak := sum(not stands_out(result, hit) for hit in result.hits):
        st.caption(
            f":material/info: {weak:,} of {count(len(result.hits), 'hit')}, marked \u201c{WEAK}\u201d: scans of "
            "different patients here are often as alike. Where all scans are of one kind, it may be of that kind."
        )
    remarks(result.notes)


def _background(result: SearchResult, asked: Asked) -> str:
    """What stands beside a score, or why nothing does."""
    if any(hit.percentile is not None for hit in result.hits):
        return "Beside it: how many of a sample of unrelated pairs, scans of different patients here, are less alike."
    if _steered(asked):
        return "A steered search has no figure for how alike unrelated scans are: read its scores against one another."
    return "How alike unrelated scans are is not known here: read scores against one another."


def _look(archive: Archive, query: Query) -> None:
    """The query in the viewer: an upload's own voxels, or those that a case was indexed from."""
    try:
        view = query.view or view_of_case(archive, int(query.case or 0))
    except ReadError as error:
        st.warning(literal(f"{error.message}; its stored picture is shown instead."), icon=":material/folder_off:")
        return
    viewer([Shown(query.title, view)], key="query viewer")


def _steered(asked: Asked) -> str:
    """What steers the search, in words; empty where nothing does."""
    parts = [
        f"{words} {', '.join(f'case {case}' for case in some)}"
        for words, some in (("more like", asked.like), ("less like", asked.unlike))
        if some
    ]
    if asked.region:
        parts.append(f"compared in {'; '.join(map(str, asked.region))} alone")
    return ", ".join(parts)


def _part(query: Query, result: SearchResult) -> None:
    """The query's picture with its grid, to draw a box on; left out where the pictures show other slices."""
    if not is_aligned(result.spec):
        return
    with st.expander("Compare a part of the picture only", icon=":material/crop_free:", expanded=bool(result.region)):
        st.caption("Draw a box in a plane: it is compared with the same place in the other pictures.")
        st.plotly_chart(
            cells(query.picture, result.spec.grid, result.region),
            key="part",
            on_select=lambda: take_region("part"),
            selection_mode="box",
            config={"displayModeBar": False},
            alt="The query's three planes with the grid of cells that a region is made of",
        )


def _hits(archive: Archive, query: Query, result: SearchResult, asked: Asked) -> None:
    if not result.hits:
        st.info("No scan of this archive passes the filters.", icon=":material/filter_alt_off:")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(f"{count(len(result.hits), 'most similar scan')}", anchor=False, width="stretch")
        offer_downloads(archive, query, result, asked, _steered(asked))
    for start in range(0, len(result.hits), 2):
        for column, hit in zip(st.columns(2, gap="medium"), result.hits[start : start + 2], strict=False):
            with column:
                _hit(archive, query, result, hit)


def _hit(archive: Archive, query: Query, result: SearchResult, hit: Hit) -> None:
    with st.container(border=True, key=f"hit-{hit.rank}"):
        head(rank=hit.rank, score=hit.score, percentile=hit.percentile, exact=hit.exact, case=hit.volume_id)
        picture(archive.catalog.preview(hit.volume_id), alt_text(hit.record))
        facts_line(hit.record)
        chips(hit.record.labels, marks(query, result, hit))
        with st.container(horizontal=True):
            if st.button("Compare", key=f"compare {hit.rank}", icon=":material/compare:", type="tertiary"):
                own_address = {} if query.case is None else {"case": str(query.case)}
                st.switch_page(COMPARE_PAGE, query_params=own_address | {"hit": str(hit.volume_id)})
            if st.button("Why they match", key=f"why {hit.rank}", icon=":material/grid_on:", type="tertiary"):
                explain(archive, query, result, hit)
            if st.button("Details", key=f"details {hit.rank}", icon=":material/info:", type="tertiary"):
                open_case(archive, hit.volume_id)
            search_from(hit.volume_id, key=f"from {hit.rank}")
            offer_viewer(archive, hit.volume_id, key=f"own viewer {hit.rank}")
            for words, key, icon in STEERS:
                st.button(
                    words,
                    key=f"{key} {hit.rank}",
                    icon=icon,
                    type="tertiary",
                    on_click=add_example,
                    args=(key, hit.volume_id),
                )


if __name__ == "__main__":
    show()
