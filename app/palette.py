"""Colours that people with colour-blindness can tell apart, on white and on black.

Categories take Okabe and Ito's set (Color Universal Design, 2008) and, once it is used up, other marker shapes;
numbers take Cividis; signed shares take blue through nothing to orange.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

__all__ = [
    "ACCENT",
    "MISSING",
    "NUMBERS",
    "OTHER",
    "SEQUENCE",
    "SIGNED",
    "SIGNED_STOPS",
    "Mark",
    "marks",
    "signed_colours",
]

ACCENT = "#0b6e8f"
NUMBERS = "Cividis"
SEQUENCE = ((0.0, "#e9f1f5"), (1.0, "#0b6e8f"))
SIGNED_STOPS = (
    (0.0, (0, 114, 178, 217)),
    (0.35, (86, 180, 233, 77)),
    (0.5, (128, 128, 128, 0)),
    (0.65, (240, 180, 0, 77)),
    (1.0, (230, 97, 0, 217)),
)
"""From the least share to the greatest, 0 in the middle: red, green, blue and opacity, each up to 255."""

SIGNED = tuple((stop, f"rgba({r},{g},{b},{a / 255:.2f})") for stop, (r, g, b, a) in SIGNED_STOPS)

_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C7A00")
_SYMBOLS = ("circle", "diamond", "square", "triangle-up")


@dataclass(frozen=True)
class Mark:
    """How one category is drawn."""

    name: str
    colour: str
    symbol: str


MISSING = Mark("no value", "#9aa5ad", "circle-open")
OTHER = Mark("all others", "#6b757c", "x")


def marks(values: Sequence[str | None]) -> dict[str | None, Mark]:
    """A mark for each distinct value, the commonest first; beyond the distinguishable ones all share `OTHER`."""
    common = [value for value, _ in Counter(v for v in values if v is not None).most_common()]
    looks = [(colour, symbol) for symbol in _SYMBOLS for colour in _COLOURS]
    drawn: dict[str | None, Mark] = {value: Mark(value, *look) for value, look in zip(common, looks, strict=False)}
    drawn |= dict.fromkeys(common[len(looks) :], OTHER)
    drawn[None] = MISSING
    return drawn


def signed_colours(shares: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape 4"]:
    """Red, green, blue and opacity of signed values, the greatest magnitude among them at the scale's end."""
    limit = float(np.abs(shares).max(initial=0.0))
    places = 0.5 + shares / (2 * limit) if limit else np.full(shares.shape, 0.5)
    stops = [stop for stop, _ in SIGNED_STOPS]
    channels = [np.interp(places, stops, [colour[channel] for _, colour in SIGNED_STOPS]) for channel in range(4)]
    colours: UInt8[np.ndarray, "*shape 4"] = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return colours
