"""The queue of uploads to embed, and the one process of this server that embeds them.

A session holds an `Order`; whatever becomes of the session, a dropped order leaves the queue. One process serves
all of them in turn, so that twenty sessions do not load twenty encoders or halve each other's speed. Where it dies
or hangs, the order in hand fails with one sentence, and the next one gets a new process.
"""

import logging
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float16

from app.worker_link import CANCEL, EMBED, Link
from raptor_search.errors import READ_CODES, RaptorError, ReadError, UsageError
from raptor_search.readers.wire import Broken
from raptor_search.specs import EmbeddingSpec
from raptor_search.volume import Volume

__all__ = ["Order", "Progress", "Worker", "worker"]

MAX_WAITING = 20
"""Uploads in the queue; each holds a volume in memory."""

START_SECONDS = 900.0
"""In which the process must have started and loaded the encoder; a slow disk takes minutes for a large one."""

SILENT_SECONDS = 180.0
"""After which a process that embeds without a word counts as hung; a batch of slices takes seconds."""

CANCEL_SECONDS = 20.0
"""Which a cancelled embedding may take to stop by itself, before its process is ended."""

TICK = 0.1
"""Seconds between two looks whether an order is still wanted."""

ENDED = "the process that embeds uploads {how} and was restarted; upload the scan again"


@dataclass(frozen=True)
class Progress:
    """How far an order is.

    Attributes:
        before: orders that are served before it, the one in hand included.
        done: slices embedded.
        total: slices in all; 0 until the first is done.
        seconds_left: as the slices so far tell; None where they do not yet.
        is_over: whether there is a vector, or an error.
    """

    before: int
    done: int
    total: int
    seconds_left: float | None
    is_over: bool


@dataclass(eq=False)
class _Ticket:
    """An order as the queue has it."""

    volume: Volume | None
    spec: str
    weights: Path | None
    over: threading.Event = field(default_factory=threading.Event)
    is_cancelled: bool = False
    is_in_hand: bool = False
    since: float | None = None
    done: int = 0
    total: int = 0
    vector: Float16[np.ndarray, " length"] | None = None
    error: RaptorError | None = None

    def cancel(self) -> None:
        """Mark it, and no more: this may run as a finalizer, in the middle of whatever holds the queue's lock."""
        self.is_cancelled = True
        if not self.is_in_hand:
            self.volume = None
            self.over.set()


class Order:
    """A volume to be embedded, held by the one who asked; dropping it cancels it."""

    def __init__(self, owner: "Worker", ticket: _Ticket) -> None:
        self._owner = owner
        self._ticket = ticket
        weakref.finalize(self, ticket.cancel).atexit = False

    def progress(self) -> Progress:
        """How far it is."""
        return self._owner._progress(self._ticket)

    def wait(self, seconds: float) -> bool:
        """Wait until it is over, at most so long; whether it is."""
        return self._ticket.over.wait(seconds)

    def cancel(self) -> None:
        """Leave the queue, or stop being embedded. Calling it twice, or too late, is harmless."""
        self._ticket.cancel()

    def vector(self) -> Float16[np.ndarray, " length"]:
        """The embedding as the catalog stores it, once it is over.

        Raises:
            ReadError, SpecError, WeightsError, UsageError: it cannot be embedded.
            RaptorError: it was cancelled, or the process ended.
        """
        self._ticket.over.wait()
        if self._ticket.vector is None:
            raise self._ticket.error or RaptorError("the upload was cancelled")
        return self._ticket.vector


