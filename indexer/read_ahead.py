"""Reading a few volumes ahead of the encoder, in order, with the memory bounded."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from raptor_search.errors import RaptorError, ReadError
from raptor_search.readers import Source

__all__ = ["read_ahead"]

READ_AHEAD = 2
"""Volumes held in memory beside the one that is being embedded."""

Loaded = TypeVar("Loaded")


def read_ahead(
    load: Callable[[Source], Loaded], sources: Sequence[Source]
) -> Iterator[tuple[Source, Loaded | ReadError]]:
    """Each source with what `load` made of it, or the reason why it could not.

    This is the per-file boundary: whatever a decoder raises costs that one file.
    """
    waiting: deque[tuple[Source, Future[Loaded]]] = deque()
    todo = iter(sources)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader") as reader:
        try:
            while True:
                while len(waiting) < READ_AHEAD and (source := next(todo, None)) is not None:
                    waiting.append((source, reader.submit(load, source)))
                if not waiting:
                    return
                source, reading = waiting.popleft()
                outcome = _outcome(reading)
                yield source, outcome
        finally:
            reader.shutdown(wait=False, cancel_futures=True)


def _outcome(reading: Future[Loaded]) -> Loaded | ReadError:
    try:
        return reading.result()
    except ReadError as error:
        return error
    except RaptorError:
        raise
    except Exception as error:
        return ReadError("unreadable", f"the reader failed ({type(error).__name__}); expected a sound file")
