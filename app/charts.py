"""The figures of the page: bars, a confusion matrix, and where two scans match."""

import base64
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

from app.palette import ACCENT, SEQUENCE, SIGNED, marks
from app.words import literal_html
from raptor_search.searching.region import Region
from raptor_search.statistics.efficiency import CurvePoint

__all__ = [
    "Figure",
    "bars",
    "calibration",
    "cells",
    "confusion",
    "efficiency",
    "match",
    "per_class",
    "roc",
    "spread",
]

Figure: TypeAlias = go.Figure

_DASHES = ("solid", "dash", "dot", "dashdot")
"""The colours are used up after seven lines."""

_BARE = {"visible": False, "showgrid": False, "zeroline": False}


def bars(counts: Mapping[str, int]) -> Figure:
    """One horizontal bar a value, the longest on top."""
    names = [literal_html(name) for name in counts]
    amounts = list(counts.values())
    figure = go.Figure(
        go.Bar(
            x=amounts,
            y=names,
            orientation="h",
            marker={"color": ACCENT},
            text=amounts,
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x}<extra></extra>",
        )
    )
    figure.update_xaxes(visible=False, rangemode="tozero")
    figure.update_yaxes(type="category", ticksuffix="  ", autorange="reversed")
    figure.update_layout(height=10 + 32 * len(names), margin={"l": 0, "r": 36, "t": 0, "b": 0}, bargap=0.35)
    return figure


def spread(values: Float[np.ndarray, " n"]) -> Figure:
    """How often numbers are how large, in bins that the browser makes."""
    figure = go.Figure(go.Histogram(x=values, marker={"color": ACCENT}, nbinsx=24))
    figure.update_xaxes(showgrid=False)
    figure.update_yaxes(title="scans")
    figure.update_layout(height=220, margin={"l": 0, "r": 0, "t": 0, "b": 0}, bargap=0.05)
    return figure


def confusion(classes: Sequence[str], matrix: Int[np.ndarray, "c c"]) -> Figure:
    """Scans by true class (rows) and predicted class (columns)."""
    names = [literal_html(name) for name in classes]
    figure = go.Figure(
        go.Heatmap(
            z=matrix,
            x=names,
            y=names,
            zmin=0,
            colorscale=SEQUENCE,
            showscale=False,
            texttemplate="%{z}",
            xgap=2,
            ygap=2,
            hovertemplate="is %{y}, taken for %{x}: %{z}<extra></extra>",
        )
    )
    figure.update_xaxes(title="answer", type="category", side="bottom", showgrid=False)
    figure.update_yaxes(title="true class", type="category", autorange="reversed", showgrid=False)
    figure.update_layout(height=160 + 44 * len(names), margin={"l": 0, "r": 0, "t": 8, "b": 0})
    return figure


def calibration(bins: Sequence[tuple[int, float, float]]) -> Figure:
    """Share of right answers over mean confidence, a dot a bin; on the diagonal both agree.

    Args:
        bins: how many scans, their mean confidence, their share of right answers.
    """
    counts, confidence, right = zip(*bins, strict=True) if bins else ((), (), ())
    figure = go.Figure()
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": "#9aa5ad", "dash": "dot"}, hoverinfo="skip")
    figure.add_scatter(
        x=confidence,
        y=right,
        customdata=counts,
        mode="markers",
        marker={
            "color": ACCENT,
            "size": counts,
            "sizemode": "area",
            "sizemin": 4,
            "sizeref": 2 * max(counts, default=1) / 26**2,  # the fullest bin is 26 pixels across
        },
        hovertemplate="%{customdata} scans: confidence %{x:.2f}, right %{y:.2f}<extra></extra>",
    )
    figure.update_xaxes(title="confidence", range=[0, 1.06])
    figure.update_yaxes(title="share of right answers", range=[-0.06, 1.06])
    figure.update_layout(height=300, margin={"l": 0, "r": 0, "t": 8, "b": 0}, showlegend=False)
    return figure


