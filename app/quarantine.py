"""What could not be read, why, and another try."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import streamlit as st

from app.indexing import start
from app.words import count, when
from raptor_search.archive import Archive
from raptor_search.catalog import QuarantineRecord
from raptor_search.errors import READ_CODES

__all__ = ["quarantine"]

PAGE = 100


def quarantine(archive: Archive) -> None:
    """The sources with their reasons, page by page, and a button that tries them again."""
    st.header("Quarantine", anchor=False)
    records = archive.catalog.quarantined()
    if not records:
        st.write("Nothing is quarantined: every scan that was found could be read.")
        return
    st.write("These could not be read and are untouched. Once mended, another try takes them in.")
    for code, number in Counter(record.code for record in records).most_common():
        st.markdown(f"- {number:,} {code}: {READ_CODES[code]}")
    pages = range(0, len(records), PAGE)
    page = st.pagination(len(pages), key="quarantine page") if len(pages) > 1 else 1
    shown = records[pages[page - 1] :][:PAGE]
    named = archive.principal.may("identify")
    rows = [_row(record, named=named) for record in shown]
    if not archive.principal.may("index"):
        st.dataframe(rows, hide_index=True)
        return
    table = st.dataframe(rows, hide_index=True, on_select="rerun", selection_mode="multi-row", key=f"quarantine {page}")
    chosen = [shown[row] for row in cast(Any, table).selection.rows]
    words = f"Try these {len(chosen):,} again" if chosen else f"Try all {len(records):,} again"
    if st.button(words, key="try again", icon=":material/replay:"):
        places = _places(chosen or records)
        if places:
            start(archive, places)
        else:
            st.error("None of these files is there any more.")
    st.caption(f"{count(len(records), 'source')}. Choose rows to try some of them alone.")


def _row(record: QuarantineRecord, *, named: bool) -> dict[str, object]:
    """The file or folder alone, for those who may see it: a path, or a series' UID in it, may name a patient."""
    source = {"Source": Path(record.locator.partition("#")[0]).name} if named else {}
    return source | {
        "Reason": record.reason,
        "Code": record.code,
        "Tried": record.attempts,
        "Last": when(record.last_at),
    }


def _places(records: Sequence[QuarantineRecord]) -> list[Path]:
    """The files and folders that hold the sources, those that are still there."""
    return sorted({path for record in records if (path := _holder(record.locator)) is not None})


def _holder(locator: str) -> Path | None:
    """What lies on the disk of a locator, which may name a member, such as "scans.zip#a/b.nii"."""
    ends = [len(locator), *(place for place in range(len(locator) - 1, 0, -1) if locator[place] == "#")]
    return next((path for end in ends if (path := Path(locator[:end])).exists()), None)
