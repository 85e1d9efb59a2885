"""An upload on its way: read, its picture shown, in the queue, embedded; with its place, the time left, and a way out.

What is on its way stays in the session, so that a click elsewhere on the page, or a look at another page, does not
begin it anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

import streamlit as st

from app.querying import Query, of_upload, read_files
from app.uploads import title
from app.worker import Order, Progress, worker
from raptor_search.archive import Archive
from raptor_search.catalog import StoredSpec
from raptor_search.readers.result import ReadResult

__all__ = ["ROUND", "embedded", "give_up", "is_on_its_way"]

LOOK = 0.2
"""Seconds between two looks at the queue."""

KEPT = "on its way"
ROUND = "upload round"
"""Where the session counts its uploaders: a new number is an empty one."""


@dataclass(frozen=True, eq=False)
class _OnItsWay:
    """An upload that is read and ordered."""

    name: str
    read: ReadResult
    stored: StoredSpec
    order: Order


def is_on_its_way() -> bool:
    """Whether this session has an upload that is not embedded yet."""
    return KEPT in st.session_state


def give_up() -> None:
    """Cancel it, if there is one: it leaves the queue, and a new uploader gives the browser's bytes back."""
    kept = cast("_OnItsWay | None", st.session_state.pop(KEPT, None))
    if kept is not None:
        kept.order.cancel()
        st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1


def embedded(
    archive: Archive, stored: StoredSpec, files: Sequence[BinaryIO], *, look: Callable[[str, ReadResult], None]
) -> Query:
    """The upload as a query, as soon as it is embedded; what is on its way already goes on instead.

    Args:
        archive: whose spec and encoder are taken.
        stored: the spec.
        files: one scan in one file or several.
        look: draws the scan as soon as it is read; it is given the upload's name too.

    Raises:
        UsageError: no scan, several, or too many bytes; or too many uploads wait.
        ReadError: a scan that cannot be read or embedded.
        WeightsError: the encoder cannot be had.
        SpecError: the spec has no rule for this kind of file.
        RaptorError: the process that embeds ended.
    """
    bar = st.progress(0.0, "Reading the scan")
    kept = cast("_OnItsWay | None", st.session_state.get(KEPT))
    if kept is None:
        read = read_files(archive, files)
        order = worker().order(read.scan.volume, stored.spec, archive.weights(stored))
        kept = st.session_state[KEPT] = _OnItsWay(title(files), read, stored, order)
    st.button("Cancel", key="cancel upload", icon=":material/close:", on_click=give_up)
    look(kept.name, kept.read)
    while not kept.order.wait(LOOK):
        now = kept.order.progress()
        bar.progress(now.done / now.total if now.total else 0.0, _words(now))
    st.session_state.pop(KEPT, None)
    return of_upload(archive, kept.stored, kept.name, kept.read, kept.order.vector())


def _words(now: Progress) -> str:
    """How far it is, in a line."""
    if now.before:
        return f"In the queue: {now.before} before you"
    if not now.total:
        return "Preparing the encoder"
    left = "" if now.seconds_left is None else f", about {_duration(now.seconds_left)} left"
    return f"Slice {now.done} of {now.total}{left}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
