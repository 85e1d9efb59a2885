"""What people decide about labels: accept, reject, give by hand, and take back. Each keeps its origin and author."""

from collections.abc import Sequence

import streamlit as st

from app.facets import forget_facets
from app.session import author
from app.words import count, literal, when
from raptor_search.archive import Archive
from raptor_search.catalog import LabelRecord, StoredSpec
from raptor_search.labelling import LabelProposal, accept, reject, undo

__all__ = ["accept_all", "by_hand", "decide_one", "decided"]

SHOWN = 20
"""Decisions listed, the latest first."""

ORIGINS = {"given": "given with the files", "accepted": "accepted here", "rejected": "rejected here"}


def decide_one(archive: Archive, label: str, item: LabelProposal) -> None:
    """The two buttons below a proposal."""
    with st.container(horizontal=True):
        accepted = st.button("Accept", key=f"accept {item.volume_id}", icon=":material/check:", type="primary")
        rejected = st.button("Reject", key=f"reject {item.volume_id}", icon=":material/close:")
    if accepted:
        accept(archive, label, [item], author=author())
        _changed(f"Case {item.volume_id}: accepted")
    if rejected:
        reject(archive, label, [item], author=author())
        _changed(f"Case {item.volume_id}: rejected")


def accept_all(archive: Archive, label: str, items: Sequence[LabelProposal]) -> None:
    """One button for all proposals that are shown, with their number on it."""
    if st.button(f"Accept these {len(items):,}", disabled=not items, icon=":material/done_all:", key="accept all"):
        accept(archive, label, items, author=author())
        _changed(f"{count(len(items), 'proposal')} accepted")


def decided(archive: Archive, label: str) -> None:
    """How many values there are of each origin, and the latest decisions, each with a button that takes it back."""
    records = archive.catalog.labels(label)
    if not records:
        st.info("No scan has a value of this label.")
        return
    for origin, words in ORIGINS.items():
        if some := [record for record in records if record.origin == origin]:
            st.write(f"{len(some):,} {words}")
    mine = sorted((r for r in records if r.origin != "given"), key=lambda record: -record.changed_at)
    for record in mine[:SHOWN]:
        _decision(archive, label, record)
    if len(mine) > SHOWN:
        st.caption(f"... and {len(mine) - SHOWN:,} earlier ones")


def _decision(archive: Archive, label: str, record: LabelRecord) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        how = f"{record.origin} at {record.confidence:.0%}" if record.confidence is not None else "given by hand"
        st.markdown(
            f"Case {record.volume_id}: **{literal(record.value)}** {how} "
            f"by {literal(record.author or 'unknown')}, {when(record.changed_at)}",
            width="content",
        )
        if st.button("Undo", key=f"undo {record.volume_id}", icon=":material/undo:"):
            undo(archive, label, record.volume_id, author=author())
            _changed(f"Case {record.volume_id}: decision taken back")


def by_hand(archive: Archive, stored: StoredSpec, label: str) -> None:
    """A value for a scan that no file gave one, so that a new label can begin."""
    ids = archive.catalog.ids(stored.id)
    records = archive.catalog.labels(label)
    given = {record.volume_id for record in records if record.origin == "given"}
    values = sorted({record.value for record in records if record.origin != "rejected"})
    with st.form("by hand", width=420):
        case = st.number_input("Case number", int(ids[0]), int(ids[-1]), value=None, key="case by hand")
        typed = st.selectbox(
            "Value",
            values,
            index=None,
            accept_new_options=True,
            placeholder="Choose or type",
            key="value by hand",
        )
        value = (typed or "").strip()
        if st.form_submit_button("Give this value", icon=":material/label:"):
            if case is None or not value:
                st.error("Give both a case number and a value.")
            elif case in given:
                st.error(f"Case {case} has its value from the files, which is never overwritten.")
            else:
                archive.require("label")
                archive.catalog.audit(author(), "label given by hand", f"volume {case}, {label}")
                archive.catalog.set_label(int(case), label, value, origin="accepted", author=author())
                _changed(f"Case {case}: value given")


def _changed(message: str) -> None:
    """Drop what was counted before the change, and show the page anew."""
    forget_facets()
    st.toast(message, icon=":material/check:")
    st.rerun()
