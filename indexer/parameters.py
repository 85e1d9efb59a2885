"""What several commands share: the archive's folder, its specs, `--json`, and where they write."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

__all__ = ["DEFAULT_HOME", "Factory", "Home", "Json", "Spec", "err", "out"]

DEFAULT_HOME = Path("raptor-archive")

Home = Annotated[
    Path, typer.Option(envvar="RAPTOR_HOME", help="The archive's folder.", callback=lambda path: path.expanduser())
]
Spec = Annotated[str | None, typer.Option(help="Fingerprint (or its start) of another spec of the archive.")]
Factory = Annotated[str | None, typer.Option("--index", help="FAISS factory string; by size by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

# Without emoji: rich would take the ":-1:" of a device, or ":d:" in a path, for one.
out = Console(emoji=False)
err = Console(stderr=True, emoji=False)
