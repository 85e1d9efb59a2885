"""Labels: what the neighbours propose for scans without a value, and what people decide about it."""

from collections.abc import Sequence

import streamlit as st

from app.decisions import by_hand, decided, many_at_once
from app.facets import Facets, facets
from app.guidance import remarks, spec_or_guide
from app.proposed import Proposed, ask_again, proposed
from app.review import queue
from app.session import open_archive
from app.words import count, literal
from raptor_search.archive import Archive
from raptor_search.catalog import StoredSpec
from raptor_search.labelling import LabelProposal

__all__ = ["show"]

PARTS = ("Review", "Many at once", "Decisions", "By hand")

UNSURE = 10
"""Scans on a page for which nothing is proposed."""


def show() -> None:
    """Draw the page."""
    archive = open_archive()
    st.title("Labels", anchor=False)
    stored = spec_or_guide(archive)
    if stored is None:
        return
    st.write("Scans that are alike often share a label. The labelled ones propose a value for the others; you decide.")
    names = archive.catalog.label_names()
    with st.container(horizontal=True, vertical_alignment="bottom"):
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
        part = st.segmented_control(
            "What to do", PARTS, default=PARTS[0], required=True, key="part", label_visibility="collapsed"
        )
    if not label:
        return
    if part == PARTS[2]:
        decided(archive, label)
    elif part == PARTS[3]:
        by_hand(archive, stored, label)
    elif label not in {*names, *archive.catalog.columns()}:
        st.info(
            f"No scan has a value of {literal(label)} yet: give some of them one under \u201c{PARTS[3]}\u201d, or draw "
            "around them on the page Cohort. The others are asked then.",
            icon=":material/label:",
        )
    elif (now := proposed(archive, stored, label)) is not None:
        _proposals(archive, stored, label, now, part)


def _first_open(names: Sequence[str], known: Facets) -> int | None:
    """Where to begin: a label of several values that some scan lacks."""
    counts = (known.labels.get(name, {}) for name in names)
    return next((row for row, some in enumerate(counts) if len(some) > 1 and sum(some.values()) < known.scans), None)


def _proposals(archive: Archive, stored: StoredSpec, label: str, now: Proposed, part: str) -> None:
    done = set(archive.catalog.decided_ids(label).tolist())
    open_ = [item for item in now.found.items if item.volume_id not in done]
    waiting = [item for item in open_ if item.abstained is None]
    unsure = [item for item in open_ if item.abstained is not None]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            f"{count(now.found.labelled, 'scan')} with a value · **{len(waiting):,} to review** · "
            f"{len(unsure):,} with nothing proposed",
            width="content",
        )
        ask_again(archive, stored, label)
    st.caption(now.source)
    if now.found.confidence_kind == "calibrated":
        st.caption("Confidence: how often such a proposal was right for patients whose label is known.")
    remarks(now.found.notes)
    if part == PARTS[0]:
        queue(archive, label, now, waiting)
    else:
        many_at_once(archive, label, now.found, waiting)
        if unsure:
            _unsure(unsure)


def _unsure(unsure: Sequence[LabelProposal]) -> None:
    with st.expander(f"{count(len(unsure), 'scan')} for which nothing is proposed"):
        pages = -(-len(unsure) // UNSURE)
        page = st.pagination(pages, key="unsure page") if pages > 1 else 1
        for item in unsure[UNSURE * (page - 1) : UNSURE * page]:
            st.write(f"Case {item.volume_id}: {literal(item.abstained or '')}")


if __name__ == "__main__":
    show()
