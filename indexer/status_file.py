"""How far a run is, in a file that another program may look at whenever it likes.

One JSON object, replaced as a whole, so that nobody reads half of it: `version`, `stage` (discovering, embedding or
publishing), `done` of `total` volumes (of files, `total` 0, while discovering), and `quarantined`.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from indexer.progress import Bar
from raptor_search.errors import ReadError
from raptor_search.readers import Source

__all__ = ["VERSION", "StatusFile"]

VERSION = 1

PAUSE = 0.3
"""Seconds between two writes at least, but for a new stage."""


class StatusFile:
    """Writes what it hears into a file.

    Args:
        path: of the file; its folder is there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state: dict[str, object] = {"version": VERSION, "stage": "starting"}
        self._done = self._total = self._quarantined = 0
        self._written = 0.0
        self._write(at_once=True)

    @contextmanager
    def discovering(self) -> Iterator[Callable[[Path], None]]:
        """Count the files that are looked through."""
        self._enter("discovering", 0)
        yield lambda path: self.volume_done(path.name)

    @contextmanager
    def embedding(self, total: int) -> Iterator[Bar]:
        """Count the volumes that are done."""
        self._enter("embedding", total)
        yield self
        self._write(at_once=True)

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Say that the index is being made."""
        self._state["stage"] = "publishing"
        self._write(at_once=True)
        yield

    def quarantined(self, source: Source, error: ReadError, *, is_new: bool = True) -> None:
        """Count it: the report names it."""
        self._quarantined += 1
        self._write()

    def notice(self, text: str) -> None:
        """Keep the last one."""
        self._state["notice"] = text
        self._write()

    def slices(self, done: int, total: int) -> None:
        """Volumes are counted alone."""

    def volume_done(self, name: str) -> None:
        """One more."""
        self._done += 1
        self._write()

    def _enter(self, stage: str, total: int) -> None:
        self._state["stage"] = stage
        self._done, self._total = 0, total
        self._write(at_once=True)

    def _write(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if not at_once and now - self._written < PAUSE:
            return
        self._written = now
        partial = self._path.with_name(f"{self._path.name}.part")
        counts = {"done": self._done, "total": self._total, "quarantined": self._quarantined}
        partial.write_text(json.dumps(self._state | counts))
        os.replace(partial, self._path)
