"""Starting an indexing run from the page, and watching it."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from app.facets import forget_facets
from app.guidance import say
from app.runs import Run, RunState, runs
from app.words import count, literal, when
from raptor_search.archive import Archive
from raptor_search.errors import RaptorError

__all__ = ["index_more", "start"]

LOOK = "2s"
SEEN = "run that was seen to its end"

STAGES = {
    "starting": "Starting",
    "discovering": "Looking for scans",
    "embedding": "Reading and embedding",
    "publishing": "Publishing the index",
}


def index_more(archive: Archive) -> None:
    """A line for the folder, the run that is under way, and what the last one did."""
    if not archive.principal.may("index"):
        return
    st.header("Index more", anchor=False)
    if archive.principal.roots == ():
        st.write("No folder may be indexed from here: list some as `roots` in `[indexing]` of access.toml.")
    else:
        _ask(archive)
    watched = runs().last
    if watched is not None:
        _under_way(watched) if not watched.is_over else _ended(watched)


def start(archive: Archive, paths: Sequence[Path]) -> None:
    """Start a run, or say why not."""
    try:
        runs().start(archive, paths)
    except RaptorError as error:
        say(error)
        return
    st.rerun()


def _ask(archive: Archive) -> None:
    roots = archive.principal.roots
    with st.form("index more", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        folder = st.text_input("Folder or file on the server", placeholder="/data/scans", key="folder to index")
        pressed = st.form_submit_button("Index it", icon=":material/library_add:")
    where = "Any folder that this server can read" if roots is None else f"Below {', '.join(map(str, roots))}"
    st.caption(literal(f"{where}. Scans that are there already are not embedded again; nothing in it is changed."))
    if pressed:
        if folder.strip():
            start(archive, [Path(folder.strip())])
        else:
            st.error("Give a folder or a file.")


@st.fragment(run_every=LOOK)
def _under_way(run: Run) -> None:
    """How far it is, looked at again every other second."""
    if run.is_over:
        st.rerun()  # the whole page: its counts have changed
    state = run.state()
    st.progress(state.done / state.total if state.total else 0.0, _words(state))
    st.caption(literal(f"Started {when(run.since)} by {run.author}."))
    st.button("Stop the run", key="stop run", icon=":material/stop:", on_click=run.stop)


def _words(state: RunState) -> str:
    stage = STAGES.get(state.stage, state.stage)
    if state.stage == "discovering":
        stage = f"{stage}: {count(state.done, 'file')}"
    elif state.total:
        stage = f"{stage}: {state.done:,} of {count(state.total, 'scan')}"
    return f"{stage}, {state.quarantined:,} quarantined" if state.quarantined else stage


def _ended(run: Run) -> None:
    is_fine, sentence = run.outcome()
    if st.session_state.get(SEEN) != run.since:
        st.session_state[SEEN] = run.since
        forget_facets()
    words = literal(f"The run of {when(run.since)}: {sentence}")
    if is_fine:
        st.success(words, icon=":material/done:")
    else:
        st.error(words, icon=":material/error:")
