"""Reading in child processes that are reused: a decoder that crashes, hangs or eats memory costs one file.

A child is a program of its own (no fork of a parent with threads, no second run of its `__main__`), reached over a
socket. Voxels come as memory that both map, so that nothing is copied; a parent that is done with it lends it again.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from raptor_search.errors import READ_CODES, RaptorError, ReadError, UsageError
from raptor_search.readers.lending import Shelf
from raptor_search.readers.limits import Limits
from raptor_search.readers.memory import rounded
from raptor_search.readers.result import ReadResult
from raptor_search.readers.scan import Identity
from raptor_search.readers.source import Source
from raptor_search.readers.wire import Broken, receive, send

__all__ = ["ReadingPool"]

START_SECONDS = 120.0
"""In which a child must have imported the readers; a cold disk takes ten."""

DEATH_SECONDS = 2.0
"""Which a process may take to die by itself."""

TRIES = 2
"""Crashes of a decoder before its file is refused: one may be the machine's."""

BOOT = """
import json, runpy, sys
from pathlib import Path
options = json.loads(sys.argv[1])
sys.path[:] = options.pop("path")
from raptor_search.readers.child import serve
prelude = options.pop("prelude")
if prelude:
    runpy.run_path(prelude)
serve(options.pop("fd"), Path(options.pop("folder")), **options)
"""

QUIET = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "BLIS", "VECLIB")}


class ReadingPool:
    """Child processes that read; any thread may ask. Close it, or use it in a `with` statement.

    Children start when they are first needed, and are replaced when they die.

    Args:
        workers: children at most, and so volumes that are read at a time.
        limits: of each child, for each file.
        prelude: a Python file that every child runs first (tests make decoders misbehave by it).
    """

    def __init__(self, workers: int = 1, *, limits: Limits | None = None, prelude: Path | None = None) -> None:
        if workers < 1:
            raise UsageError(f"{workers} reading processes; expected at least 1")
        self.workers = workers
        self.limits = limits or Limits()
        self._prelude = prelude
        self._free = threading.Condition()
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()
        self._closed = False
        self._threads: ThreadPoolExecutor | None = None
        self._finalizer = weakref.finalize(self, _end_all, self._idle, self._busy)

    def submit(self, source: Source) -> "Future[ReadResult]":
        """Have a source read; the caller bounds how many results wait, since each holds a volume."""
        with self._free:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="reading")
            return self._threads.submit(self.read, source)

    def read(self, source: Source) -> ReadResult:
        """What a source holds, with all that is needed to embed and commit it.

        Raises:
            ReadError: it cannot be read, within the limits or at all.
        """
        result: ReadResult = self._ask(("read", source), source.path, source.size)
        return result

    def read_file(self, path: Path) -> tuple[Source, ReadResult]:
        """The one scan of a file, a folder or a zip, as `readers.read_file`.

        Raises:
            UsageError: no such path, no scan there, or more than one.
            ReadError: as `read`.
        """
        found: tuple[Source, ReadResult] = self._ask(("file", Path(os.path.abspath(path))), path, _stored(path))
        return found

    def identity(self, path: Path) -> Identity:
        """As `readers.reading.read_identity`.

        Raises:
            UsageError: no such path, no scan there, or more than one.
            ReadError: the header cannot be read; not a DICOM series.
        """
        identity: Identity = self._ask(("identity", Path(os.path.abspath(path))), path, _stored(path))
        return identity

    def digest(self, source: Source) -> bytes:
        """As `content_digest`.

        Raises:
            ReadError: a damaged or vanished file.
        """
        digest: bytes = self._ask(("digest", source), source.path, source.size)
        return digest

    def close(self) -> None:
        """End the children; whoever still waits for one gets an error."""
        with self._free:
            self._closed = True
            threads, self._threads = self._threads, None
            self._free.notify_all()
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)
        self._finalizer()
        if threads is not None:
            threads.shutdown(wait=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: tuple[object, ...], path: Path, stored: int) -> Any:
        seconds = self.limits.seconds_for(stored)
        for _ in range(TRIES):
            child = self._take(path)
            keep = broken = False
            try:
                answer = child.ask(request, path, seconds)
                keep = not (answer[0] == "refused" and answer[3])
            except TimeoutError as error:
                raise ReadError("timed-out", f"reading took longer than {seconds:.0f} s and was stopped") from error
            except Broken:
                broken = True
                continue
            finally:
                self._give_back(child, keep=keep, broken=broken)
            return _result(answer)
        raise ReadError("decoder-crashed", f"the reading process died {TRIES} times: {child.last_words}")

    def _take(self, path: Path) -> "_Child":
        """An idle child, rather one that has the same file open; a new one while there are too few."""
        with self._free:
            while not self._closed:
                if self._idle:
                    same = next((child for child in self._idle if child.path == path), self._idle[-1])
                    self._idle.remove(same)
                    self._busy.add(same)
                    return same
                if len(self._busy) < self.workers:
                    child = _Child(self.limits, self._prelude)
                    self._busy.add(child)
                    return child
                self._free.wait()
        raise RaptorError("the reading processes were ended")

    def _give_back(self, child: "_Child", *, keep: bool, broken: bool) -> None:
        if not keep:
            child.end(wait=broken)
        with self._free:
            self._busy.discard(child)
            if keep and not self._closed:
                self._idle.append(child)
            self._free.notify()
        if self._closed:
            child.end()


