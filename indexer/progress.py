"""How far a run is: nothing, or a bar on the terminal with rate and time left."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

from indexer.plain_text import say
from raptor_search.errors import ReadError
from raptor_search.readers import Source

__all__ = ["Bar", "Progress", "Silent", "Terminal"]


class Bar(Protocol):
    """One stretch of embedding."""

    def slices(self, done: int, total: int) -> None:
        """`done` of `total` slices of the volume in hand are encoded."""

    def volume_done(self, name: str) -> None:
        """One more volume is committed or quarantined."""


class Progress(Protocol):
    """What a run tells about itself."""

    def discovering(self) -> AbstractContextManager[Callable[[Path], None]]:
        """Files are being looked through; the callable hears each one."""

    def embedding(self, total: int) -> AbstractContextManager[Bar]:
        """`total` volumes are to be read and embedded."""

    def publishing(self) -> AbstractContextManager[object]:
        """The index is being made: seconds, or minutes where it is trained on many volumes."""

    def quarantined(self, source: Source, error: ReadError, *, is_new: bool = True) -> None:
        """A source could not be read; one that is not new was quarantined before, and has not changed."""

    def notice(self, text: str) -> None:
        """Something is done otherwise than asked; `text` says what and why."""


class _SilentBar:
    def slices(self, done: int, total: int) -> None:
        pass

    def volume_done(self, name: str) -> None:
        pass


class Silent:
    """Says nothing: for use as a library."""

    @contextmanager
    def discovering(self) -> Iterator[Callable[[Path], None]]:
        """Hear nothing of the files."""
        yield lambda path: None

    @contextmanager
    def embedding(self, total: int) -> Iterator[Bar]:
        """Hear nothing of the volumes."""
        yield _SilentBar()

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Hear nothing of the index."""
        yield

    def quarantined(self, source: Source, error: ReadError, *, is_new: bool = True) -> None:
        """Say nothing: the report holds it."""

    def notice(self, text: str) -> None:
        """Log it as a warning, the way of a library."""
        logging.getLogger(__name__).warning("%s", text)


class _Rate(ProgressColumn):
    """Volumes a minute, measured over the whole run so far."""

    def render(self, task: Task) -> Text:
        if not task.elapsed or not task.completed:
            return Text("  - /min", style="progress.data.speed")
        return Text(f"{60 * task.completed / task.elapsed:5.1f}/min", style="progress.data.speed")


class _TerminalBar:
    def __init__(self, bar: RichProgress, task: TaskID) -> None:
        self._bar, self._task, self._done = bar, task, 0

    def slices(self, done: int, total: int) -> None:
        self._bar.update(self._task, completed=self._done + done / max(total, 1))

    def volume_done(self, name: str) -> None:
        self._done += 1
        self._bar.update(self._task, completed=self._done)


class _WholeCount(MofNCompleteColumn):
    """Volumes done of all; the bar itself moves by slices."""

    def render(self, task: Task) -> Text:
        return Text(f"{int(task.completed)}/{int(task.total or 0)}", style="progress.download")


class Terminal:
    """Bars and one line a newly quarantined file, on standard error."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def _passing(self, *columns: ProgressColumn) -> RichProgress:
        """A bar that leaves nothing behind: not even the empty line that Rich writes where there is no terminal."""
        return RichProgress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)

    @contextmanager
    def discovering(self) -> Iterator[Callable[[Path], None]]:
        """Count the files that are looked through."""
        columns = SpinnerColumn(), TextColumn("Looking for scans: {task.completed:.0f} files"), TimeElapsedColumn()
        with self._passing(*columns) as bar:
            task = bar.add_task("discover", total=None)
            yield lambda path: bar.advance(task)

    @contextmanager
    def embedding(self, total: int) -> Iterator[Bar]:
        """Show volumes done, their rate, and the time left."""
        columns = (
            TextColumn("Embedding"),
            BarColumn(),
            _WholeCount(),
            _Rate(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with RichProgress(*columns, console=self._console) as bar:
            yield _TerminalBar(bar, bar.add_task("embed", total=total))

    @contextmanager
    def counting(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """Show how many of a known number are done, and the time left."""
        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        with self._passing(*columns) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Show that it goes on, and for how long already."""
        columns = SpinnerColumn(), TextColumn("Publishing the index"), TimeElapsedColumn()
        with self._passing(*columns) as bar:
            bar.add_task("publish", total=None)
            yield

    def quarantined(self, source: Source, error: ReadError, *, is_new: bool = True) -> None:
        """Name the file that the user gave, and why it was left out; those named by an earlier run are counted."""
        if is_new:
            say(self._console, f"quarantined {source.uri}: {error.message}", "yellow")

    def notice(self, text: str) -> None:
        """Say it in a line."""
        say(self._console, text, "yellow")
