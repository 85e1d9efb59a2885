"""The audit log on the page, to be read only: who did what, the latest first."""

import streamlit as st

from app.words import count, when
from raptor_search.archive import Archive

__all__ = ["audit_log"]

LATEST = 200
"""Rows that the page shows; the command shows more."""


def audit_log(archive: Archive) -> None:
    """The latest rows, for those who may read them."""
    if not archive.principal.may("audit"):
        return
    st.header("Audit log", anchor=False)
    found = archive.audits(LATEST)
    if not found:
        st.write("Nothing was written down yet.")
        return
    st.dataframe(
        [{"When": when(row.at), "Who": row.author, "What": row.action, "About": row.detail} for row in found],
        hide_index=True,
    )
    more = f" `raptor audit -n {10 * LATEST}` shows more." if len(found) == LATEST else ""
    st.caption(f"The latest {count(len(found), 'row')}, the newest first. A volume's number is its case number.{more}")
