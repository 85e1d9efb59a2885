"""Locks between processes: the operating system drops them when their holder dies, however it dies."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from raptor_search.errors import LockedError, UsageError

__all__ = ["file_lock", "make_home", "make_private", "writer_lock"]

POLL_SECONDS = 0.05


def make_home(home: Path) -> None:
    """Make the archive's folder where it is absent, open to its owner alone: embeddings are patient data.

    Raises:
        UsageError: it cannot be made or written.
    """
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UsageError(
            f"the archive {home} cannot be made: {error.strerror}; choose another place with --home"
        ) from error
    if not os.access(home, os.W_OK | os.X_OK):
        raise UsageError(f"the archive {home} cannot be written: permission denied; choose another with --home")


def make_private(file: Path) -> None:
    """Make an empty file for its owner alone, whatever the folder's mode; one that is there becomes so too.

    SQLite gives its journals the mode of their database.

    Raises:
        OSError: it cannot be made.
    """
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


@contextmanager
def writer_lock(home: Path) -> Iterator[None]:
    """Be the only process that makes or upgrades this home; `home` is made where it is absent.

    Who may write volumes is said by a lease in the database (`Catalog.writing`), which a new home has not yet.

    Raises:
        LockedError: another process holds the lock; the message names it.
        UsageError: `home` cannot be made or written.
    """
    make_home(home)
    with file_lock(home / "writer.lock", f"the archive {home}"):
        yield


@contextmanager
def file_lock(path: Path, what: str, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold an exclusive lock on a file, which says who holds it; the file stays, empty, afterwards.

    Raises:
        LockedError: after `wait_seconds` another holder still has it.
        UsageError: the file cannot be made or locked.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"the lock file {path} cannot be written: {error.strerror}") from error
    try:
        _acquire(descriptor, path, what, wait_seconds)
        _rewrite(descriptor, f"{os.getpid()} {socket.gethostname()} {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
        try:
            yield
        finally:
            _rewrite(descriptor, "")
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, what: str, wait_seconds: float) -> None:
    give_up = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < give_up:
                time.sleep(POLL_SECONDS)
                continue
            raise LockedError(
                f"another process is writing to {what}: {_holder(descriptor)}; let it end first"
            ) from None
        except OSError as error:
            raise UsageError(f"the file system cannot lock {path}: {error.strerror}") from error
        return


def _rewrite(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def _holder(descriptor: int) -> str:
    words = os.pread(descriptor, 400, 0).decode(errors="replace").split()
    if len(words) != 3:
        return "it has only just begun"
    pid, host, since = words
    return f"pid {pid} on {host} since {since}"
