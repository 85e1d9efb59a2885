"""What `raptor encoders` prints: one line an encoder, whole however narrow the terminal, and the same for `--json`."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from indexer.plain_text import say
from raptor_search.encoder_cards import OPEN_CLIP, OPEN_CLIP_INSTALL
from raptor_search.encoder_listing import ListedEncoder, has_open_clip

__all__ = ["encoders_json", "encoders_table", "open_clip_line"]

HEADINGS = ("encoder", "d", "grid", "patch", "image", "layers", "CLS", "licence", "weights", "source")

REVISION_SHOWN = 12


def encoders_json(encoders: Sequence[ListedEncoder]) -> dict[str, Any]:
    """Every field of every card, with the whereabouts of its weights."""
    return {
        "encoders": [
            {
                **{name: value for name, value in dataclasses.asdict(listed.card).items() if name != "package"},
                "weights": listed.weights,
                "file": None if listed.file is None else str(listed.file),
                "command": listed.command,
            }
            for listed in encoders
        ],
        "open_clip": {"installed": has_open_clip(), "command": None if has_open_clip() else OPEN_CLIP_INSTALL},
    }


def encoders_table(out: Console, encoders: Sequence[ListedEncoder]) -> None:
    """One line an encoder, aligned; `source` last, since it is the longest."""
    rows = [HEADINGS, *(_row(listed) for listed in encoders)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    for number, row in enumerate(rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        say(out, line, "bold" if number == 0 else "")


def open_clip_line() -> str:
    """What to do for the encoders that open_clip brings."""
    do = "listed by `raptor encoders --open-clip`" if has_open_clip() else f"not installed: run `{OPEN_CLIP_INSTALL}`"
    return f"{OPEN_CLIP}MODEL/PRETRAINED  CLIP, SigLIP and SigLIP 2 through open_clip, {do}"


def _row(listed: ListedEncoder) -> tuple[str, ...]:
    card = listed.card
    revision = card.revision[:REVISION_SHOWN] if card.revision else "main, not pinned"
    layers = str(card.layers) if card.layers else "last"
    if listed.weights == "package":
        weights = f"package not installed: {listed.command}"
    else:
        weights = "here" if listed.weights == "here" else "would be downloaded"
    grid, image = f"{card.grid[0]}x{card.grid[1]}", str(card.image)
    cls = "yes" if card.has_cls else "no"
    source = f"{card.source}@{revision}"
    return card.name, str(card.dim), grid, str(card.patch), image, layers, cls, card.licence, weights, source
