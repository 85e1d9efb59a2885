"""The figure of the cohort map: a point a scan, coloured by value or by number."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

from app.charts import Figure
from app.palette import NUMBERS, Mark, marks
from app.words import literal_html

__all__ = ["Places", "Spot", "numbers_map", "values_map"]

_BARE = {"visible": False, "showgrid": False, "zeroline": False}


@dataclass(frozen=True)
class Spot:
    """A place that is marked on the map, and what is said of it."""

    x: float
    y: float
    words: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Places:
    """Where each case lies that is drawn.

    Attributes:
        xy: map coordinates.
        ids: volume ids.
        hover: what is shown over each point, as HTML.
        webgl: whether the browser draws them by WebGL; else as SVG, which every browser and remote desktop has.
        frame: least and greatest x and y of the whole map, so that the view does not depend on what is drawn.
        spot: a place that is marked.
        lasso: whether dragging draws around points; else it moves the map, and a click picks one point.
    """

    xy: Float[np.ndarray, "n 2"]
    ids: Int[np.ndarray, " n"]
    hover: Sequence[str]
    webgl: bool
    frame: tuple[float, float, float, float]
    spot: Spot | None = None
    lasso: bool = True

    def trace(self, rows: Sequence[int], **look: object) -> go.Scatter | go.Scattergl:
        """The points of some rows."""
        kind = go.Scattergl if self.webgl else go.Scatter
        return kind(
            x=self.xy[rows, 0],
            y=self.xy[rows, 1],
            customdata=self.ids[rows],
            hovertext=[self.hover[row] for row in rows],
            hovertemplate="%{hovertext}<extra></extra>",
            mode="markers",
            unselected={"marker": {"opacity": 0.25}},
            **look,
        )


def values_map(places: Places, values: Sequence[str | None], names: Sequence[str]) -> Figure:
    """The map coloured by category, a legend entry each.

    Args:
        places: of the scans that are drawn.
        values: of them.
        names: every value of the whole map, the commonest first: colours depend on these alone.
    """
    looks = marks(names)
    rows: dict[Mark, list[int]] = defaultdict(list)
    for row, value in enumerate(values):
        rows[looks[value]].append(row)
    figure = go.Figure()
    for look in dict.fromkeys(looks.values()):
        if rows[look]:
            marker = {"color": look.colour, "symbol": look.symbol, "size": _size(len(values)), "opacity": 0.85}
            figure.add_trace(places.trace(rows[look], marker=marker, name=literal_html(look.name)))
    return _as_map(figure, places)


def numbers_map(places: Places, values: Float[np.ndarray, " n"], column: str) -> Figure:
    """The map coloured by a number, with a colour bar; cases without one (NaN) are grey rings."""
    known, unknown = np.flatnonzero(~np.isnan(values)).tolist(), np.flatnonzero(np.isnan(values)).tolist()
    figure = go.Figure()
    size = _size(len(values))
    if unknown:
        ring = {"color": "#9aa5ad", "symbol": "circle-open", "size": size}
        figure.add_trace(places.trace(unknown, marker=ring, name="no value", showlegend=False))
    marker = {
        "color": values[known],
        "colorscale": NUMBERS,
        "size": size,
        "opacity": 0.9,
        "colorbar": {"title": {"text": literal_html(column)}, "thickness": 12, "outlinewidth": 0},
    }
    figure.add_trace(places.trace(known, marker=marker, name=literal_html(column), showlegend=False))
    return _as_map(figure, places)


def _size(points: int) -> int:
    return 11 if points < 500 else 7 if points < 5_000 else 4


def _as_map(figure: Figure, places: Places) -> Figure:
    if places.spot is not None:
        star = {"color": "#d55e00", "symbol": "star", "size": 18, "line": {"color": "#ffffff", "width": 1.5}}
        figure.add_scatter(
            x=[places.spot.x],
            y=[places.spot.y],
            mode="markers",
            marker=star,
            name=literal_html(places.spot.words),
            hovertemplate=f"{literal_html(places.spot.words)}<extra></extra>",
        )
    left, right, low, high = places.frame
    figure.update_xaxes(range=_widened(left, right), **_BARE)
    figure.update_yaxes(range=_widened(low, high), **_BARE)
    figure.update_layout(
        height=520,
        margin={"l": 0, "r": 0, "t": 36, "b": 0},
        # What a legend hides would still be picked: what is shown is chosen above the map.
        legend={
            "orientation": "h",
            "y": -0.02,
            "itemsizing": "constant",
            "itemclick": False,
            "itemdoubleclick": False,
        },
        showlegend=True,
        dragmode="lasso" if places.lasso else "pan",
        clickmode="event+select",
        hoverlabel={"align": "left"},
    )
    return figure


def _widened(low: float, high: float) -> list[float]:
    margin = 0.04 * (high - low) or 1.0
    return [low - margin, high + margin]
