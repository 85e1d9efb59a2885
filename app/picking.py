"""What a user has picked on the map: by drawing around it, by its cluster, or because it lies outside everything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from raptor_search.cohorts.map_points import inside_box, inside_lasso
from raptor_search.cohorts.mapping import Cohort

__all__ = ["Picked", "drawn_around", "of_cluster", "of_outliers", "of_shown", "picked_rows"]

Corners = tuple[tuple[float, ...], tuple[float, ...]]
"""x and y of a line's corners."""


@dataclass(frozen=True, kw_only=True)
class Picked:
    """A pick, in words and as what it is made of.

    Attributes:
        words: what the page calls it.
        lassos: lines drawn around scans.
        boxes: rectangles drawn around scans, two corners each.
        cluster: number of a cluster.
        outliers: whether it is the scans that lie outside.
    """

    words: str
    lassos: tuple[Corners, ...] = ()
    boxes: tuple[Corners, ...] = ()
    cluster: int | None = None
    outliers: bool = False


def drawn_around(selection: Mapping[str, Any]) -> Picked | None:
    """What was drawn on the chart; None where nothing was."""
    lassos, boxes = _corners(selection.get("lasso", ())), _corners(selection.get("box", ()))
    if not lassos and not boxes:
        return None
    return Picked(words="inside what you drew", lassos=lassos, boxes=boxes)


def of_cluster(number: int, name: str) -> Picked:
    """The scans of a cluster."""
    return Picked(words=f"of cluster {name}", cluster=number)


def of_outliers() -> Picked:
    """The scans that lie outside."""
    return Picked(words="far from their neighbours", outliers=True)


def of_shown() -> Picked:
    """Every scan that the map shows."""
    return Picked(words="on the map")


def picked_rows(picked: Picked, cohort: Cohort, shown: Bool[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
    """Rows of the map's scans that are picked and shown: every one, whether or not its point is drawn."""
    places = cohort.drawn.coordinates
    if picked.lassos or picked.boxes:
        within = np.zeros(len(places), bool)
        for lasso in picked.lassos:
            within |= inside_lasso(places, *lasso)
        for box in picked.boxes:
            within |= inside_box(places, *box)
    elif picked.cluster is not None and cohort.detail is not None:
        within = cohort.detail.clusters == picked.cluster
    elif picked.outliers and cohort.detail is not None:
        within = np.isin(cohort.drawn.volume_ids, cohort.detail.document["outliers"])
    else:
        within = np.ones(len(places), bool)
    return np.flatnonzero(within & shown)


def _corners(shapes: Sequence[Mapping[str, Sequence[float]]]) -> tuple[Corners, ...]:
    return tuple(
        (tuple(map(float, shape["x"])), tuple(map(float, shape["y"]))) for shape in shapes if len(shape["x"]) > 1
    )