def roc(curves: Mapping[str, Float[np.ndarray, "p 2"]], areas: Mapping[str, str]) -> Figure:
    """ROC curves by class: share found over share of false alarms; chance is the diagonal.

    Args:
        curves: points of each class.
        areas: the AUROC of each, as the legend has it.
    """
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": "#9aa5ad", "dash": "dot"}, hoverinfo="skip", showlegend=False
    )
    looks = marks(list(curves))
    for place, (name, points) in enumerate(curves.items()):
        figure.add_scatter(
            x=points[:, 0],
            y=points[:, 1],
            mode="lines",
            name=f"{literal_html(name)} {areas[name]}",
            line={"color": looks[name].colour, "dash": _DASHES[place // 7 % len(_DASHES)], "width": 2},
            hovertemplate="false alarms %{x:.2f}, found %{y:.2f}<extra></extra>",
        )
    figure.update_xaxes(title="share of false alarms", range=[-0.02, 1.02])
    figure.update_yaxes(title="share found", range=[-0.02, 1.02])
    figure.update_layout(height=320, margin={"l": 0, "r": 0, "t": 8, "b": 0}, legend={"title": {"text": "AUROC"}})
    return figure


def per_class(areas: Mapping[str, float]) -> Figure:
    """AUROC of each class, with chance as a line; a class without one has no dot."""
    names = [literal_html(name) for name in areas]
    figure = go.Figure(
        go.Scatter(
            x=list(areas.values()),
            y=names,
            mode="markers",
            marker={"color": ACCENT, "size": 11},
            hovertemplate="%{y}: AUROC %{x:.3f}<extra></extra>",
        )
    )
    figure.add_vline(x=0.5, line={"color": "#9aa5ad", "dash": "dot"})
    figure.update_xaxes(title="AUROC (chance is the dotted line)", range=[-0.03, 1.03])
    figure.update_yaxes(type="category", autorange="reversed", ticksuffix="  ")
    figure.update_layout(height=100 + 26 * len(names), margin={"l": 0, "r": 0, "t": 8, "b": 0}, showlegend=False)
    return figure


def efficiency(points: Sequence[CurvePoint]) -> Figure:
    """AUROC over a growing number of subjects to learn from, with the range of the draws."""
    value = np.array([point.auroc for point in points])
    figure = go.Figure(
        go.Scatter(
            x=[point.subjects for point in points],
            y=value,
            error_y={
                "type": "data",
                "symmetric": False,
                "array": np.array([point.high for point in points]) - value,
                "arrayminus": value - np.array([point.low for point in points]),
            },
            mode="lines+markers",
            marker={"color": ACCENT},
            line={"color": ACCENT},
            hovertemplate="%{x} subjects: AUROC %{y:.3f}<extra></extra>",
        )
    )
    figure.update_xaxes(title="subjects to learn from", type="log")
    figure.update_yaxes(title="AUROC")
    figure.update_layout(height=300, margin={"l": 0, "r": 0, "t": 8, "b": 0}, showlegend=False)
    return figure


def match(picture: bytes | None, shares: Float[np.ndarray, "3 rows cols"], *, opacity: float) -> Figure:
    """Each grid cell's share of the score over a three-plane picture.

    Args:
        picture: PNG of the three planes side by side; None leaves the ground black.
        shares: parts of the score, planes in the picture's order.
        opacity: of the overlay, 0 to 1.
    """
    _, rows, cols = shares.shape
    width = 3 * cols
    limit = float(np.abs(shares).max())
    figure = go.Figure(
        go.Heatmap(
            z=np.concatenate(list(shares), axis=1),
            x0=0.5,
            y0=0.5,
            zmin=-limit,
            zmax=limit,
            colorscale=SIGNED,
            opacity=opacity,
            hovertemplate="share of the score: %{z:.4f}<extra></extra>",
            colorbar={"thickness": 10, "outlinewidth": 0, "tickformat": ".3f", "len": 0.95},
        )
    )
    return _over(figure, picture, rows, width)


def cells(picture: bytes | None, grid: tuple[int, int], regions: Sequence[Region]) -> Figure:
    """The grid of the three planes over a picture, a point a cell to draw a box around; chosen regions are framed.

    Args:
        picture: PNG of the three planes side by side; None leaves the ground black.
        grid: rows and columns of one plane.
        regions: that the search is confined to.
    """
    rows, cols = grid
    places = [(plane, row, col) for plane in range(3) for row in range(rows) for col in range(cols)]
    figure = go.Figure(
        go.Scatter(
            x=[plane * cols + col + 0.5 for plane, _, col in places],
            y=[row + 0.5 for _, row, _ in places],
            customdata=places,
            mode="markers",
            marker={"size": 4, "color": "#f0b429", "opacity": 0.35},
            hovertemplate="row %{customdata[1]}, column %{customdata[2]}<extra></extra>",
        )
    )
    for region in regions:
        left = region.plane * cols
        corners = {"x0": left + region.columns[0], "x1": left + region.columns[1] + 1}
        corners |= {"y0": region.rows[0], "y1": region.rows[1] + 1}
        figure.add_shape(type="rect", line={"color": "#e66100", "width": 3}, **corners)
    figure.update_layout(dragmode="select")
    return _over(figure, picture, rows, 3 * cols)


def _over(figure: Figure, picture: bytes | None, rows: int, width: int) -> Figure:
    """The figure with a picture of `rows` x `width` cells below it."""
    if picture is not None:
        source = "data:image/png;base64," + base64.b64encode(picture).decode()
        corner = {"x": 0, "y": 0, "sizex": width, "sizey": rows}
        figure.add_layout_image(source=source, xref="x", yref="y", sizing="stretch", layer="below", **corner)
    figure.update_xaxes(range=[0, width], constrain="domain", **_BARE)
    figure.update_yaxes(range=[rows, 0], scaleanchor="x", constrain="domain", **_BARE)
    figure.update_layout(height=310, margin={"l": 0, "r": 0, "t": 0, "b": 0}, plot_bgcolor="black")
    return figure
