"""What embeds in a run: one engine in this process, or one a device in processes of their own."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from indexer.devices import Devices, Order
from indexer.filling import Embedder
from indexer.progress import Bar, Progress
from indexer.recipe import Options
from raptor_search.embedding import Embedding, Encoder
from raptor_search.engine import Engine
from raptor_search.errors import ReadError
from raptor_search.intensity import IntensityRule
from raptor_search.specs import EmbeddingSpec
from raptor_search.volume import Volume

__all__ = ["embedding"]

K = TypeVar("K")


@contextmanager
def embedding(
    options: Options, encoder: Encoder, spec: EmbeddingSpec, *, progress: Progress, bar: Bar
) -> Iterator[Embedder]:
    """The engine of a run, on the encoder's device; where several are named, a process for each.

    Raises:
        SpecError: the encoder is not the spec's.
        UsageError: not even one slice fits the memory.
    """
    if len(options.devices) == 1:
        yield _Here(Engine(encoder, spec, keep_tokens=options.keep_tokens, on_notice=progress.notice), bar)
        return
    order = Order(spec=spec, weights=options.weights, keep_tokens=options.keep_tokens, dtype=options.computes_in)
    with Devices(order, options.devices, on_notice=progress.notice) as devices:
        yield devices


class _Here:
    """An engine whose slices move the bar."""

    def __init__(self, engine: Engine, bar: Bar) -> None:
        self._engine = engine
        self._bar = bar

    def embed(
        self, items: Iterable[tuple[K, Volume, IntensityRule | None]], /
    ) -> Iterator[tuple[K, Embedding | ReadError]]:
        """As the engine does."""
        return self._engine.embed(items, on_slices=lambda _, done, total: self._bar.slices(done, total))
