"""What may be taken away from a search: the hits as a table, the comparison as a document for the record.

Both are made when they are asked for, after a row in the audit log.
"""

import streamlit as st

from app.comparison import comparison_html
from app.filters import Asked
from app.querying import Query
from raptor_search.archive import Archive
from raptor_search.search import SearchResult
from raptor_search.searching.hit_table import hits_csv

__all__ = ["offer_downloads"]


def offer_downloads(archive: Archive, query: Query, result: SearchResult, asked: Asked, steered: str) -> None:
    """Draw the two buttons; whose role does not suffice sees them and cannot press them.

    Args:
        archive: in the hands of whoever uses the page.
        query: what was compared.
        result: the answer.
        asked: what the search was narrowed to.
        steered: what steered it, in words.
    """
    may = archive.principal.may("export")

    def table() -> bytes:
        archive.audit("export", f"{len(result.hits)} hits as a table")
        return hits_csv(query.title, result)

    def document() -> str:
        archive.audit("export", f"{len(result.hits)} hits as a document")
        previews = {hit.volume_id: archive.catalog.preview(hit.volume_id) for hit in result.hits}
        return comparison_html(query, result, previews, asked=asked, steered=steered, notice=archive.notice)

    st.download_button(
        "Hits as CSV",
        table,
        file_name="similar-scans.csv",
        mime="text/csv",
        key="csv",
        on_click="ignore",
        icon=":material/download:",
        disabled=not may,
    )
    st.download_button(
        "For the record",
        document,
        file_name="similar-scans.html",
        mime="text/html",
        key="record",
        on_click="ignore",
        icon=":material/description:",
        help="One HTML file with the pictures, scores and notes of this page.",
        disabled=not may,
    )
