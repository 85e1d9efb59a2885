"""Cohort: every scan as a point, similar ones close together; what is drawn around is counted, listed and labelled."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import streamlit as st
from jaxtyping import Bool, Int

from app.case import neighbours, show_case
from app.charts import Figure
from app.cohort_data import CLUSTER, Column, changes, cohort_of, column_of, column_title
from app.cohort_finds import clusters, outliers, place, placed_spot, quality
from app.guidance import say, spec_or_guide
from app.map_chart import Places, numbers_map, values_map
from app.picked_scans import show_picked
from app.picking import Picked, drawn_around, of_shown, picked_rows
from app.session import open_archive
from app.webgl import how_to_draw
from app.words import COLUMN_NAMES, count, literal_html, when
from raptor_search.archive import Archive
from raptor_search.catalog import Ids, StoredSpec
from raptor_search.cohorts.map_points import thinned
from raptor_search.cohorts.mapping import Cohort
from raptor_search.errors import RaptorError

__all__ = ["show"]

FIRST_COLOURS = ("modality", "body_part", "sex", "age")
HOVER_COLUMNS = ("modality", "body_part")

OFFERED_VALUES = 40
"""Values of a column that can be shown alone."""

BESIDE = 800
"""Height in pixels of what stands beside the map, so that what is picked follows below it at once."""

MOUSE = ("Draw around scans", "Click opens a case, drag moves")

ASIDE = ("Case", "Clusters", "Outliers", "Place a scan")


def show() -> None:
    """Draw the page."""
    archive = open_archive()
    st.title("Cohort", anchor=False)
    stored = spec_or_guide(archive)
    if stored is None:
        return
    cohort = _offer_drawing(archive, stored, cohort_of(archive, stored))
    if cohort is None:
        return
    left, right = st.columns([3, 2], gap="large")
    with left:
        first, second = st.columns(2)
        with first:
            column = _choose_colour(archive, stored, cohort)
        with second:
            shown = _choose_values(column)
        _map(archive, stored, cohort, column, shown)
        quality(cohort)
    with right, st.container(height=BESIDE, border=False):
        _aside(archive, stored, cohort)
    picked = cast("Picked | None", st.session_state.get("cohort picked"))
    if picked is not None:
        _picked(archive, stored, cohort, column, picked_rows(picked, cohort, shown), picked.words)


def _offer_drawing(archive: Archive, stored: StoredSpec, cohort: Cohort | None) -> Cohort | None:
    """The map to show, after offering to draw one where there is none or scans have come or gone since."""
    if cohort is None:
        st.write("The map puts scans that are alike close together. It has not been drawn for this archive yet.")
        if st.button("Draw the map", type="primary", icon=":material/scatter_plot:"):
            _draw(archive)
        return None
    new, gone = changes(archive, stored, cohort)
    if new.size or gone.size:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.warning(
                f"The map is from {when(cohort.drawn.created_at)}: {count(len(new), 'scan')} came and "
                f"{count(len(gone), 'scan')} went since.",
                icon=":material/update:",
            )
            if st.button("Draw it again", icon=":material/refresh:"):
                _draw(archive)
    return cohort


def _draw(archive: Archive) -> None:
    """Draw it and show the page anew, or say why not."""
    try:
        with st.spinner("Drawing the map: this takes from seconds to a few minutes", show_time=True):
            archive.draw_map()
    except RaptorError as error:
        say(error)
        return
    st.rerun()  # what was said of the map before is not true of the new one


def _names(archive: Archive, cohort: Cohort) -> list[str]:
    """Columns that may colour the map, those that say most first."""
    labels = [name for name, kind in archive.catalog.columns().items() if kind == "label"]
    rest = [name for name in COLUMN_NAMES if name not in FIRST_COLOURS]
    return [*FIRST_COLOURS, *([CLUSTER] if cohort.detail is not None else []), *labels, *rest]


def _choose_colour(archive: Archive, stored: StoredSpec, cohort: Cohort) -> Column:
    name = st.selectbox(
        "Colour by",
        _names(archive, cohort),
        format_func=column_title,
        key="colour",
        persist_state="session",
    )
    return column_of(archive, stored, cohort, name)


def _choose_values(column: Column) -> Bool[np.ndarray, " n"]:
    """Which scans are shown: those with one of the chosen values; all where none is chosen."""
    everything = np.ones(len(column.codes), bool)
    if len(column.names) < 2:
        return everything
    chosen = st.multiselect(
        f"Show only ({column_title(column.name)})",
        column.names[:OFFERED_VALUES],
        placeholder="all",
        key=f"only {column.name}",
    )
    if not chosen:
        return everything
    return np.isin(column.codes, [column.names.index(name) for name in chosen])


def _map(archive: Archive, stored: StoredSpec, cohort: Cohort, column: Column, shown: Bool[np.ndarray, " n"]) -> None:
    there = np.flatnonzero(shown)
    drawing = how_to_draw(len(shown))
    mouse = st.segmented_control(
        "What the mouse does", MOUSE, default=MOUSE[0], required=True, key="mouse", label_visibility="collapsed"
    )
    rows = there[thinned(cohort.drawn.coordinates[there], column.codes[there], limit=drawing.limit)]
    st.plotly_chart(
        _figure(archive, stored, cohort, column, rows, webgl=drawing.webgl, lasso=mouse == MOUSE[0]),
        key="map",
        on_select=_take,
        selection_mode=("points", "box", "lasso"),
        config={"scrollZoom": True, "displaylogo": False, "displayModeBar": True},
        alt=f"Map of {count(len(there), 'scan')} coloured by {column_title(column.name)}. "
        "Clusters and outliers are listed beside it, and can be selected there.",
    )
    st.caption(
        f"{count(len(there), 'scan')}, drawn {when(cohort.drawn.created_at)}. Only nearness means something: "
        "neither the axes nor the distance between far groups does."
    )
    if len(rows) < len(there):
        st.caption(
            f":material/blur_on: {len(rows):,} of {len(there):,} points are drawn: crowded places are thinned, lone "
            "points and rare values stay. What you draw around is looked up among all scans, drawn or not."
        )
    if drawing.lacks_webgl:
        st.caption(":material/info: This browser draws no WebGL: the map is drawn the slower way, with fewer points.")
    st.button("Select all that are shown", icon=":material/select_all:", on_click=_take_all, key="pick shown")


def _figure(
    archive: Archive,
    stored: StoredSpec,
    cohort: Cohort,
    column: Column,
    rows: Int[np.ndarray, " m"],
    *,
    webgl: bool,
    lasso: bool,
) -> Figure:
    coordinates = cohort.drawn.coordinates
    (left, low), (right, high) = coordinates.min(axis=0).tolist(), coordinates.max(axis=0).tolist()
    values = column.values(rows)
    places = Places(
        xy=coordinates[rows],
        ids=cohort.drawn.volume_ids[rows],
        hover=_hover(archive, stored, cohort, column, rows, values),
        webgl=webgl,
        lasso=lasso,
        frame=(left, right, low, high),
        spot=placed_spot(cohort),
    )
    if column.numbers is not None:
        return numbers_map(places, column.numbers[rows], column_title(column.name))
    return values_map(places, values, column.names)


def _hover(
    archive: Archive,
    stored: StoredSpec,
    cohort: Cohort,
    column: Column,
    rows: Int[np.ndarray, " m"],
    values: Sequence[str | None],
) -> list[str]:
    """What the pointer says: case, the usual facts, and the column that colours the map."""
    facts = [column_of(archive, stored, cohort, name).values(rows) for name in HOVER_COLUMNS]
    title = literal_html(column_title(column.name))
    lines = []
    for case, *known, value in zip(cohort.drawn.volume_ids[rows].tolist(), *facts, values, strict=True):
        kind = literal_html(" ".join(fact for fact in known if fact is not None))
        lines.append(f"<b>Case {case}</b><br>{kind}<br>{title}: {literal_html(value or 'unknown')}")
    return lines


def _take() -> None:
    """Something was drawn around or clicked on the map. An emptied selection takes the pick away."""
    selection = cast(Any, st.session_state["map"]).selection
    drawn = drawn_around(selection)
    if drawn is None and selection["points"]:
        case = selection["points"][0].get("customdata")
        if case is not None:
            st.session_state["cohort case"] = int(case[0] if isinstance(case, list) else case)
            st.session_state["cohort aside"] = ASIDE[0]
            return
    _take_pick(drawn)


def _take_all() -> None:
    _take_pick(of_shown())


def _take_pick(picked: Picked | None) -> None:
    st.session_state.pop("picked done", None)
    if picked is None:
        st.session_state.pop("cohort picked", None)
    else:
        st.session_state["cohort picked"] = picked


def _aside(archive: Archive, stored: StoredSpec, cohort: Cohort) -> None:
    """What stands beside the map: one of four."""
    st.session_state.setdefault("cohort aside", ASIDE[0] if "cohort case" in st.session_state else ASIDE[1])
    chosen = st.segmented_control(
        "Beside the map", ASIDE, key="cohort aside", required=True, label_visibility="collapsed"
    )
    if chosen == ASIDE[1]:
        clusters(archive, cohort)
    elif chosen == ASIDE[2]:
        outliers(archive, cohort)
    elif chosen == ASIDE[3]:
        place(archive, stored, cohort)
    elif (case := st.session_state.get("cohort case")) is None:
        st.info("Click a point to open its case.", icon=":material/ads_click:")
    else:
        show_case(archive, case)
        neighbours(archive, case)


def _picked(
    archive: Archive, stored: StoredSpec, cohort: Cohort, column: Column, rows: Int[np.ndarray, " m"], words: str
) -> None:
    def counted() -> tuple[Column, Ids]:
        names = _names(archive, cohort)
        name = st.selectbox(
            "Count by",
            names,
            index=names.index(column.name),
            format_func=column_title,
            key=f"count by, coloured by {column.name}",
        )
        return column_of(archive, stored, cohort, name), rows

    show_picked(archive, stored, words, cohort.drawn.volume_ids[rows], counted)


if __name__ == "__main__":
    show()
