"""Archive: what is in it, how it was embedded and indexed, and what could not be read and why."""

from collections import Counter
from pathlib import Path

import streamlit as st

from app.charts import bars
from app.facets import Facets, facets
from app.guidance import how_to_begin
from app.session import home, open_archive
from app.words import column_name, literal, when
from raptor_search.archive import Archive
from raptor_search.catalog import StoredSpec
from raptor_search.errors import READ_CODES

__all__ = ["show"]

SHOWN_VALUES = 12
SHOWN_QUARANTINE = 500


def show() -> None:
    """Draw the page."""
    archive = open_archive()
    st.title("Archive", anchor=False)
    stored = archive.catalog.default_spec()
    quarantined = archive.catalog.quarantined()
    if stored is None or archive.catalog.count() == 0:
        how_to_begin()
    else:
        known = facets(archive, stored)
        _numbers(archive, stored, known, len(quarantined))
        _contents(known)
        _specs(archive)
        _indexes(archive)
    _quarantine(archive)


def _numbers(archive: Archive, stored: StoredSpec, known: Facets, quarantined: int) -> None:
    version = archive.catalog.current_index(stored.id)
    cells = (
        ("Scans", f"{archive.catalog.count():,}"),
        ("Patients", f"{known.patients:,}"),
        ("Labels", f"{len(archive.catalog.label_names()):,}"),
        ("Quarantined", f"{quarantined:,}"),
        ("Index version", str(version.id) if version else "none"),
    )
    for column, (name, value) in zip(st.columns(len(cells)), cells, strict=True):
        column.metric(name, value, border=True)


def _contents(known: Facets) -> None:
    st.header("What is in it", anchor=False)
    charts = {column_name(name): counts for name, counts in known.columns.items()} | known.labels
    columns = st.columns(3, gap="large")
    for number, (name, counts) in enumerate(charts.items()):
        with columns[number % len(columns)]:
            st.markdown(f"**{literal(name)}**")
            shown = dict(list(counts.items())[:SHOWN_VALUES])
            st.plotly_chart(bars(shown), key=f"bars {number}", config={"displayModeBar": False}, alt=f"Scans by {name}")
            if len(counts) > len(shown):
                st.caption(f"and {len(counts) - len(shown):,} rarer values")


def _specs(archive: Archive) -> None:
    st.header("How scans are embedded", anchor=False)
    rows = [
        {
            "Fingerprint": stored.fingerprint[:12],
            "Encoder": stored.spec.encoder,
            "Layer": stored.spec.layer,
            "Preset": stored.preset,
            "K": stored.spec.components_kept,
            "Seed": stored.spec.seed,
            "Scans": archive.catalog.count(stored.id),
            "Since": when(stored.created_at),
            "Default": stored.is_default,
        }
        for stored in archive.catalog.specs()
    ]
    st.dataframe(rows, hide_index=True)


def _indexes(archive: Archive) -> None:
    st.header("Index versions", anchor=False)
    rows = [
        {
            "Version": version.id,
            "Serves": version.is_current,
            "Spec": stored.fingerprint[:12],
            "Kind": version.factory,
            "Scans": version.volumes,
            "Measured recall": version.measured_recall,
            "Made": when(version.created_at),
        }
        for stored in archive.catalog.specs()
        for version in archive.catalog.index_versions(stored.id)
    ]
    if not rows:
        st.write("None is published: every scan is compared in each search.")
        return
    st.dataframe(rows, hide_index=True)
    st.caption("Scans that came after a version was made are compared one by one, so that none is missed.")


def _quarantine(archive: Archive) -> None:
    st.header("Quarantine", anchor=False)
    records = archive.catalog.quarantined()
    if not records:
        st.write("Nothing is quarantined: every scan that was found could be read.")
        return
    st.write(
        "These could not be read and are untouched: once mended, the same `raptor index` run takes them in. "
        "Only the file or folder is named here; `raptor status --json` gives the whole path."
    )
    for code, number in Counter(record.code for record in records).most_common():
        st.markdown(f"- {number:,} {code}: {READ_CODES[code]}")
    rows = [
        {
            "Source": _name(record.locator),
            "Reason": record.reason,
            "Code": record.code,
            "Tried": record.attempts,
            "Last": when(record.last_at),
        }
        for record in records[:SHOWN_QUARANTINE]
    ]
    st.dataframe(rows, hide_index=True)
    if len(records) > SHOWN_QUARANTINE:
        st.caption(f"... and {len(records) - SHOWN_QUARANTINE:,} more: `raptor status --home {home()}`")


def _name(locator: str) -> str:
    """The file or folder alone: the path above it, and a series' UID within it, may name a patient."""
    return Path(locator.partition("#")[0]).name


if __name__ == "__main__":
    show()
