"""A stream of volumes to a stream of embeddings: means, projection, and the way back from the device."""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from raptor_search.embedding import Embedding, Encoder, check_belongs
from raptor_search.engine.averaging import Averager, OnSlices, TokenMeans
from raptor_search.engine.runner import Runner, arithmetic
from raptor_search.errors import ReadError
from raptor_search.intensity import IntensityRule
from raptor_search.projection import gaussian_matrix
from raptor_search.specs import EmbeddingSpec, Recipe
from raptor_search.volume import Volume

__all__ = ["Engine", "average"]

K = TypeVar("K")

IN_FLIGHT = 4
"""Embeddings that may be on their way from a GPU before the engine waits for the first: meanwhile it works on."""


class Engine:
    """Embeds volumes under one spec; may be used for one stream after another.

    Args:
        encoder: loaded; where and in which dtype it was loaded, the work is done.
        spec: made for that encoder.
        batch_size: slices encoded at once; None takes what suits the device.
        keep_tokens: whether the mean tokens come with each embedding.
        compiled: whether `torch.compile` is used; None means on CUDA, at the price of a minute or so here.
        on_notice: hears, in a sentence each, what is done otherwise than asked (batches halved for want of memory,
            nothing compiled); where None it is a Python warning.

    Raises:
        SpecError: where the spec was made for another encoder, layer or weights.
        UsageError: where not even one slice fits the memory.
    """

    def __init__(
        self,
        encoder: Encoder,
        spec: EmbeddingSpec,
        *,
        batch_size: int | None = None,
        keep_tokens: bool = False,
        compiled: bool | None = None,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        check_belongs(spec, encoder)
        self.spec = spec
        self._keep_tokens = keep_tokens
        self._runner = Runner(encoder, batch_size=batch_size, compiled=compiled, on_notice=on_notice or _warn)
        self._averager = Averager(self._runner, encoder.card, spec.recipe)
        exact = torch.float32 if encoder.device.type == "mps" else torch.float64
        self._matrix = torch.from_numpy(gaussian_matrix(encoder.card.dim, spec).copy()).to(encoder.device, exact)

    @property
    def batch_size(self) -> int:
        """Slices encoded at once by now."""
        return self._runner.size

    def embed(
        self, items: Iterable[tuple[K, Volume, IntensityRule | None]], *, on_slices: OnSlices[K] | None = None
    ) -> Iterator[tuple[K, Embedding | ReadError]]:
        """The embedding of each volume, or why it has none, in the order of the items.

        An embedding may be given after the next volumes were asked for: a few on a GPU, one on a CPU; the last ones
        when the items end. The bits depend on neither on a CPU.

        Args:
            items: key, volume, and its window as `choose_rule` finds it, found here where None. The published recipe
                has windows of its own.
            on_slices: hears how far each volume is.

        Raises:
            SpecError: where the recipe has no window for a volume.
            UsageError: where not even one slice fits the memory.
        """
        leaving: deque[tuple[K, _Leaving | ReadError]] = deque()
        for key, averaged in self._averager.stream(items, on_slices=on_slices):
            leaving.append((key, averaged if isinstance(averaged, ReadError) else self._leave(averaged)))
            while leaving and (len(leaving) > IN_FLIGHT or _is_here(leaving[0][1])):
                yield self._arrived(*leaving.popleft())
        while leaving:
            yield self._arrived(*leaving.popleft())

    def _leave(self, averaged: TokenMeans) -> "_Leaving":
        """Project the means where they are, and start to move the result to the CPU."""
        with arithmetic(self._runner.device):
            values = (averaged.means.to(self._matrix.dtype) @ self._matrix).mT.to(torch.float32)
            return _Leaving(averaged.rule, values.contiguous(), averaged.means if self._keep_tokens else None)

    def _arrived(self, key: K, leaving: "_Leaving | ReadError") -> tuple[K, Embedding | ReadError]:
        if isinstance(leaving, ReadError):
            return key, leaving
        values, tokens = leaving.arrays()
        if not np.isfinite(values).all():
            text = "the encoder's tokens are not finite; expected an image of ordinary range"
            return key, ReadError("not-finite", text)
        return key, Embedding(self.spec, values, leaving.rule, tokens)


def average(
    volume: Volume, encoder: Encoder, recipe: Recipe, *, on_slices: OnSlices[None] | None = None
) -> tuple[Float32[np.ndarray, "plane token d"], IntensityRule]:
    """Tokens of one volume averaged over the slices of each plane, and its window; nothing projected.

    Raises:
        SpecError: where the recipe has no window for this volume, or asks for a CLS token that the encoder lacks.
        ReadError: where the volume does not fit the device.
        UsageError: where not even one slice fits the memory.
    """
    runner = Runner(encoder, batch_size=None, compiled=False, on_notice=_warn)
    averager = Averager(runner, encoder.card, recipe)
    ((_, averaged),) = averager.stream([(None, volume, None)], on_slices=on_slices)
    if isinstance(averaged, ReadError):
        raise averaged
    return averaged.means.cpu().numpy().copy(), averaged.rule


class _Leaving:
    """An embedding on its way from the device; on CUDA the way is taken while the device works on."""

    def __init__(self, rule: IntensityRule, values: Tensor, tokens: Tensor | None) -> None:
        self.rule = rule
        self._values = _sent(values)
        self._tokens = None if tokens is None else _sent(tokens)
        self._event: Any = None
        if values.device.type == "cuda":
            make: Any = torch.cuda.Event  # torch leaves it untyped
            self._event = make()
            self._event.record()

    @property
    def is_here(self) -> bool:
        return self._event is None or bool(self._event.query())

    def arrays(self) -> tuple[Float32[np.ndarray, "plane k token"], Float32[np.ndarray, "plane token d"] | None]:
        """Values and, where they were kept, mean tokens; waits for them."""
        if self._event is not None:
            self._event.synchronize()
        # Copies, since page-locked memory is dear, and an array that torch owns may be an inference tensor's.
        return self._values.numpy().copy(), None if self._tokens is None else self._tokens.numpy().copy()


def _is_here(leaving: _Leaving | ReadError) -> bool:
    return isinstance(leaving, ReadError) or leaving.is_here


def _sent(tensor: Tensor) -> Tensor:
    if tensor.device.type != "cuda":
        return tensor.cpu()
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)


def _warn(notice: str) -> None:
    warnings.warn(notice, RuntimeWarning, stacklevel=2)