def _stored(path: Path) -> int:
    """Bytes of a file, of the one that holds "FILE.zip#a/b.nii", or of all files below a folder; 0 without any."""
    while not os.path.lexists(path) and "#" in str(path):
        path = Path(str(path).rpartition("#")[0])
    files = [Path(folder, name) for folder, _, names in os.walk(path) for name in names] if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if os.path.lexists(file))


def _result(answer: tuple[Any, ...]) -> object:
    match answer:
        case ("done", result):
            return result
        case ("refused", UsageError.code, str(message), _):
            raise UsageError(message)
        case ("refused", str(code), str(message), _) if code in READ_CODES:
            raise ReadError(code, message)
    raise ReadError("decoder-crashed", "the reading process answered what cannot be; the file is not to be trusted")


class _Child:
    """One process. It starts with the first question.

    Attributes:
        path: what it read last.
        last_words: why it ended, for a message.
    """

    def __init__(self, limits: Limits, prelude: Path | None) -> None:
        self._limits = limits
        self._prelude = prelude
        self._blocks = Shelf(largest=rounded(limits.memory))
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._folder: Path | None = None
        self._lock = threading.Lock()
        self._ended = False
        self.path: Path | None = None
        self.last_words = "it ended"

    def ask(self, request: tuple[object, ...], path: Path, seconds: float) -> tuple[Any, ...]:
        """The answer.

        Raises:
            Broken: it died.
            TimeoutError: it took too long.
        """
        connection = self._socket or self._start()
        self.path = path
        send(connection, (seconds, request), self._blocks.lend())
        answer = receive(connection, seconds, blocks=self._blocks.received)
        if not isinstance(answer, tuple) or not answer:
            raise Broken("an answer that cannot be")
        return answer

    def _start(self) -> socket.socket:
        with self._lock:
            if self._ended:
                raise Broken("ended")
            self._folder = Path(tempfile.mkdtemp(prefix="raptor-reading-"))
            ours, theirs = socket.socketpair()
            options = {
                "path": [*sys.path, str(Path(__file__).parents[2])],
                "prelude": str(self._prelude) if self._prelude else None,
                "fd": theirs.fileno(),
                "folder": str(self._folder),
                "memory": self._limits.memory,
                "inflated": self._limits.inflated,
            }
            # Neither the key's place nor a database's password is a decoder's business.
            known = {name: value for name, value in os.environ.items() if not name.startswith(("RAPTOR_", "PG"))}
            with theirs, (self._folder / "stderr").open("wb") as stderr:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-W", "ignore", "-c", BOOT, json.dumps(options)],
                    stdin=subprocess.DEVNULL,
                    stdout=stderr,
                    stderr=stderr,
                    pass_fds=[theirs.fileno()],
                    env=known | QUIET | {"TMPDIR": str(self._folder)},
                    start_new_session=True,  # Ctrl-C is for the parent to handle
                )
            self._socket = ours
        try:
            receive(ours, START_SECONDS, blocks=self._blocks.received)
        except (Broken, TimeoutError) as error:
            said = (self._folder / "stderr").read_text(errors="replace").strip().splitlines()
            raise RaptorError(f"a reading process did not start: {said[-1] if said else 'no word from it'}") from error
        return ours

    def end(self, *, wait: bool = False) -> None:
        """Kill it, whatever it does, and remove what it left. Calling it twice is harmless.

        Args:
            wait: let it end by itself first, where it seems to: then it is known how.
        """
        with self._lock:
            self._ended = True
            self._blocks.close()
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for an answer
                self._socket.close()
            if self._process is not None and self._process.returncode is None:
                if wait:
                    with suppress(subprocess.TimeoutExpired):
                        self._process.wait(DEATH_SECONDS)
                self._process.kill()
                self.last_words = _how_it_ended(self._process)
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)


def _how_it_ended(process: "subprocess.Popen[bytes]") -> str:
    code = process.wait()
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def _end_all(idle: list[_Child], busy: set[_Child]) -> None:
    for child in (*idle, *busy):
        child.end()
    idle.clear()
