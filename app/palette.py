"""Colours that people with colour-blindness can tell apart, on white and on black.

Categories take Okabe and Ito's set (Color Universal Design, 2008) and, once it is used up, other marker shapes;
numbers take Cividis; signed shares take blue through nothing to orange.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ACCENT", "MISSING", "NUMBERS", "OTHER", "SEQUENCE", "SIGNED", "Mark", "marks"]

ACCENT = "#0b6e8f"
NUMBERS = "Cividis"
SEQUENCE = ((0.0, "#e9f1f5"), (1.0, "#0b6e8f"))
SIGNED = (
    (0.0, "rgba(0,114,178,0.85)"),
    (0.35, "rgba(86,180,233,0.30)"),
    (0.5, "rgba(128,128,128,0.0)"),
    (0.65, "rgba(240,180,0,0.30)"),
    (1.0, "rgba(230,97,0,0.85)"),
)

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