class Worker:
    """The queue and its process, which starts with the first order. Any thread may ask; close it.

    Args:
        prelude: a Python file that the process runs first (tests make it misbehave by that).
        silent_seconds: after which it counts as hung.
    """

    def __init__(self, *, prelude: Path | None = None, silent_seconds: float = SILENT_SECONDS) -> None:
        self._prelude = prelude
        self._silent_seconds = silent_seconds
        self._changed = threading.Condition()
        self._waiting: deque[_Ticket] = deque()
        self._in_hand: _Ticket | None = None
        self._link: Link | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Of the process, where there is one."""
        link = self._link
        return link.pid if link else None

    def order(self, volume: Volume, spec: EmbeddingSpec, weights: Path | None) -> Order:
        """Have a volume embedded, after those that came before it.

        Raises:
            UsageError: too many wait already.
        """
        ticket = _Ticket(volume, spec.to_json(), weights)
        with self._changed:
            if self._closed:
                raise RaptorError("the process that embeds uploads was ended")
            if sum(not waiting.is_cancelled for waiting in self._waiting) >= MAX_WAITING:
                raise UsageError(f"{MAX_WAITING} uploads wait already: try again in a few minutes")
            self._waiting.append(ticket)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="embedding queue", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return Order(self, ticket)

    def close(self) -> None:
        """End the process; whoever still waits gets an error."""
        with self._changed:
            self._closed = True
            for ticket in (*self._waiting, self._in_hand):
                if ticket is not None:
                    ticket.cancel()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _progress(self, ticket: _Ticket) -> Progress:
        with self._changed:
            left, before = None, 0
            if ticket in self._waiting:
                earlier = list(self._waiting)[: self._waiting.index(ticket)]
                before = sum(not one.is_cancelled for one in earlier) + (self._in_hand is not None)
            if ticket.since is not None and ticket.done:
                left = (time.monotonic() - ticket.since) / ticket.done * (ticket.total - ticket.done)
            return Progress(before, ticket.done, ticket.total, left, ticket.over.is_set())

    def _serve(self) -> None:
        """What the queue's thread does: one ticket after the other."""
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    self._end_process()
                    return
                ticket = self._waiting.popleft()
                ticket.is_in_hand = True
                volume = ticket.volume  # gone where it was cancelled before this line
                self._in_hand = None if volume is None else ticket
            try:
                if volume is not None:
                    self._embed(ticket, volume)
            except RaptorError as error:
                ticket.error = error
            except Exception:
                logging.getLogger(__name__).exception("the queue of uploads failed")
                self._end_process()
                ticket.error = RaptorError(ENDED.format(how="failed"))
            finally:
                with self._changed:
                    self._in_hand = None
                    ticket.volume = None
                    ticket.over.set()

    def _embed(self, ticket: _Ticket, volume: Volume) -> None:
        try:
            link = self._started()
            link.send((EMBED, ticket.spec, ticket.weights, volume))
            answer = self._answer(link, ticket)
        except Broken:
            link_was, self._link = self._link, None
            if link_was is not None:
                logging.getLogger(__name__).warning("the process that embeds ended, %s", link_was.last_words)
                link_was.end()
            raise RaptorError(ENDED.format(how="ended")) from None
        except TimeoutError:
            self._end_process()
            if ticket.is_cancelled:
                return
            raise RaptorError(ENDED.format(how="did not answer")) from None
        match answer:
            case ("done", np.ndarray() as vector):
                ticket.vector = vector.astype("<f2", copy=False)
            case ("refused", str(code), str(message)):
                raise ReadError(code, message) if code in READ_CODES else _coded(code, message)

    def _started(self) -> Link:
        if self._link is None:
            self._link = Link(self._prelude)
            until = time.monotonic() + START_SECONDS
            while self._link.hear(TICK) is None:
                if time.monotonic() > until:
                    raise TimeoutError
        return self._link

    def _answer(self, link: Link, ticket: _Ticket) -> tuple[Any, ...]:
        """What the process makes of a ticket, while its progress is noted and a wish to cancel is passed on.

        Raises:
            Broken: the process is gone.
            TimeoutError: it hangs, or does not stop though it was asked to.
        """
        patience = START_SECONDS
        heard = time.monotonic()
        told: float | None = None
        while True:
            message = link.hear(TICK)
            now = time.monotonic()
            if ticket.is_cancelled and told is None:
                link.send(CANCEL)
                told = now
            if message is None:
                if now - heard > patience or (told is not None and now - told > CANCEL_SECONDS):
                    raise TimeoutError
                continue
            heard = now
            match message:
                case ("ready",):
                    patience = self._silent_seconds
                    ticket.since = now
                case ("slices", int(done), int(total)):
                    ticket.done, ticket.total = done, total
                case _:
                    return message

    def _end_process(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.end()


def _coded(code: str, message: str) -> RaptorError:
    """The error of our tree that has this code."""
    kinds = {kind.code: kind for kind in RaptorError.__subclasses__() if kind is not ReadError}
    return kinds.get(code, RaptorError)(message)


@cache
def worker() -> Worker:
    """The worker of this server: one, whatever the sessions and archives."""
    return Worker()
