"""The review queue of a label: one scan after the other, decided by a key or a button, with a way back."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import streamlit as st

from app.cards import alt_text, facts_line, picture
from app.facets import forget_facets
from app.guidance import say
from app.proposed import Proposed
from app.session import author
from app.words import count, literal
from raptor_search.archive import Archive
from raptor_search.deciding import label_one, undo_many
from raptor_search.errors import RaptorError
from raptor_search.labelling import LabelProposal, accept, reject

__all__ = ["Step", "last_step", "queue", "remember"]

VOTERS = 4

ORDERS = ("Surest first", "Least sure first")

STEPS = "label steps"
"""Where the session keeps what it decided, the latest last."""

KEPT_STEPS = 100

SKIPPED = "label skipped"


class Step(NamedTuple):
    """One decision of this session, on one scan or many."""

    label: str
    cases: tuple[int, ...]
    words: str


def remember(step: Step) -> None:
    """Keep a decision, so that it can be taken back; what was counted before it is dropped."""
    steps = st.session_state.setdefault(STEPS, [])
    if steps and steps[-1] == step:  # a key that was pressed twice
        return
    steps.append(step)
    del steps[:-KEPT_STEPS]
    forget_facets()


def last_step(archive: Archive, label: str) -> None:
    """The latest decision of this session, with the button that takes it back."""
    steps = cast("list[Step]", st.session_state.get(STEPS, []))
    if not steps or steps[-1].label != label:
        return
    st.markdown(f":material/history: {literal(steps[-1].words)}", width="content")
    st.button("Undo", key="undo", icon=":material/undo:", shortcut="u", on_click=_undo, args=(archive,))


def queue(archive: Archive, label: str, now: Proposed, waiting: Sequence[LabelProposal]) -> None:
    """The scan that is next, and what to decide about it."""
    skipped = cast("set[int]", st.session_state.setdefault(SKIPPED, set()))
    with st.container(horizontal=True, vertical_alignment="center"):
        order = st.segmented_control(
            "Order", ORDERS, key="order", required=True, default=ORDERS[0], label_visibility="collapsed"
        )
        last_step(archive, label)
    line = [item for item in waiting if item.volume_id not in skipped]
    line.sort(key=lambda item: item.confidence if order == ORDERS[1] else -item.confidence)
    put_off = len(waiting) - len(line)
    if not line:
        st.info("Nothing is left to review here.", icon=":material/done_all:")
    else:
        _card(archive, label, now, line[0])
    if put_off:
        words = f"Bring back {count(put_off, 'scan')} that you skipped"
        st.button(words, icon=":material/replay:", key="bring back", on_click=skipped.clear)


def _card(archive: Archive, label: str, now: Proposed, item: LabelProposal) -> None:
    records = archive.catalog.volumes([item.volume_id])
    if not records:
        st.info(f"Case {item.volume_id} is gone from the archive.")
        st.button("Next", key="skip", icon=":material/skip_next:", shortcut="s", on_click=_skip, args=(item,))
        return
    with st.container(border=True, key="proposal"):
        left, right = st.columns([3, 2], gap="large", vertical_alignment="center")
        with left:
            picture(archive.catalog.preview(item.volume_id), alt_text(records[0]))
            facts_line(records[0])
        with right:
            st.subheader(f"Case {item.volume_id}", anchor=False)
            st.markdown(f"{literal(label)}: **{literal(item.value or '')}**")
            kind = "chance that it is right" if now.found.confidence_kind == "calibrated" else "share of the votes"
            st.progress(min(item.confidence, 1.0), f"{item.confidence:.0%} {kind}")
            _buttons(archive, label, item, now.found.classes)
    _voters(archive, label, "Neighbours for it", item.speak_for)
    _voters(archive, label, "Neighbours against it", item.speak_against)


def _buttons(archive: Archive, label: str, item: LabelProposal, values: Sequence[str]) -> None:
    may = archive.principal.may("label")
    with st.container(horizontal=True):
        for words, key, icon, shortcut in (
            ("Accept", "accept", ":material/check:", "a"),
            ("Reject", "reject", ":material/close:", "x"),
        ):
            st.button(
                words,
                key=key,
                icon=icon,
                shortcut=shortcut,
                type="primary" if key == "accept" else "secondary",
                on_click=_decide,
                args=(archive, label, item, key),
                disabled=not may,
            )
        st.button("Skip", key="skip", icon=":material/skip_next:", shortcut="s", on_click=_skip, args=(item,))
        with st.popover("Another value", disabled=not may):
            other = st.selectbox(
                "Its value",
                values,
                index=None,
                accept_new_options=True,
                placeholder="Choose or type",
                key="other value",
            )
            st.button(
                "Give it",
                key="give other",
                icon=":material/label:",
                on_click=_give,
                args=(archive, label, item, other),
                disabled=not (other or "").strip(),
            )
    if not may:
        st.caption("To decide about labels takes the role curator.")


def _decide(archive: Archive, label: str, item: LabelProposal, what: str) -> None:
    """A button or key was pressed; called before the page is drawn anew."""
    try:
        (accept if what == "accept" else reject)(archive, label, [item], author=author())
    except RaptorError as error:
        st.toast(literal(error.message), icon=":material/error:")
        _skip(item)
        return
    remember(Step(label, (item.volume_id,), f"Case {item.volume_id}: {item.value} {what}ed by {author()}"))


def _give(archive: Archive, label: str, item: LabelProposal, value: str) -> None:
    try:
        label_one(archive, label, value, item.volume_id, author=author())
    except RaptorError as error:
        st.toast(literal(error.message), icon=":material/error:")
        return
    st.session_state["other value"] = None
    remember(Step(label, (item.volume_id,), f"Case {item.volume_id}: {value.strip()} given by {author()}"))


def _skip(item: LabelProposal) -> None:
    st.session_state.setdefault(SKIPPED, set()).add(item.volume_id)


def _undo(archive: Archive) -> None:
    step = cast("list[Step]", st.session_state[STEPS])[-1]
    try:
        undo_many(archive, step.label, step.cases, author=author())
    except RaptorError as error:
        say(error)
        return
    st.session_state[STEPS].pop()
    forget_facets()


def _voters(archive: Archive, label: str, title: str, voters: Sequence[int]) -> None:
    st.markdown(f"**{title}**")
    shown = archive.catalog.volumes(voters[:VOTERS])
    if not shown:
        st.caption("none")
        return
    for column, record in zip(st.columns(VOTERS), shown, strict=False):
        with column:
            picture(archive.catalog.preview(record.id), alt_text(record))
            st.caption(f"Case {record.id}: {literal(record.labels.get(label, 'no value any more'))}")
    if len(voters) > len(shown):
        st.caption(f"and {', '.join(f'case {case}' for case in voters[len(shown) :])}")
