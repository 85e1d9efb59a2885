"""What was found on the map: clusters with their names and exemplars, scans far from all others, and new arrivals."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import streamlit as st

from app.cards import alt_text, picture
from app.case import open_case
from app.cohort_data import cluster_names
from app.guidance import say
from app.map_chart import Spot
from app.picking import Picked, of_cluster, of_outliers
from app.querying import Query
from app.scan_table import scan_list
from app.words import column_name, count, literal
from raptor_search.archive import Archive
from raptor_search.catalog import StoredSpec
from raptor_search.cohorts.mapping import Cohort, place_scan
from raptor_search.cohorts.placing import Placement
from raptor_search.errors import RaptorError
from raptor_search.report import number

__all__ = ["clusters", "outliers", "place", "placed_spot", "quality"]

CLUSTERS = 4
"""Clusters on a page."""

OUTSIDE = 0.05
"""Confidence of a placement below which the page says that the scan lies outside."""


def pick(picked: Picked) -> None:
    """Take a pick; called before the page is drawn anew."""
    st.session_state["cohort picked"] = picked
    st.session_state.pop("picked done", None)


def clusters(archive: Archive, cohort: Cohort) -> None:
    """Each cluster: what is over-represented in it, its exemplar, a button that picks its scans."""
    found = [] if cohort.detail is None else cast("Sequence[Mapping[str, Any]]", cohort.detail.document["clusters"])
    if not found:
        st.info("No clusters were found: no group of scans is closer among themselves than to the others.")
        return
    without = cast(int, cohort.detail.document["unclustered"]) if cohort.detail is not None else 0
    st.caption(
        f"{count(len(found), 'cluster')}; {count(without, 'scan')} in none. A name is what patients of the cluster "
        "have more often than all others; p is corrected for every value and cluster asked about (Holm)."
    )
    starts = range(0, len(found), CLUSTERS)
    page = st.pagination(len(starts), key="clusters page") if len(starts) > 1 else 1
    names = cluster_names(cohort)
    for one in found[starts[page - 1] : starts[page - 1] + CLUSTERS]:
        with st.container(border=True, key=f"cluster-{one['number']}"):
            _cluster(archive, one, names[int(one["number"])])


def _cluster(archive: Archive, one: Mapping[str, Any], name: str) -> None:
    exemplar = archive.catalog.volumes([int(one["medoid"])])
    left, right = st.columns([2, 3], vertical_alignment="center")
    with left:
        if exemplar:
            picture(archive.catalog.preview(exemplar[0].id), f"Exemplar. {alt_text(exemplar[0])}")
    with right:
        st.markdown(f"**Cluster {literal(name)}**  \n{count(int(one['scans']), 'scan')}")
    if one["traits"]:
        st.table([_trait(trait) for trait in one["traits"]], hide_index=True)
    else:
        st.caption("No value stands out surely enough to name it.")
    with st.container(horizontal=True):
        st.button(
            "Select its scans",
            key=f"pick cluster {one['number']}",
            icon=":material/select_all:",
            on_click=pick,
            args=(of_cluster(int(one["number"]), name),),
        )
        if exemplar and st.button(
            f"Exemplar: case {exemplar[0].id}", key=f"exemplar {one['number']}", type="tertiary", icon=":material/info:"
        ):
            open_case(archive, exemplar[0].id)


def _trait(trait: Mapping[str, Any]) -> dict[str, str]:
    p = float(trait["p"])
    return {
        "More often": f"{column_name(trait['column'])}: {trait['value']}",
        "In it": f"{trait['inside']:,} of {trait['cluster']:,}",
        "In all": f"{trait['overall']:,} of {trait['known']:,}",
        "p": "< 0.001" if p < 0.0005 else number(p),
    }


def outliers(archive: Archive, cohort: Cohort) -> None:
    """The scans whose neighbours are unusually far, the farthest first."""
    ids = [] if cohort.detail is None else cast("list[int]", cohort.detail.document["outliers"])
    if not ids:
        st.info("No scan is unusually far from its neighbours.")
        return
    st.caption(f"{count(len(ids), 'scan')} unusually far from their ten nearest, the farthest first.")
    st.button("Select them", key="pick outliers", icon=":material/select_all:", on_click=pick, args=(of_outliers(),))
    scan_list(archive, ids, key="outlier")


def place(archive: Archive, stored: StoredSpec, cohort: Cohort) -> None:
    """Put an uploaded scan, or a case that came since, on the map; nobody else moves."""
    uploaded = cast("Query | None", st.session_state.get("uploaded"))
    st.write("A scan is placed among its ten nearest on this map; nobody else moves.")
    if uploaded is None:
        st.page_link("views/search.py", label="Upload a scan on the page Search", icon=":material/upload:")
    elif st.button(f"Place {literal(uploaded.title)}", key="place upload", icon=":material/add_location:"):
        _place(archive, stored, cohort, uploaded.title, uploaded.question.vector)
    case = st.number_input("Or a case of the archive", min_value=1, value=None, step=1, key="place case")
    if st.button("Place the case", key="place", icon=":material/add_location:", disabled=case is None):
        try:
            question = archive.ask(int(case or 0), spec=stored.fingerprint)
        except RaptorError as error:
            say(error)
            return
        _place(archive, stored, cohort, f"Case {case}", question.vector)
    _placed(archive, cohort)


def _place(archive: Archive, stored: StoredSpec, cohort: Cohort, title: str, vector: np.ndarray) -> None:
    try:
        with st.spinner("It is compared with every scan of the map", show_time=True):
            found = place_scan(archive.catalog, stored, vector)
    except RaptorError as error:
        say(error)
        return
    st.session_state["placed"] = cohort.drawn.id, title, found
    st.rerun()


def _placed(archive: Archive, cohort: Cohort) -> None:
    kept = st.session_state.get("placed")
    if kept is None or kept[0] != cohort.drawn.id:
        return
    _, title, found = cast("tuple[int, str, Placement]", kept)
    st.metric(f"Confidence of placing {literal(title)}", f"{found.confidence:.2f}", border=True)
    st.caption(
        f"{found.confidence:.0%} of the map's own scans lie as far from their neighbours, or have them as far apart. "
        "The star shows the place."
    )
    if found.confidence < OUTSIDE:
        st.warning("It lies outside what this map shows: the place says little.", icon=":material/explore_off:")
    st.button("Take the star away", icon=":material/close:", key="unplace", on_click=_unplace)


def _unplace() -> None:
    st.session_state.pop("placed", None)


def placed_spot(cohort: Cohort) -> Spot | None:
    """Where the scan lies that was placed on this map last."""
    kept = st.session_state.get("placed")
    if kept is None or kept[0] != cohort.drawn.id:
        return None
    return Spot(kept[2].x, kept[2].y, kept[1])


def quality(cohort: Cohort) -> None:
    """How far the map may be believed."""
    if cohort.detail is None:
        st.caption("How far to trust it was not measured: it was drawn by an earlier version. Draw it again.")
        return
    of = cast("Mapping[str, Any]", cohort.detail.document["quality"])
    sample = f"Over {of['scans']:,} scans and their {of['k']} nearest."
    with st.container(horizontal=True, gap="large"):
        st.metric(
            "Trustworthiness",
            f"{of['trustworthiness']:.2f}",
            width="content",
            help=f"1 where no neighbour on the map is a stranger by score; 0.5 is chance. {sample}",
        )
        st.metric(
            "Neighbours kept",
            f"{of['preservation']:.0%}",
            width="content",
            help=f"Share of the nearest scans by score that are among the nearest on the map. {sample}",
        )
