"""Tokens averaged over the slices of each plane, for a stream of volumes: what is projected.

The mean over slices and the projection are linear, so the mean is taken first: of each batch of tokens only their sum
is kept, in float32 within a batch and in float64 over batches (in float32 where the device has no float64).
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from raptor_search.embedding import check_tokens
from raptor_search.encoder_cards import EncoderCard
from raptor_search.engine.batching import Batch, Gatherer
from raptor_search.engine.runner import Runner, Submit, arithmetic, is_out_of_memory
from raptor_search.engine.side_stream import Piece, SideStream
from raptor_search.errors import ReadError, SpecError
from raptor_search.intensity import IntensityRule, choose_rule, published_rule
from raptor_search.slicing import IMAGE_SIDE, slice_chunks, slice_counts
from raptor_search.specs import Recipe
from raptor_search.volume import Volume

__all__ = ["Averager", "OnSlices", "TokenMeans"]

K = TypeVar("K")

OnSlices = Callable[[K, int, int], None]
"""Called after each batch with a volume's key, its slices done and its slices in all."""

FLAT_KEPT = 64
"""Values of constant slices whose tokens are kept; nearly always there is one value, zero."""


@dataclass(frozen=True)
class TokenMeans:
    """Mean tokens of a volume, on the device, and the window that its voxels went through."""

    means: Float32[Tensor, "plane token d"]
    rule: IntensityRule


@dataclass(eq=False)
class _Entry(Generic[K]):
    """A volume on its way.

    Attributes:
        key: the caller's name for it.
        rule: its window.
        counts: slices of each plane.
        sums: of the tokens so far, [plane, token, d].
        done: slices in `sums`.
        error: why it will have no means.
    """

    key: K
    rule: IntensityRule
    counts: tuple[int, int, int]
    sums: Tensor | None = None
    done: int = 0
    error: ReadError | None = None

    def add(self, plane: int, total: Float32[Tensor, "token d"], slices: int) -> None:
        """The tokens of some slices of a plane, summed."""
        exact = torch.float32 if total.device.type == "mps" else torch.float64
        if self.sums is None:
            self.sums = torch.zeros(3, *total.shape, dtype=exact, device=total.device)
        self.sums[plane] += total.to(exact)
        self.done += slices

    @property
    def is_complete(self) -> bool:
        return self.error is not None or self.done == sum(self.counts)

    def result(self, *, drops_cls: bool) -> TokenMeans | ReadError:
        """The means, in float32, or why there are none."""
        if self.error is not None:
            return self.error
        assert self.sums is not None
        means = torch.stack([plane / count for plane, count in zip(self.sums, self.counts, strict=True)])
        return TokenMeans((means[:, 1:] if drops_cls else means).to(torch.float32), self.rule)


class Averager:
    """Means of tokens, volume by volume.

    Args:
        runner: runs the encoder.
        card: the encoder's.
        recipe: planes, slices and intensity.

    Raises:
        SpecError: where the recipe asks for a CLS token that the encoder lacks.
    """

    def __init__(self, runner: Runner, card: EncoderCard, recipe: Recipe) -> None:
        check_tokens(recipe, card)
        self.runner = runner
        self.recipe = recipe
        self.drops_cls = card.has_cls and recipe.tokens == "patches"
        self.spans_volumes = runner.is_static
        self.side = SideStream(runner.device)
        self._flat: OrderedDict[float, Tensor] = OrderedDict()

    def stream(
        self, items: Iterable[tuple[K, Volume, IntensityRule | None]], *, on_slices: OnSlices[K] | None = None
    ) -> Iterator[tuple[K, TokenMeans | ReadError]]:
        """The means of each volume, or why it has none, in the order of the items.

        On a GPU batches run over the border of two volumes, so a volume may be given after the next one was asked for.
        On a CPU, where nothing would be gained, they do not, so that no bit depends on what else is embedded.

        Args:
            items: key, volume, and its window as `choose_rule` finds it, found here where None. The published recipe
                has windows of its own.
            on_slices: hears how far each volume is.

        Raises:
            SpecError: where the recipe has no window for a volume.
            UsageError: where not even one slice fits the memory.
        """
        device = self.runner.device
        with self.runner.started() as submit:
            run = _Pass(self, submit, on_slices)
            for key, volume, rule in items:
                steps = run.steps(key, volume, rule)
                while True:
                    with arithmetic(device):
                        is_over = next(steps, None) is None
                        ready = run.ready()
                    yield from ready
                    if is_over:
                        break
            with arithmetic(device):
                run.finish()
                ready = run.ready()
            assert run.is_over, "a volume without a result"
            yield from ready

    def flat_tokens(self, value: float) -> Float32[Tensor, "token d"]:
        """Tokens of a slice that is `value` all over, encoded by itself so that they depend on nothing else."""
        if value in self._flat:
            self._flat.move_to_end(value)
        else:
            image = torch.full((1, IMAGE_SIDE, IMAGE_SIDE), value, device=self.runner.device)
            self._flat[value] = self.runner.tokens(image)[0].to(torch.float32)
            if len(self._flat) > FLAT_KEPT:
                self._flat.popitem(last=False)
        return self._flat[value]


