"""A part of the picture to compare: some cells of some planes, all else left aside.

The score is a sum over grid cells, so it can be confined to a few of them: the cosine of what two centred embeddings
have in those cells. A cell is a place in the picture, not in the body: scans are not registered to each other, so the
same cell need not be the same anatomy; and it holds the average over all slices of its plane.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from raptor_search.errors import QueryError
from raptor_search.specs import EmbeddingSpec

__all__ = ["NOT_REGISTERED", "Region", "parse_region", "region_columns"]

NOT_REGISTERED = (
    "cells are places in the picture and scans are not registered: the same cell need not be the same anatomy"
)

PLANES = ("axial", "coronal", "sagittal")

FORM = "expected PLANE:ROWS,COLUMNS with the plane axial, coronal or sagittal, such as axial:4-7,9-11"

_TEXT = re.compile(r"(?P<plane>\w+):(?P<r0>\d+)(-(?P<r1>\d+))?,(?P<c0>\d+)(-(?P<c1>\d+))?")


@dataclass(frozen=True)
class Region:
    """A rectangle of cells of one plane, from 0, both ends included, as `raptor_search.slicing` lays the planes out.

    Attributes:
        plane: 0, 1, 2: axial, coronal, sagittal, or the stored axes.
        rows: first and last row.
        columns: first and last column.

    Raises:
        QueryError: on construction, where no grid can have it.
    """

    plane: int
    rows: tuple[int, int]
    columns: tuple[int, int]

    def __post_init__(self) -> None:
        in_order = 0 <= self.rows[0] <= self.rows[1] and 0 <= self.columns[0] <= self.columns[1]
        if not 0 <= self.plane < len(PLANES) or not in_order:
            raise QueryError(f"the region {self} is empty or outside: {FORM}")

    def __str__(self) -> str:
        (r0, r1), (c0, c1) = self.rows, self.columns
        name = PLANES[self.plane] if 0 <= self.plane < len(PLANES) else f"plane {self.plane}"
        return f"{name}:{r0}-{r1},{c0}-{c1}"


def parse_region(text: str) -> Region:
    """The region that `PLANE:r0-r1,c0-c1` names; a single number is a single row or column.

    Raises:
        QueryError: the text names none.
    """
    found = _TEXT.fullmatch(text.replace(" ", ""))
    if found is None or found["plane"].lower() not in PLANES:
        raise QueryError(f"the region {text[:64]!r} cannot be read: {FORM}")
    r0, c0 = int(found["r0"]), int(found["c0"])
    rows = (r0, int(found["r1"] or r0))
    return Region(PLANES.index(found["plane"].lower()), rows, (c0, int(found["c1"] or c0)))


def region_columns(regions: Sequence[Region], spec: EmbeddingSpec, components: int) -> Int64[np.ndarray, " c"]:
    """The numbers of an embedding that lie in the regions, as places in the flat order [plane, component, token].

    Args:
        regions: at least one; a cell of two of them counts once.
        spec: of the embedding.
        components: leading components that the flat vector holds.

    Raises:
        QueryError: a region reaches beyond the grid of the spec.
    """
    rows, columns = spec.grid
    cells = np.zeros((3, rows, columns), np.bool_)
    for region in regions:
        if region.rows[1] >= rows or region.columns[1] >= columns:
            raise QueryError(f"the region {region} reaches beyond the grid: rows 0-{rows - 1}, columns 0-{columns - 1}")
        cells[region.plane, region.rows[0] : region.rows[1] + 1, region.columns[0] : region.columns[1] + 1] = True
    tokens = np.zeros((3, spec.tokens_per_plane), np.bool_)
    tokens[:, spec.tokens_per_plane - rows * columns :] = cells.reshape(3, -1)  # the CLS token, if any, comes first
    return np.flatnonzero(np.broadcast_to(tokens[:, np.newaxis], (3, components, spec.tokens_per_plane)))
