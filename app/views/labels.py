"""Labels: what the neighbours propose for scans without a value, and what people decide about it."""

from collections.abc import Sequence
from typing import cast

import streamlit as st

from app.cards import alt_text, facts_line, picture
from app.decisions import accept_all, by_hand, decide_one, decided
from app.facets import Facets, facets
from app.guidance import remarks, say, spec_or_guide
from app.session import open_archive
from app.words import count, literal
from raptor_search.archive import Archive
from raptor_search.catalog import StoredSpec
from raptor_search.errors import QueryError
from raptor_search.labelling import LabelProposal, LabelProposals, proposals

__all__ = ["show"]

PAGE = 6
VOTERS = 3


def show() -> None:
    """Draw the page."""
    archive = open_archive()
    st.title("Labels", anchor=False)
    stored = spec_or_guide(archive)
    if stored is None:
        return
    st.write("Scans that are alike often share a label. The labelled ones propose a value for the others; you decide.")
    names = archive.catalog.label_names()
    label = st.selectbox(
        "Label",
        names,
        index=_first_open(names, facets(archive, stored)),
        accept_new_options=True,
        placeholder="Choose a label, or type a new name",
        key="label",
        persist_state="session",
        width=320,
    )
    if not label:
        return
    found = _proposals(archive, stored, label)
    review, history, hand = st.tabs(["Review", "Decisions", "Give a value by hand"])
    with review:
        if isinstance(found, QueryError):
            say(found)
            st.caption("Values that are given by hand (third tab) count too.")
        else:
            _review(archive, label, found)
    with history:
        decided(archive, label)
    with hand:
        by_hand(archive, stored, label)


def _first_open(names: Sequence[str], known: Facets) -> int | None:
    """Where to begin: a label of several values that some scan lacks."""
    counts = (known.labels.get(name, {}) for name in names)
    return next((row for row, some in enumerate(counts) if len(some) > 1 and sum(some.values()) < known.scans), None)


def _proposals(archive: Archive, stored: StoredSpec, label: str) -> LabelProposals | QueryError:
    """The proposals, or why there are none; kept for the session until they are asked for again.

    What is decided meanwhile leaves the list but does not reshuffle the rest.
    """
    kept = st.session_state.get("proposals")
    wanted = (label, stored.fingerprint, archive.catalog.embedding_high_water(stored.id))
    if kept is None or kept[0] != wanted:
        with st.spinner("The labelled scans are asked"):
            try:
                kept = wanted, proposals(archive, label)
            except QueryError as error:
                kept = wanted, error
        st.session_state["proposals"] = kept
    return cast("LabelProposals | QueryError", kept[1])


def _ask_again() -> None:
    st.session_state.pop("proposals", None)


def _review(archive: Archive, label: str, found: LabelProposals) -> None:
    done = {record.volume_id for record in archive.catalog.labels(label)}
    open_ = [item for item in found.items if item.volume_id not in done]
    sure = sorted((item for item in open_ if item.abstained is None), key=lambda item: -item.confidence)
    unsure = [item for item in open_ if item.abstained is not None]
    _overview(found, open_, unsure)
    chosen = _narrow(archive, label, found, sure)
    _page(archive, label, chosen, of="shown")
    if unsure:
        with st.expander(f"{count(len(unsure), 'scan')} for which nothing is proposed"):
            for item in unsure[:PAGE]:
                st.write(f"Case {item.volume_id}: {literal(item.abstained or '')}")
            if len(unsure) > PAGE:
                st.caption(f"... and {len(unsure) - PAGE:,} more")


def _overview(found: LabelProposals, open_: Sequence[LabelProposal], unsure: Sequence[LabelProposal]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        st.metric("Scans with a value", f"{found.labelled:,}", width="content")
        st.metric("To review", f"{len(open_):,}", width="content")
        st.metric("Nothing proposed", f"{len(unsure):,}", width="content")
        st.button(
            "Ask again",
            icon=":material/refresh:",
            on_click=_ask_again,
            help="Let what has been decided since take part.",
        )
    if found.confidence_kind == "calibrated":
        st.caption("Confidence: how often such a proposal was right for patients whose label is known.")
    remarks(found.notes)


def _narrow(
    archive: Archive, label: str, found: LabelProposals, sure: Sequence[LabelProposal]
) -> Sequence[LabelProposal]:
    """The proposals at or above a confidence and of one value; all of them can be accepted at once."""
    left, middle, right = st.columns([2, 2, 2], vertical_alignment="bottom", gap="large")
    with left:
        threshold = st.slider("Confidence at or above", 0.0, 1.0, 0.6, 0.01, key="threshold")
    with middle:
        value = st.selectbox("Proposed value", list(found.classes), index=None, placeholder="any", key="proposed value")
    chosen = [item for item in sure if item.confidence >= threshold and value in (None, item.value)]
    with right:
        accept_all(archive, label, chosen)
    return chosen


def _page(archive: Archive, label: str, items: Sequence[LabelProposal], *, of: str) -> None:
    if not items:
        st.info("Nothing to review here.", icon=":material/done_all:")
        return
    pages = range(0, len(items), PAGE)
    page = st.pagination(len(pages), key=f"page {of}") if len(pages) > 1 else 1
    start = pages[page - 1]
    for row in range(start, min(start + PAGE, len(items)), 2):
        for column, item in zip(st.columns(2, gap="medium"), items[row : row + 2], strict=False):
            with column:
                _card(archive, label, item)


def _card(archive: Archive, label: str, item: LabelProposal) -> None:
    record = archive.catalog.volume(item.volume_id)
    with st.container(border=True, key=f"proposal-{item.volume_id}"):
        st.markdown(f"Case {item.volume_id}: **{literal(item.value or '')}** at {item.confidence:.0%}")
        picture(archive.catalog.preview(item.volume_id), alt_text(record))
        facts_line(record)
        _voters(archive, "Neighbours for it", item.speak_for)
        _voters(archive, "Neighbours against it", item.speak_against)
        decide_one(archive, label, item)


def _voters(archive: Archive, title: str, voters: Sequence[int]) -> None:
    st.caption(f"{title}: {', '.join(f'case {case}' for case in voters) or 'none'}")
    if voters:
        columns = st.columns(VOTERS)
        for column, record in zip(columns, archive.catalog.volumes(voters[:VOTERS]), strict=False):
            with column:
                picture(archive.catalog.preview(record.id), alt_text(record))


if __name__ == "__main__":
    show()
