"""The indexing run that was started from the page: the `raptor index` command in a process of its own, one at a time.

It goes on whatever becomes of the page. How far it is stands in a file that the command keeps, and what it did in its
JSON report.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from app.words import count
from raptor_search.archive import Archive
from raptor_search.errors import UsageError

__all__ = ["Run", "RunState", "Runs", "runs"]

COMMAND = (sys.executable, "-P", "-c", "from indexer.cli import main; main()")

FINE = (0, 3)
"""Exit statuses of a run that did its work: all was read, or some is quarantined."""

INTERRUPTED = 130


@dataclass(frozen=True)
class RunState:
    """How far a run is.

    Attributes:
        stage: starting, discovering, embedding or publishing.
        done: volumes, or files while discovering.
        total: 0 where it is not known.
        quarantined: sources so far.
    """

    stage: str = "starting"
    done: int = 0
    total: int = 0
    quarantined: int = 0


class Run:
    """One run, from its start on.

    Attributes:
        author: who started it.
        since: when, UTC seconds.
        places: how many files and folders it was given.
    """

    def __init__(self, home: Path, paths: Sequence[Path], author: str) -> None:
        self.author = author
        self.since = time.time()
        self.places = len(paths)
        self._folder = Path(tempfile.mkdtemp(prefix="raptor-run-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._status = self._file("status.json")
        arguments = ["index", "--home", os.fspath(home), "--json", "--status-file", os.fspath(self._status), "--"]
        with self._file("report").open("wb") as out, self._file("errors").open("wb") as errors:
            self._process = subprocess.Popen(
                [*COMMAND, *arguments, *map(os.fspath, paths)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                start_new_session=True,  # the server may stop: the run goes on to its end
            )

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def state(self) -> RunState:
        """How far it is."""
        try:
            found = json.loads(self._status.read_text())
        except (OSError, ValueError):
            return RunState()
        return RunState(found["stage"], found["done"], found["total"], found["quarantined"])

    def stop(self) -> None:
        """End it early, as Ctrl-C does: what is embedded stays, and is published."""
        if not self.is_over:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGINT)

    def wait(self) -> int:
        """Wait for its end; gives the exit status."""
        return self._process.wait()

    def outcome(self) -> tuple[bool, str]:
        """Whether it did its work, and a sentence on it; call it when it is over."""
        status = self.wait()
        if status in (*FINE, INTERRUPTED):
            with suppress(ValueError, KeyError):
                return True, _summary(json.loads(self._file("report").read_text()), status == INTERRUPTED)
        said = self._file("errors").read_text(errors="replace").strip().splitlines()
        return False, said[-1].removeprefix("raptor: ") if said else f"the run ended with status {status}"

    def _file(self, name: str) -> Path:
        return self._folder / name


class Runs:
    """The run of this server: at most one is under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: Run | None = None

    @property
    def last(self) -> Run | None:
        """The one under way, else the one that ended last."""
        return self._last

    def start(self, archive: Archive, paths: Sequence[Path]) -> Run:
        """Index files and folders.

        Raises:
            AccessError: the role does not suffice, or a path may not be indexed from the page.
            UsageError: one is not there, or a run is under way.
        """
        real = [archive.principal.require_root(path) for path in paths]
        for path in real:
            if not path.exists():
                raise UsageError(f"{path}: no such file or folder")
        with self._lock:
            if self._last is not None and not self._last.is_over:
                raise UsageError("a run is under way: wait until it has ended, or stop it")
            archive.audit("index", f"{len(real)} files or folders, from the page")
            self._last = Run(archive.home, real, archive.principal.name)
            return self._last


def _summary(report: Mapping[str, Any], was_stopped: bool) -> str:
    parts = [f"{count(report['added'], 'scan')} added", f"{report['present']:,} there already"]
    if report["quarantined"]:
        parts.append(f"{len(report['quarantined']):,} quarantined")
    return f"{'Stopped: ' if was_stopped else ''}{', '.join(parts)}."


@cache
def runs() -> Runs:
    """The runs of this server."""
    return Runs()
