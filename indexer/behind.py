"""Work done behind the encoder's back: one thread, in order, a bounded number of items late."""

import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

__all__ = ["Behind"]

Item = TypeVar("Item")


class _End:
    """Nothing comes after it."""


class Behind(Generic[Item]):
    """Acts on items in a thread of its own, in the order in which they were put.

    Whatever ends the block, the items that were put are still acted on, so that nothing embedded is lost to Ctrl-C.

    Args:
        act: what is done with each item; its first exception ends the work and is raised by the next `put` or at
            the end of the block.
        depth: items waiting, at most; `put` blocks beyond that.

    Attributes:
        busy: seconds spent acting.
        blocked: seconds that `put` had to wait.
    """

    def __init__(self, act: Callable[[Item], None], *, depth: int = 4) -> None:
        self._act = act
        self._waiting: queue.Queue[Item | _End] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="behind")
        self.busy = 0.0
        self.blocked = 0.0

    def put(self, item: Item) -> None:
        """Hand an item over.

        Raises:
            BaseException: what an earlier item raised.
        """
        self._raise()
        start = time.perf_counter()
        self._waiting.put(item)
        self.blocked += time.perf_counter() - start

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.put(_End())
        self._thread.join()
        if error is None:
            self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while not isinstance(item := self._waiting.get(), _End):
            if self._error is None:  # after an error the rest is taken off the queue, so that nobody waits for room
                start = time.perf_counter()
                try:
                    self._act(item)
                except BaseException as error:
                    self._error = error
                self.busy += time.perf_counter() - start
