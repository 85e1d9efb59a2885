"""Cohort: every scan as a point, similar ones close together; a click opens the case."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import streamlit as st

from app.case import neighbours, show_case
from app.charts import Figure, Places, numbers_map, values_map
from app.guidance import say, spec_or_guide
from app.session import open_archive
from app.words import COLUMN_NAMES, column_name, count, literal_html, shown, when
from raptor_search.archive import Archive
from raptor_search.catalog import StoredMap, StoredSpec, Value
from raptor_search.errors import RaptorError

__all__ = ["show"]

HOVER_COLUMNS = ("modality", "body_part", "sex", "age")
FIRST_COLOURS = ("modality", "body_part", "sex", "age")


def show() -> None:
    """Draw the page."""
    archive = open_archive()
    st.title("Cohort", anchor=False)
    stored = spec_or_guide(archive)
    if stored is None:
        return
    drawn = archive.latest_map()
    drawn = _offer_drawing(archive, stored, drawn)
    if drawn is None:
        return
    left, right = st.columns([3, 2], gap="large")
    with left, st.container(border=True):
        clicked = _map(archive, drawn)
    with right:
        if clicked is None:
            st.info("Click a point to open its case.", icon=":material/ads_click:")
        else:
            show_case(archive, clicked)
            neighbours(archive, clicked)


def _offer_drawing(archive: Archive, stored: StoredSpec, drawn: StoredMap | None) -> StoredMap | None:
    """The map to show, after offering to draw one where there is none or scans have come or gone since."""
    if drawn is None:
        st.write("The map puts scans that are alike close together. It has not been drawn for this archive yet.")
        return _draw(archive) if st.button("Draw the map", type="primary", icon=":material/scatter_plot:") else None
    ids = archive.catalog.ids(stored.id)
    new, gone = np.setdiff1d(ids, drawn.volume_ids), np.setdiff1d(drawn.volume_ids, ids)
    if new.size or gone.size:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.warning(
                f"The map is from {when(drawn.created_at)}: {count(len(new), 'scan')} came and "
                f"{count(len(gone), 'scan')} went since.",
                icon=":material/update:",
            )
            if st.button("Draw it again", icon=":material/refresh:"):
                return _draw(archive) or drawn
    return drawn


def _draw(archive: Archive) -> StoredMap | None:
    try:
        with st.spinner("Drawing the map: this takes from seconds to a few minutes", show_time=True):
            return archive.draw_map()
    except RaptorError as error:
        say(error)
        return None


def _map(archive: Archive, drawn: StoredMap) -> int | None:
    """The map with its choice of colour; gives the case that was clicked last."""
    columns = archive.catalog.columns()
    labels = [name for name, kind in columns.items() if kind == "label"]
    rest = [name for name in COLUMN_NAMES if name not in FIRST_COLOURS]
    column = st.selectbox(
        "Colour by",
        [*FIRST_COLOURS, *labels, *rest],
        format_func=column_name,
        key="colour",
        persist_state="session",
        width=320,
    )
    clicked = st.session_state.get("cohort case")
    values = archive.catalog.column_values(column, drawn.volume_ids)
    places = Places(drawn.coordinates, drawn.volume_ids, _hover(archive, drawn, column, values))
    figure = _coloured(places, column, columns[column] == "number", values, clicked)
    state = st.plotly_chart(
        figure,
        key="map",
        on_select="rerun",
        selection_mode="points",
        config={"scrollZoom": True, "displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d"]},
        alt=f"Map of {count(len(drawn.volume_ids), 'scan')} coloured by {column_name(column)}",
    )
    points = cast(Any, state).selection.points
    if points:
        case = points[0]["customdata"]
        chosen = int(case[0] if isinstance(case, list) else case)
        if chosen != clicked:
            st.session_state["cohort case"] = chosen
            st.rerun()
    st.caption(
        f"{count(len(drawn.volume_ids), 'scan')}, drawn {when(drawn.created_at)}. Only nearness means something: "
        "neither the axes nor the distance between far groups does."
    )
    return clicked


def _coloured(
    places: Places, column: str, numeric: bool, values: Sequence[Value | None], selected: int | None
) -> Figure:
    if numeric:
        numbers = [None if value is None else float(value) for value in values]
        return numbers_map(places, numbers, column_name(column), selected)
    return values_map(places, [None if value is None else shown(value) for value in values], selected)


def _hover(archive: Archive, drawn: StoredMap, column: str, values: Sequence[Value | None]) -> list[str]:
    """What the pointer says: case, the usual facts, and the column that colours the map."""
    facts = [archive.catalog.column_values(name, drawn.volume_ids) for name in HOVER_COLUMNS[:2]]
    lines = []
    for case, *known, value in zip(drawn.volume_ids.tolist(), *facts, values, strict=True):
        kind = " ".join(str(fact) for fact in known if fact is not None)
        coloured = f"{literal_html(column_name(column))}: {literal_html(shown(value))}"
        lines.append(f"<b>Case {case}</b><br>{literal_html(kind)}<br>{coloured}")
    return lines


if __name__ == "__main__":
    show()
