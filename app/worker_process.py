"""The process that embeds uploads for the page: one encoder, one volume at a time, until its parent is gone.

It is started by `app.worker_link`. It opens no archive and knows neither the key nor a database's password: a volume
and its spec come over a socket, the vector goes back. A word from the parent between two batches cancels.
"""

import os
import select
import socket
from contextlib import suppress
from pathlib import Path

from app.worker_link import CANCEL, EMBED, READY
from raptor_search.embedding import Encoder, embed
from raptor_search.encoders import load_encoder
from raptor_search.errors import RaptorError
from raptor_search.readers.wire import Broken, receive, send
from raptor_search.specs import EmbeddingSpec
from raptor_search.volume import Volume

__all__ = ["serve"]

NICENESS = 5
"""The pages that others look at meanwhile come first."""


class _Cancelled(Exception):  # noqa: N818 - what was asked for is no error
    """The parent does not want it any more."""


class _Encoders:
    """The one encoder in memory: that of the last request."""

    def __init__(self) -> None:
        self._name: tuple[str, str, str, str, Path | None] | None = None
        self._held: Encoder | None = None

    def get(self, spec: EmbeddingSpec, weights: Path | None) -> Encoder:
        name = (spec.encoder, spec.layer, spec.weights_sha256, spec.precision, weights)
        if self._held is None or self._name != name:
            self._held = self._name = None  # never two in memory
            self._held = load_encoder(spec.encoder, layer=spec.layer, weights=weights, precision=spec.precision)
            self._name = name
        return self._held


def serve(fd: int) -> None:
    """Answer what comes over a socket until the other side closes it."""
    with suppress(OSError):
        os.nice(NICENESS)
    encoders = _Encoders()
    with socket.socket(fileno=fd) as parent, suppress(Broken):
        send(parent, READY)
        while True:
            request = receive(parent)
            if request != CANCEL:  # one that came too late is for nothing that is still done
                send(parent, _answer(parent, encoders, request))
            del request


def _answer(parent: socket.socket, encoders: _Encoders, request: object) -> tuple[object, ...]:
    """("done", vector), ("refused", code, sentence) or ("cancelled",)."""
    try:
        match request:
            case (str(what), str(document), Path() | None as weights, Volume() as volume) if what == EMBED:
                spec = EmbeddingSpec.from_json(document)
                encoder = encoders.get(spec, weights)
                send(parent, READY)
                return "done", embed(volume, encoder, spec, progress=_Reporter(parent)).stored
    except RaptorError as error:
        return "refused", error.code, error.message
    except _Cancelled:
        return ("cancelled",)
    except MemoryError:
        return "refused", "too-large", "embedding it takes more memory than there is"
    raise TypeError("a request that this process does not know")


class _Reporter:
    """Tells the parent how many slices are done, and hears whether it still wants the rest."""

    def __init__(self, parent: socket.socket) -> None:
        self._parent = parent

    def __call__(self, done: int, total: int) -> None:
        send(self._parent, ("slices", done, total))
        if select.select([self._parent], [], [], 0)[0]:
            receive(self._parent)  # a word to cancel, or Broken: the parent is gone
            raise _Cancelled
