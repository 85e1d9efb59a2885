"""What is proposed for a label: as this session asked for it, as it was stored by somebody, or not yet."""

from typing import NamedTuple, cast

import streamlit as st

from app.guidance import say
from app.session import identity
from app.words import count, literal, when
from raptor_search.archive import Archive
from raptor_search.catalog import StoredSpec
from raptor_search.errors import QueryError
from raptor_search.kept_proposals import KeptProposals, kept_proposals
from raptor_search.labelling import LabelProposals, PropagationMethod, proposals

__all__ = ["Proposed", "ask_again", "proposed"]

ASKED_AT_ONCE = 5_000
"""Scans up to which the labelled ones are asked as soon as a label is opened; beyond, it takes minutes."""

METHODS: dict[PropagationMethod, str] = {"knn": "votes of the nearest", "diffusion": "spreading along the neighbours"}

ASKED = "proposals"
"""Where the session keeps what it asked for."""


class Proposed(NamedTuple):
    """Proposals, and a sentence on where they come from."""

    found: LabelProposals
    source: str


def proposed(archive: Archive, stored: StoredSpec, label: str) -> Proposed | None:
    """The proposals; None after a word why there are none.

    What is decided meanwhile leaves the list but does not reshuffle the rest.
    """
    asked = st.session_state.get(ASKED)
    if asked is not None and asked[0] == (label, stored.fingerprint, identity()):
        answer = cast("Proposed | QueryError", asked[1])
        if isinstance(answer, Proposed):
            return answer
        say(answer)
        st.caption("Values that are given by hand count too.")
        return None
    kept = _kept(archive, label, identity(), archive.catalog.proposals_moment(label))
    if kept is not None:
        method = METHODS.get(cast(PropagationMethod, kept.method), kept.method)
        source = f"Proposed by {literal(kept.author)}, {when(kept.proposed_at)}, by {method}."
        return Proposed(kept.found, source)
    scans = archive.catalog.count(stored.id)
    if scans <= ASKED_AT_ONCE:
        _ask(archive, stored, label, "knn")
        st.rerun()
    st.info(
        f"Nothing is proposed yet. {count(scans, 'scan')} are many: asking takes minutes here. "
        "`raptor propagate LABEL` does it beside the page, and what it finds is shown here.",
        icon=":material/hourglass_empty:",
    )
    ask_again(archive, stored, label, "Ask the labelled scans")
    return None


def ask_again(archive: Archive, stored: StoredSpec, label: str, words: str = "Ask again") -> None:
    """The choice of a method and the button that asks by it."""
    with st.popover(words, icon=":material/refresh:", help="Let what has been decided since take part."):
        method = st.radio("By", list(METHODS), format_func=METHODS.__getitem__, key="method of asking")
        if st.button("Ask", key="ask", type="primary"):
            _ask(archive, stored, label, method)
            st.rerun()


def _ask(archive: Archive, stored: StoredSpec, label: str, method: PropagationMethod) -> None:
    moment = identity(), archive.catalog.moment(stored.id)
    with st.spinner("The labelled scans are asked", show_time=True):
        answer = _answer(archive, label, method, stored.fingerprint, moment)
    st.session_state[ASKED] = (label, stored.fingerprint, identity()), answer


@st.cache_resource(show_spinner=False, max_entries=8)
def _answer(
    _archive: Archive, label: str, method: PropagationMethod, spec: str, moment: object
) -> Proposed | QueryError:
    """What the scans say, the same for every user until the catalog changes."""
    try:
        found = proposals(_archive, label, method=method, spec=spec)
    except QueryError as error:
        return error
    return Proposed(found, f"Asked on this page, by {METHODS[method]}.")


@st.cache_resource(show_spinner=False, max_entries=4)
def _kept(
    _archive: Archive, label: str, identity: tuple[int, int] | None, moment: float | None
) -> KeptProposals | None:
    return kept_proposals(_archive, label)
