"""What the page says where there is no archive to show, or none that can be opened."""

import shlex
from collections.abc import Iterable

import streamlit as st

from app.session import home
from app.words import literal
from raptor_search.archive import Archive
from raptor_search.catalog import StoredSpec
from raptor_search.errors import RaptorError

__all__ = ["how_to_begin", "remarks", "say", "spec_or_guide"]


def say(error: RaptorError | str) -> None:
    """An error as one sentence."""
    st.error(literal(error.message if isinstance(error, RaptorError) else error), icon=":material/error:")


def remarks(notes: Iterable[str]) -> None:
    """What a reader of figures must know, a line each."""
    lines = [f":material/info: {literal(note)}" for note in notes]
    if lines:
        st.caption("  \n".join(lines))


def how_to_begin() -> None:
    """The commands that fill an archive."""
    folder = shlex.quote(str(home()))
    st.subheader("There are no scans here yet", anchor=False)
    st.write("Index a folder of scans (DICOM series, NIfTI, NRRD or MedMNIST files; nothing in it is changed):")
    st.code(f"raptor index /path/to/scans --home {folder} --encoder efficientnet-lite0", language="bash")
    st.caption("Without the option `--encoder` the weights of DINOv2-L, the paper's model, are fetched and used.")
    st.write("Or look around in an archive made of derived demo scans:")
    st.code(f"raptor demo --home {folder} --no-serve", language="bash")
    st.write("Then load this page again.")
    st.button("Look again", icon=":material/refresh:")


def spec_or_guide(archive: Archive) -> StoredSpec | None:
    """The spec that this archive is searched under; where nothing is embedded, say what to do and give None."""
    stored = archive.catalog.default_spec()
    if stored is None or archive.catalog.count(stored.id) == 0:
        how_to_begin()
        return None
    return stored
