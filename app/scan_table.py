"""Scans of the archive as a list with pictures, a page at a time, and as a CSV file."""

import csv
import io
from collections.abc import Sequence

import streamlit as st

from app.cards import alt_text, chips, facts_line, picture
from app.case import open_case, search_from
from raptor_search.archive import Archive
from raptor_search.catalog import Ids
from raptor_search.spreadsheet import plain_cell

__all__ = ["scan_list", "scans_csv"]

PAGE = 8

BLOCK = 5_000
"""Scans whose metadata is held at once while a file is written."""


def scan_list(archive: Archive, ids: Sequence[int] | Ids, *, key: str) -> None:
    """One page of scans, each with its picture, what is known of it, and a button that opens it."""
    starts = range(0, len(ids), PAGE)
    page = st.pagination(len(starts), key=f"{key} page") if len(starts) > 1 else 1
    begin = starts[min(page, len(starts)) - 1] if starts else 0
    for record in archive.catalog.volumes(ids[begin : begin + PAGE]):
        with st.container(border=True, key=f"{key}-{record.id}"):
            left, middle, right = st.columns([3, 4, 2], vertical_alignment="center", gap="medium")
            with left:
                picture(archive.catalog.preview(record.id), alt_text(record))
            with middle:
                st.markdown(f"**Case {record.id}**")
                facts_line(record)
                chips(record.labels)
            with right:
                if st.button("Details", key=f"{key} open {record.id}", icon=":material/info:", type="tertiary"):
                    open_case(archive, record.id)
                search_from(record.id, key=f"{key} search {record.id}")


def scans_csv(archive: Archive, ids: Sequence[int] | Ids, title: str) -> bytes:
    """One line a scan: its number, pseudonym, metadata and labels; no path is in it.

    Args:
        archive: that holds them.
        ids: of the scans; those that are gone have no line.
        title: what was picked, in the first column of every line.

    Raises:
        AccessError: whoever asks may take nothing away.
    """
    archive.require("export")
    records = [
        record for start in range(0, len(ids), BLOCK) for record in archive.catalog.volumes(ids[start : start + BLOCK])
    ]
    columns = sorted({name for record in records for name, value in record.metadata.items() if value is not None})
    labels = sorted({name for record in records for name in record.labels})
    fields = ["picked", "case", "patient", *columns, *(f"label {name}" for name in labels)]
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writerow({field: plain_cell(field) for field in fields})
    for record in records:
        row = {"picked": title, "case": record.id, "patient": record.subject}
        row |= {name: record.metadata[name] for name in columns}
        row |= {f"label {name}": value for name, value in record.labels.items()}
        writer.writerow({field: plain_cell(row.get(field)) for field in fields})
    return text.getvalue().encode()
