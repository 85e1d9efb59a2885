"""Where a search is steered to: cases that it shall be more or less like, and a part of the picture.

Each is a line of text that can be typed, set by a button or a box that is drawn, and kept in the address.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import streamlit as st

from raptor_search.errors import QueryError
from raptor_search.searching.region import PLANES, Region, parse_region

__all__ = ["EMPTY", "Steering", "add_example", "boxes", "parse_cases", "parse_regions", "steer", "take_region"]

EMPTY: Mapping[str, str] = {"like": "", "unlike": "", "region": ""}
"""The widgets' keys, and their state where the search is not steered."""

MAX_EXAMPLES = 50

_CASE = re.compile("[0-9]{1,18}")


class Steering(NamedTuple):
    """The three lines as they were typed."""

    like: str
    unlike: str
    region: str


def steer() -> Steering:
    """Draw the three lines."""
    st.subheader("Steer it", anchor=False)
    like = st.text_input("More like these cases", placeholder="3, 7", key="like", persist_state="session")
    unlike = st.text_input("Less like these cases", placeholder="12", key="unlike", persist_state="session")
    region = st.text_input(
        "Region",
        placeholder="axial:4-7,9-11",
        key="region",
        persist_state="session",
        help="Plane, rows and columns of the grid of cells, from 0; several are parted by a semicolon. "
        "Or draw a box on the query's picture.",
    )
    return Steering(like, unlike, region)


def parse_cases(text: str) -> tuple[int, ...]:
    """Case numbers parted by commas or spaces, each once.

    Raises:
        QueryError: something else than case numbers, or too many.
    """
    words = text.replace(",", " ").split()
    for word in words:
        if not _CASE.fullmatch(word):
            raise QueryError(f"the example {word[:32]!r} is no case number: expected numbers such as 3, 7")
    if len(words) > MAX_EXAMPLES:
        raise QueryError(f"{len(words)} examples; expected at most {MAX_EXAMPLES}")
    return tuple(dict.fromkeys(int(word) for word in words))


def parse_regions(text: str) -> tuple[Region, ...]:
    """Regions parted by semicolons.

    Raises:
        QueryError: one of them cannot be read.
    """
    return tuple(parse_region(part) for part in text.split(";") if part.strip())


def add_example(which: str, case: int) -> None:
    """A hit's button: the case joins one list and leaves the other. Called before the page is drawn anew."""
    for key in ("like", "unlike"):
        words = [word for word in st.session_state.get(key, "").replace(",", " ").split() if word != str(case)]
        st.session_state[key] = ", ".join([*words, str(case)] if key == which else words)


def take_region(key: str) -> None:
    """A box was drawn on the chart of this key: it becomes the region. An emptied selection changes nothing."""
    points = st.session_state[key].selection.points
    if points:
        st.session_state["region"] = boxes(point["customdata"] for point in points)


def boxes(cells: Iterable[tuple[int, int, int]]) -> str:
    """The smallest box in each plane that holds the cells (plane, row, column), as text."""
    planes: dict[int, list[tuple[int, int]]] = {}
    for plane, row, column in cells:
        planes.setdefault(int(plane), []).append((int(row), int(column)))
    found = []
    for plane in sorted(planes):
        rows, columns = zip(*planes[plane], strict=True)
        found.append(f"{PLANES[plane]}:{min(rows)}-{max(rows)},{min(columns)}-{max(columns)}")
    return "; ".join(found)
