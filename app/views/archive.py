"""Archive: what is in it, how it was embedded, what could not be read; indexing more, removing, and who did what."""

import streamlit as st

from app.audit_log import audit_log
from app.charts import bars
from app.facets import Facets, facets
from app.growth import growth_chart
from app.guidance import how_to_begin
from app.indexing import index_more
from app.quarantine import quarantine
from app.removal import removal
from app.session import open_archive
from app.words import column_name, literal, size, when
from raptor_search.archive import Archive
from raptor_search.catalog import IndexVersion, StoredSpec
from raptor_search.contents import by_site, growth, space

__all__ = ["show"]

SHOWN_VALUES = 12


def show() -> None:
    """Draw the page."""
    archive = open_archive()
    st.title("Archive", anchor=False)
    stored = archive.catalog.default_spec()
    if stored is None or archive.catalog.count() == 0:
        how_to_begin()
    else:
        known = facets(archive, stored)
        _numbers(archive, stored, known, len(archive.catalog.quarantined()))
        _contents(archive, known)
        _specs(archive)
        _indexes(archive)
        _room(archive)
        index_more(archive)
    quarantine(archive)
    removal(archive)
    audit_log(archive)


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


def _contents(archive: Archive, known: Facets) -> None:
    st.header("What is in it", anchor=False)
    st.markdown("**Scans over time**")
    grown = growth(archive.catalog)
    if len(grown.days) == 1:
        st.write(f"All of them came on {grown.days[0]}.")
    else:
        st.plotly_chart(
            growth_chart(grown),
            key="growth",
            config={"displayModeBar": False},
            alt="How many scans the archive had at the end of each day on which scans came",
        )
    charts = {column_name(name): counts for name, counts in known.columns.items()}
    charts |= {"Institution": by_site(archive.catalog)} | known.labels
    columns = st.columns(3, gap="large")
    for number, (name, counts) in enumerate(charts.items()):
        with columns[number % len(columns)]:
            st.markdown(f"**{literal(name)}**")
            shown = dict(list(counts.items())[:SHOWN_VALUES])
            st.plotly_chart(bars(shown), key=f"bars {number}", config={"displayModeBar": False}, alt=f"Scans by {name}")
            if len(counts) > len(shown):
                st.caption(f"and {len(counts) - len(shown):,} rarer values")


def _room(archive: Archive) -> None:
    st.header("Room on the disk", anchor=False)
    used = space(archive.home)
    cells = (
        ("Catalog", "on its server" if used.catalog is None else size(used.catalog)),
        ("Indexes", size(used.indexes)),
        ("Other files", size(used.other)),
        ("Free", size(used.free)),
    )
    for column, (name, value) in zip(st.columns(len(cells)), cells, strict=True):
        column.metric(name, value, border=True)


def _specs(archive: Archive) -> None:
    st.header("How scans are embedded", anchor=False)
    rows = [
        {
            "Fingerprint": stored.fingerprint[:12],
            "Encoder": stored.spec.encoder_label,
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


def _recall(version: IndexVersion) -> str:
    """Of held-out scans against the exact search."""
    if version.measured_recall is not None:
        return f"{version.measured_recall:.3f}"
    return "not measured" if version.rerank else "every scan is compared"


def _indexes(archive: Archive) -> None:
    st.header("Index versions", anchor=False)
    rows = [
        {
            "Version": version.id,
            "Serves": version.is_current,
            "Spec": stored.fingerprint[:12],
            "Kind": version.factory,
            "Scans": version.volumes,
            "Measured recall": _recall(version),
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


if __name__ == "__main__":
    show()
