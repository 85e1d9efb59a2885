"""One writer at a time: a lease with an epoch, kept in the database itself, so that it holds across hosts too.

Whoever takes the lease raises the epoch, and every commit of a writer looks for its own epoch within the same
transaction: a process that was paused until another took over can commit nothing over it. The lease is renewed while
its holder lives. It is free again at once where the holder died on this host, else after `LEASE_SECONDS`.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select
from sqlalchemy.orm import Session

from raptor_search.catalog.database import Database, Queries
from raptor_search.catalog.tables import WriterRow
from raptor_search.errors import CatalogError, LockedError
from raptor_search.keys import ArchiveKey

__all__ = ["LEASE_SECONDS", "WriterQueries", "refuse_while_written"]

LEASE_SECONDS = 60.0
"""How long a holder that says nothing keeps the lease, if nobody can see that it is dead."""

RENEW_SECONDS = 15.0
"""How often it is renewed: three chances before it ends."""


@dataclass
class _Lease:
    """What this process holds; `users` counts the blocks that rely on it, `renewing` keeps it alive."""

    epoch: int
    users: int
    ended: threading.Event
    renewing: threading.Thread | None = None


class WriterQueries(Queries):
    """What may be done by the archive's one writer alone."""

    def __init__(self, database: Database, key: ArchiveKey) -> None:
        super().__init__(database, key)
        self._lease: _Lease | None = None
        self._lease_lock = threading.Lock()

    @contextmanager
    def writing(self) -> Iterator[int]:
        """Be the only writer of this archive; blocks of one catalog may lie within one another. Gives the epoch.

        Raises:
            LockedError: another process holds the lease; the message names it.
        """
        lease = self._enter()
        try:
            yield lease.epoch
        finally:
            self._leave(lease)

    @contextmanager
    def _committing(self) -> Iterator[Session]:
        """A transaction of the writer: it fails where another process has taken the lease.

        Without a lease it is allowed while nobody holds one.

        Raises:
            LockedError: this is not, or no longer, the writer.
        """
        with self._database.write() as session:
            lease, row, now = self._lease, _row(session), _now(session.connection())
            if lease is None:
                if _is_held(row, now):
                    raise LockedError(_held_message(row))
            elif row.epoch != lease.epoch:
                raise LockedError(_lost_message(row))
            elif row.expires_at is None or row.expires_at < now + LEASE_SECONDS / 2:
                row.expires_at = now + LEASE_SECONDS
            yield session

    def _enter(self) -> _Lease:
        with self._lease_lock:
            if self._lease is None:
                lease = _Lease(self._take(), 0, threading.Event())
                lease.renewing = threading.Thread(target=self._renew, args=(lease,), name="raptor lease", daemon=True)
                lease.renewing.start()
                self._lease = lease
            self._lease.users += 1
            return self._lease

    def _leave(self, lease: _Lease) -> None:
        with self._lease_lock:
            lease.users -= 1
            if lease.users:
                return
            lease.ended.set()
            if lease.renewing is not None:
                lease.renewing.join()
            self._lease = None
            # Where the database cannot be reached the lease runs out by itself: nothing to hide an error with.
            with suppress(CatalogError), self._database.write() as session:
                row = _row(session)
                if row.epoch == lease.epoch:
                    row.pid = row.host = row.since = row.expires_at = None

    def _take(self) -> int:
        with self._database.write() as session:
            row, now = _row(session), _now(session.connection())
            if _is_held(row, now):
                raise LockedError(_held_message(row))
            row.epoch += 1
            row.pid, row.host = os.getpid(), socket.gethostname()
            row.since, row.expires_at = now, now + LEASE_SECONDS
            return row.epoch

    def _renew(self, lease: _Lease) -> None:
        """Renew the lease until it ends; where the database cannot be reached, the next round tries again."""
        while not lease.ended.wait(RENEW_SECONDS):
            try:
                with self._database.write() as session:
                    row = _row(session)
                    if row.epoch != lease.epoch or lease.ended.is_set():
                        return
                    row.expires_at = _now(session.connection()) + LEASE_SECONDS
            except CatalogError:
                continue


def refuse_while_written(connection: Connection) -> None:
    """Refuse to go on while a process writes to the archive.

    Raises:
        LockedError: one does; the message names it.
    """
    row = connection.execute(select(WriterRow.__table__)).one()
    if _is_held(row, _now(connection)):
        raise LockedError(_held_message(row))


def _row(session: Session) -> WriterRow:
    row = session.scalar(select(WriterRow).where(WriterRow.id == 1))
    if row is None:
        raise CatalogError("the catalog has no row of its writer: it is damaged, restore it from a copy")
    return row


def _now(connection: Connection) -> float:
    """UTC seconds by the clock that all writers share: the server's, or for SQLite this host's."""
    if connection.dialect.name == "sqlite":
        return time.time()
    return float(connection.scalar(select(func.date_part("epoch", func.clock_timestamp()))) or 0.0)


def _is_held(row: WriterRow | Row[Any], now: float) -> bool:
    if row.pid is None or row.expires_at is None or row.expires_at <= now:
        return False
    return row.host != socket.gethostname() or _is_alive(row.pid)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another account's
        return True
    return True


def _held_message(row: WriterRow | Row[Any]) -> str:
    return f"another process is writing to this archive: {_holder(row)}; let it end first"


def _lost_message(row: WriterRow) -> str:
    by = f" by {_holder(row)}" if row.pid is not None else ""
    return (
        f"this process was paused for more than {LEASE_SECONDS:.0f} s, and its turn to write was taken over{by}: "
        "nothing was written over it; run the command again"
    )


def _holder(row: WriterRow | Row[Any]) -> str:
    since = datetime.fromtimestamp(row.since or 0.0, UTC)
    return f"pid {row.pid} on {row.host} since {since:%Y-%m-%dT%H:%M:%SZ}"
