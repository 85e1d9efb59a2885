"""What goes to a terminal: a file's name or a label may hold characters that would move its cursor or colour it."""

import unicodedata

from rich.console import Console
from rich.markup import escape

__all__ = ["cell", "plain", "say"]

ESCAPED = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories of what is no letter, sign or space: controls, marks of direction, halves of characters, breaks of
lines."""


def plain(text: str) -> str:
    r"""The text on one line, controls and the like as Python writes them: "\n", "\x1b"."""
    if text.isprintable():
        return text
    return "".join(_written(letter) for letter in text)


def cell(text: str) -> str:
    """The text as a cell of a table."""
    return escape(plain(text))


def say(out: Console, text: str, style: str = "") -> None:
    """One line as it is, never wrapped."""
    out.print(plain(text), style=style, soft_wrap=True, highlight=False, markup=False)


def _written(letter: str) -> str:
    if unicodedata.category(letter) in ESCAPED:
        return letter.encode("unicode_escape").decode("ascii")
    return letter
