"""The archive's growth as a figure."""

import plotly.graph_objects as go

from app.charts import Figure
from app.palette import ACCENT
from raptor_search.contents import Growth

__all__ = ["growth_chart"]

FEW = 8
"""Days that are named one by one on the axis; left to itself it names hours between them."""


def growth_chart(growth: Growth) -> Figure:
    """How many scans there were at the end of each day."""
    figure = go.Figure(
        go.Scatter(
            x=growth.days,
            y=growth.total,
            customdata=growth.added,
            mode="lines+markers",
            line={"color": ACCENT, "shape": "hv"},
            hovertemplate="%{x}: %{y} scans, %{customdata} came<extra></extra>",
        )
    )
    few = {"tickvals": growth.days} if len(growth.days) <= FEW else {}
    figure.update_xaxes(type="date", showgrid=False, tickformat="%Y-%m-%d", **few)
    figure.update_yaxes(title="scans", rangemode="tozero")
    figure.update_layout(height=220, margin={"l": 0, "r": 0, "t": 0, "b": 0})
    return figure