class _Pass(Generic[K]):
    """One stream of volumes: those on their way, the slices that wait for a batch, the batches that are encoded."""

    def __init__(self, averager: Averager, submit: Submit, on_slices: OnSlices[K] | None) -> None:
        self._averager = averager
        self._runner = averager.runner
        self._submit = submit
        self._on_slices = on_slices
        self._entries: deque[_Entry[K]] = deque()
        self._waiting: Gatherer[_Entry[K]] = Gatherer()
        self._running: deque[tuple[Batch[_Entry[K]], Callable[[], Tensor]]] = deque()

    @property
    def is_over(self) -> bool:
        """Whether no volume is on its way any more."""
        return not self._entries

    def steps(self, key: K, volume: Volume, rule: IntensityRule | None) -> Iterator[bool]:
        """Hand the slices of a volume to the encoder, pausing after each batch."""
        recipe = self._averager.recipe
        if recipe.intensity == "published":
            rule = published_rule(volume.format)
        entry = _Entry(key, rule or choose_rule(volume.voxels), slice_counts(volume, recipe))
        if not all(entry.counts):
            raise SpecError("the recipe takes no slices; expected at least one along each plane")
        self._entries.append(entry)
        chunks = slice_chunks(volume, entry.rule, recipe, self._runner.device)
        flat: dict[tuple[int, float], int] = {}
        try:
            for plane, images, values in self._averager.side.prepared(_sorted_out(chunks)):
                for value in values:
                    flat[plane, value] = flat.get((plane, value), 0) + 1
                self._waiting.add(entry, plane, images)
                while len(self._waiting) >= self._runner.size:
                    self._start()
                    yield True
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            entry.error = ReadError("too-large", f"its voxels do not fit the memory of {self._runner.device}")
            return
        while len(self._waiting) and not self._averager.spans_volumes:
            self._start()
            yield True
        for (plane, value), number in flat.items():
            self._add(entry, plane, self._averager.flat_tokens(value) * number, number)

    def ready(self) -> list[tuple[K, TokenMeans | ReadError]]:
        """The volumes that are complete, taken out in their order."""
        results = []
        while self._entries and self._entries[0].is_complete:
            entry = self._entries.popleft()
            results.append((entry.key, entry.result(drops_cls=self._averager.drops_cls)))
        return results

    def finish(self) -> None:
        """Encode what is left."""
        while len(self._waiting):
            self._start()
        while self._running:
            self._collect()

    def _start(self) -> None:
        batch = self._waiting.cut(self._runner.size)
        with self._costing(batch):
            self._running.append((batch, self._submit(batch.images)))
        while len(self._running) > self._runner.ahead:
            self._collect()

    def _collect(self) -> None:
        batch, tokens_of = self._running.popleft()
        with self._costing(batch):
            tokens = tokens_of()
            start = 0
            for entry, plane, number in batch.owners:
                total = tokens[start : start + number].sum(0, dtype=torch.float32)
                self._add(entry, plane, total, number)
                start += number

    @contextmanager
    def _costing(self, batch: Batch[_Entry[K]]) -> Iterator[None]:
        """A want of memory outside of the encoder, which halves its batches, costs the volumes of the batch alone."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            for entry, _, _ in batch.owners:
                entry.error = ReadError("too-large", f"its slices do not fit the memory of {self._runner.device}")

    def _add(self, entry: _Entry[K], plane: int, total: Float32[Tensor, "token d"], slices: int) -> None:
        entry.add(plane, total, slices)
        if self._on_slices is not None:
            self._on_slices(entry.key, entry.done, sum(entry.counts))


def _sorted_out(chunks: Iterator[tuple[int, Float[Tensor, "b 224 224"]]]) -> Iterator[Piece]:
    """Slices of one constant value (air, padding) apart from the others: each value need be encoded only once."""
    for plane, images in chunks:
        least = images.amin((1, 2))
        is_flat = least == images.amax((1, 2))
        if any(is_flat.tolist()):
            yield plane, images[~is_flat], least[is_flat].tolist()
        else:
            yield plane, images, []
