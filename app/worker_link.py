"""The process that embeds uploads, as its parent has it: started, asked, heard, ended."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path
from typing import IO

from raptor_search.readers.wire import Broken, receive, send

__all__ = ["CANCEL", "EMBED", "READY", "Link"]

READY = ("ready",)
"""What the process says before the first request, and again whenever the encoder of a request is loaded."""

EMBED = "embed"
"""The first part of a request."""

CANCEL = ("cancel",)
"""What the parent says between two batches."""

MESSAGE_SECONDS = 60.0
"""In which a message that has begun must be whole."""

BOOT = """
import json, runpy, sys
options = json.loads(sys.argv[1])
sys.path[:] = options["path"]
from app.worker_process import serve
if options["prelude"]:
    runpy.run_path(options["prelude"])
serve(options["fd"])
"""


class Link:
    """One process, from its start to its end.

    Args:
        prelude: a Python file that it runs first (tests make it misbehave by that).

    Attributes:
        pid: of the process.
    """

    def __init__(self, prelude: Path | None = None) -> None:
        ours, theirs = socket.socketpair()
        options = {
            "path": [*sys.path, str(Path(__file__).parents[1])],
            "prelude": str(prelude) if prelude else None,
            "fd": theirs.fileno(),
        }
        # Neither the key's place nor a database's password is needed to embed.
        known = {name: value for name, value in os.environ.items() if not name.startswith(("RAPTOR_", "PG"))}
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-W", "ignore", "-c", BOOT, json.dumps(options)],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=[theirs.fileno()],
                env=known,
                start_new_session=True,  # Ctrl-C is for the parent to handle
            )
        self.pid = process.pid
        self._socket, self._process, self._errors = ours, process, errors
        self._end = weakref.finalize(self, _end, ours, process, errors)

    def send(self, message: object) -> None:
        """Say something.

        Raises:
            Broken: the process is gone.
        """
        self._socket.settimeout(MESSAGE_SECONDS)
        send(self._socket, message)

    def hear(self, seconds: float) -> tuple[object, ...] | None:
        """The next message, or None where none begins within so many seconds.

        Raises:
            Broken: the process is gone, or says what cannot be.
        """
        if not select.select([self._socket], [], [], seconds)[0]:
            return None
        try:
            message = receive(self._socket, MESSAGE_SECONDS)
        except TimeoutError as error:
            raise Broken("it stopped in the middle of a message") from error
        if not isinstance(message, tuple) or not message:
            raise Broken("a message that cannot be")
        return message

    def end(self) -> None:
        """Kill it. Calling it twice is harmless."""
        self._end()

    @property
    def last_words(self) -> str:
        """How it ended, and the last line that it printed; for the log alone, as that may name a path."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        code = self._process.returncode
        how = "it was killed" if code is None else _how(code)
        if self._errors.closed:
            return how
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"{how}: {lines[-1]}" if lines else how


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def _end(connection: socket.socket, process: "subprocess.Popen[bytes]", errors: IO[bytes]) -> None:
    connection.close()
    process.kill()
    process.wait()
    errors.close()
