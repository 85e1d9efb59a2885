"""What one process of the page shares: the open archive and the turn to evaluate. Nothing of a user lives here."""

import os
import threading
from pathlib import Path

import streamlit as st

from app.login import principal
from raptor_search.archive import Archive

__all__ = ["author", "evaluation_turn", "has_catalog", "home", "identity", "open_archive"]

DEFAULT_HOME = Path("raptor-archive")


def home() -> Path:
    """The archive's folder: `RAPTOR_HOME`, else ./raptor-archive."""
    return Path(os.environ.get("RAPTOR_HOME") or DEFAULT_HOME).expanduser().absolute()


def has_catalog() -> bool:
    """Whether there is an archive to open: a catalog in its folder, or a database named by URL."""
    return bool(os.environ.get("RAPTOR_DATABASE_URL")) or (home() / "catalog.db").is_file()


def open_archive() -> Archive:
    """The archive that this page serves, in the hands of whoever uses it; opened once for all of them.

    It is opened again where it was replaced on disk.

    Raises:
        CatalogError: there is none, or it is of another revision.
        KeyMismatchError: the key at hand is not its key.
        AccessError: whoever asks may not see it.
    """
    return _open(str(home()), identity()).acting_as(principal())


@st.cache_resource(show_spinner=False, max_entries=1, on_release=lambda archive: archive.close())
def _open(folder: str, identity: tuple[int, int] | None) -> Archive:
    return Archive.open(Path(folder))


def identity() -> tuple[int, int] | None:
    """Which file the catalog is: another one where the archive was deleted and made anew."""
    try:
        facts = (home() / "catalog.db").stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


@st.cache_resource(show_spinner=False)
def evaluation_turn() -> threading.Lock:
    """Held while a label is evaluated: one at a time, as each holds the products of all its scans."""
    return threading.Lock()


def author() -> str:
    """What the audit log calls whoever uses the page."""
    return principal().name
