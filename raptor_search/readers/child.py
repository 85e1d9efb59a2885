"""The process that reads files on behalf of another one, within limits of its own.

It is started by `readers.pool` and answers one request after the other until its parent is gone. It loads neither
torch nor the catalog, knows no key and no password, and has no terminal: what a decoder prints is nobody's.
"""

import os
import resource
import shutil
import signal
import socket
import tempfile
import time
from pathlib import Path

from raptor_search.errors import ReadError, UsageError
from raptor_search.intensity import choose_rule
from raptor_search.preview import three_planes
from raptor_search.readers import inflating
from raptor_search.readers.memory import borrow, share_large_arrays
from raptor_search.readers.reading import content_digest, find_file, read_identity, read_with_digest
from raptor_search.readers.result import ReadResult
from raptor_search.readers.source import Source
from raptor_search.readers.wire import Broken, receive, send

__all__ = ["READY", "serve"]

READY = ("ready",)
"""What the child says before the first request."""

GRACE = 5.0
"""Seconds after which a child ends itself that its parent, gone in the middle of a request, has not ended."""

MAX_MESSAGE = 1000
"""Characters of an error's message; a sentence has some 100."""


def serve(fd: int, folder: Path, *, memory: int, inflated: int) -> None:
    """Answer what comes over a socket until the other side closes it: requests, each with the seconds it may take.

    Args:
        fd: of the socket.
        folder: for temporary files, removed when the parent is gone.
        memory: bytes of address space.
        inflated: bytes that compressed content may inflate to.
    """
    _limit(memory)
    inflating.set_limit(inflated)
    share_large_arrays()
    tempfile.tempdir = str(folder)
    with socket.socket(fileno=fd) as parent:
        try:
            send(parent, READY)
            _discard_output()
            while True:
                seconds, request = receive(parent, blocks=borrow)
                signal.setitimer(signal.ITIMER_REAL, seconds + GRACE)
                send(parent, _answer(request))
                borrow(())
                signal.setitimer(signal.ITIMER_REAL, 0)
                del request
        except Broken:
            shutil.rmtree(folder, ignore_errors=True)


def _limit(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold a patient's voxels
    try:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    except (ValueError, OSError):  # macOS knows no such limit
        return


def _discard_output() -> None:
    """Decoders print what they find in a file."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)


def _answer(request: object) -> tuple[object, ...]:
    """The result, or ("refused", code, sentence, whether this process is spent)."""
    try:
        return "done", _result(request)
    except (ReadError, UsageError) as error:
        return "refused", error.code, error.message[:MAX_MESSAGE], isinstance(error.__cause__, MemoryError)
    except MemoryError:
        return "refused", "too-large", "reading it takes more memory than one file may use", True
    except Exception as error:  # the boundary: whatever a file makes a reader raise costs that file alone
        what = f"the reader failed ({type(error).__name__}); expected a sound file"
        return "refused", "unreadable", what, False


def _result(request: object) -> object:
    match request:
        case ("read", Source() as source):
            return _read(source)
        case ("digest", Source() as source):
            return content_digest(source)
        case ("identity", Path() as path):
            return read_identity(path)
        case ("file", Path() as path):
            with find_file(path) as (outer, inner):
                return outer, _read(inner)
    raise TypeError("a request that no child knows")


def _read(source: Source) -> ReadResult:
    started, cpu_started = time.perf_counter(), time.process_time()
    scan, digest = read_with_digest(source)
    rule = choose_rule(scan.volume.voxels)
    return ReadResult(
        scan=scan,
        digest=digest,
        preview=three_planes(scan.volume, rule=rule),
        rule=rule,
        seconds=time.perf_counter() - started,
        cpu_seconds=time.process_time() - cpu_started,
    )
