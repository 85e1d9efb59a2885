"""Reading a few volumes ahead of the encoder, with the memory bounded."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from raptor_search.errors import RaptorError, ReadError
from raptor_search.readers import Source

__all__ = ["read_ahead"]

Loaded = TypeVar("Loaded")


def read_ahead(
    load: Callable[[Source], Loaded], sources: Sequence[Source], *, workers: int = 1
) -> Iterator[tuple[Source, Loaded | ReadError]]:
    """Each source with what `load` made of it, or the reason why it could not: in the order given, but for a source
    that takes longer than others, which holds none of them up.

    This is the per-file boundary: whatever a decoder raises costs that one file.

    Args:
        load: called from as many threads as there are workers.
        sources: to be loaded.
        workers: how many are loaded at a time; one more than that are held beside the one that is embedded.
    """
    waiting: dict[Future[Loaded], Source] = {}
    todo = iter(sources)
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="reader") as reader:
        try:
            while True:
                while len(waiting) <= workers and (source := next(todo, None)) is not None:
                    waiting[reader.submit(load, source)] = source
                if not waiting:
                    return
                wait(waiting, return_when=FIRST_COMPLETED)
                done = next(future for future in waiting if future.done())
                source, outcome = waiting.pop(done), _outcome(done)
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
