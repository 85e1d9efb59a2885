"""What people decide about many scans, by hand, and take back. Each decision keeps its origin, author and time."""

from collections import Counter
from collections.abc import Sequence

import streamlit as st

from app.cards import alt_text, facts_line, picture
from app.facets import forget_facets
from app.guidance import say
from app.review import Step, last_step, remember
from app.scan_table import scan_list
from app.session import author
from app.words import count, literal, when
from raptor_search.archive import Archive
from raptor_search.catalog import LabelRecord, StoredSpec
from raptor_search.deciding import accept_many, label_one
from raptor_search.errors import RaptorError
from raptor_search.labelling import LabelProposal, LabelProposals, undo

__all__ = ["by_hand", "decided", "many_at_once"]

PAGE = 10
"""Decisions on a page, the latest first."""

OFFERED_VALUES = 40

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Confidences for which the page says beforehand how many proposals reach them."""

ORIGINS = {"given": "given with the files", "accepted": "accepted here", "rejected": "rejected here"}


def many_at_once(archive: Archive, label: str, found: LabelProposals, waiting: Sequence[LabelProposal]) -> None:
    """The proposals at or above a confidence and of one value: how many, which, and one button for all."""
    with st.container(horizontal=True, vertical_alignment="center"):
        last_step(archive, label)
    left, right = st.columns(2, gap="large")
    with left:
        threshold = st.slider("Confidence at or above", 0.0, 1.0, 0.9, 0.01, key="threshold")
    with right:
        value = st.selectbox("Proposed value", list(found.classes), index=None, placeholder="any", key="proposed value")
    of_value = [item for item in waiting if value in (None, item.value)]
    chosen = sorted((item for item in of_value if item.confidence >= threshold), key=lambda item: -item.confidence)
    st.caption("How many reach a confidence")
    st.dataframe([{f"{at:.0%}": sum(item.confidence >= at for item in of_value) for at in THRESHOLDS}], hide_index=True)
    values = Counter(item.value or "" for item in chosen)
    told = ", ".join(f"{number:,} as {literal(name)}" for name, number in values.most_common())
    st.write(f"{count(len(chosen), 'proposal')} would be accepted" + (f": {told}." if told else "."))
    st.button(
        f"Accept these {len(chosen):,}",
        type="primary",
        disabled=not chosen or not archive.principal.may("label"),
        icon=":material/done_all:",
        key="accept all",
        on_click=_accept_all,
        args=(archive, label, chosen),
    )
    scan_list(archive, [item.volume_id for item in chosen], key="chosen")


def _accept_all(archive: Archive, label: str, chosen: Sequence[LabelProposal]) -> None:
    try:
        done = accept_many(archive, label, chosen, author=author())
    except RaptorError as error:
        st.toast(literal(error.message), icon=":material/error:")
        return
    kept = len(chosen) - len(done)
    words = f"{count(len(done), 'proposal')} accepted by {author()}" + (
        f"; {kept:,} had a value by now" if kept else ""
    )
    remember(Step(label, tuple(done), words))


def decided(archive: Archive, label: str) -> None:
    """How many values there are of each origin, and the decisions, each with a button that takes it back."""
    origins = archive.catalog.origin_counts(label)
    if not origins:
        st.info("No scan has a value of this label.")
        return
    for origin, words in ORIGINS.items():
        if origin in origins:
            st.write(f"{origins[origin]:,} {words}")
    mine = origins.get("accepted", 0) + origins.get("rejected", 0)
    pages = -(-mine // PAGE)
    page = st.pagination(pages, key="decisions page") if pages > 1 else 1
    for record in archive.catalog.decisions(label, limit=PAGE, offset=PAGE * (page - 1)):
        _decision(archive, label, record)


def _decision(archive: Archive, label: str, record: LabelRecord) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        how = f"{record.origin} at {record.confidence:.0%}" if record.confidence is not None else "given by hand"
        st.markdown(
            f"Case {record.volume_id}: **{literal(record.value)}** {how} "
            f"by {literal(record.author or 'unknown')}, {when(record.changed_at)}",
            width="content",
        )
        may = archive.principal.may("label")
        if st.button("Undo", key=f"undo {record.volume_id}", icon=":material/undo:", disabled=not may):
            undo(archive, label, record.volume_id, author=author())
            _changed(f"Case {record.volume_id}: decision taken back")


def by_hand(archive: Archive, stored: StoredSpec, label: str) -> None:
    """A value for a scan that no file gave one, so that a new label can begin."""
    known = label in archive.catalog.label_names()
    values = archive.catalog.value_counts(label, stored.id, limit=OFFERED_VALUES) if known else {}
    left, right = st.columns(2, gap="large")
    with left:
        case = st.number_input("Case number", min_value=1, step=1, value=None, key="case by hand")
    if case is not None:
        with right:
            _look(archive, int(case), label)
    with left, st.form("by hand"):
        typed = st.selectbox(
            "Value",
            [str(value) for value in values],
            index=None,
            accept_new_options=True,
            placeholder="Choose or type",
            key="value by hand",
        )
        value = (typed or "").strip()
        if st.form_submit_button("Give this value", icon=":material/label:"):
            if case is None or not value:
                st.error("Give both a case number and a value.")
                return
            try:
                label_one(archive, label, value, int(case), author=author())
            except RaptorError as error:
                say(error)
                return
            _changed(f"Case {case}: value given")


def _look(archive: Archive, case: int, label: str) -> None:
    """The scan that the number names, so that a slip of the finger is seen."""
    try:
        record = archive.catalog.volume(case)
    except RaptorError as error:
        say(error)
        return
    picture(archive.catalog.preview(case), alt_text(record))
    facts_line(record)
    st.caption(f"{literal(label)} now: {literal(record.labels.get(label, 'no value'))}")


def _changed(message: str) -> None:
    """Drop what was counted before the change, and show the page anew."""
    forget_facets()
    st.toast(message, icon=":material/check:")
    st.rerun()
