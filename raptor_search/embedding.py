"""From a volume to its embedding: slices through the encoder, tokens averaged over each plane, then projected.

The mean over slices and the projection are linear, so the mean is taken first: only three token grids leave the device.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from raptor_search.encoder_cards import EncoderCard
from raptor_search.errors import ReadError, SpecError
from raptor_search.intensity import IntensityRule, choose_rule, published_rule
from raptor_search.projection import gaussian_matrix, project
from raptor_search.reference import reference_mean
from raptor_search.slicing import SliceBatch, slice_batches, slice_counts
from raptor_search.specs import EmbeddingSpec, Recipe
from raptor_search.volume import Volume

__all__ = ["Embedding", "Encoder", "EncoderCard", "Progress", "embed", "reference_mean", "token_means"]

Progress = Callable[[int, int], None]
"""Called after each batch with the slices done and the slices in all."""

BATCH = {"cpu": 4, "cuda": 128}
"""Slices encoded at once. On a CPU few: the activations of 4 slices stay nearer to its caches than those of 16."""

CORES = torch.get_num_threads()
"""What torch may use of the CPU, as it found it (or OMP_NUM_THREADS said)."""

WORKERS = min(CORES, 8)
"""Batches encoded at once on a CPU. Batches side by side, one core each, never wait for each other, where threads that
share every operation spin at its end and lose most of a busy machine; and the bits depend on no number of workers."""

THREADS = CORES // WORKERS
"""Threads of one operation: 1, but on machines with more cores than there are batches to fill them."""


class Encoder(Protocol):
    """A frozen 2D model, loaded."""

    @property
    def card(self) -> EncoderCard:
        """What it is."""
        ...

    @property
    def layer(self) -> str:
        """The block whose output is taken, or "last"."""
        ...

    @property
    def weights_sha256(self) -> str:
        """Hash of the checkpoint file that was loaded, hex."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        ...

    def encode(self, slices: Float[Tensor, "b 224 224"]) -> Float[Tensor, "b t d"]:
        """Tokens of grey slices in [0, 1]: CLS first where there is one, then the grid row by row."""
        ...


@dataclass(frozen=True)
class Embedding:
    """One volume's vector.

    Attributes:
        spec: what it was made with.
        values: finite float32.
        intensity_rule: the window that the voxels went through.
    """

    spec: EmbeddingSpec
    values: Float32[np.ndarray, "plane k token"]
    intensity_rule: IntensityRule

    @property
    def vector(self) -> Float32[np.ndarray, " length"]:
        """The values flat, in the published order [plane, k, token]."""
        return self.values.reshape(-1)

    @property
    def stored(self) -> np.ndarray[tuple[int], np.dtype[np.float16]]:
        """The vector as little-endian float16, as the catalog keeps it.

        Raises:
            ReadError: "not-finite" where a value does not fit float16 (65,504).
        """
        most = float(np.abs(self.values).max())
        if not most <= float(np.finfo(np.float16).max):
            raise ReadError("not-finite", f"the embedding reaches {most:.3g}; expected at most 65504, what is stored")
        return self.vector.astype("<f2")


def embed(volume: Volume, encoder: Encoder, spec: EmbeddingSpec, *, progress: Progress | None = None) -> Embedding:
    """The Raptor embedding of a volume.

    The same volume, spec, machine and thread count give the same bits.

    Source: An et al., "Raptor", ICML 2025, section 3.

    Raises:
        SpecError: where the spec was made for another encoder, layer or weights, or has no rule for this volume.
        ReadError: "not-finite" where the voxels drive the encoder out of range.
    """
    check_belongs(spec, encoder)
    means, rule = token_means(volume, encoder, spec.recipe, progress=progress)
    values = project(means, gaussian_matrix(encoder.card.dim, spec))
    if not np.isfinite(values).all():
        raise ReadError("not-finite", "the encoder's tokens are not finite; expected an image of ordinary range")
    return Embedding(spec, values, rule)


def token_means(
    volume: Volume, encoder: Encoder, recipe: Recipe, *, progress: Progress | None = None
) -> tuple[Float32[np.ndarray, "plane token d"], IntensityRule]:
    """Tokens averaged over the slices of each plane, and the intensity rule used: what is projected.

    Raises:
        SpecError: where the recipe has no rule for this volume, or asks for a CLS token that the encoder lacks.
    """
    check_tokens(recipe, encoder.card)
    rule = published_rule(volume.format) if recipe.intensity == "published" else choose_rule(volume.voxels)
    per_plane = torch.tensor(slice_counts(volume, recipe), dtype=torch.float64)
    total, done = int(per_plane.sum()), 0
    sums: Tensor | None = None
    # TF32 and autotuned kernels would move the numbers on a GPU from run to run; on a CPU this changes nothing.
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with torch.inference_mode(), exact, _threads(THREADS):
        batch_size = BATCH[encoder.device.type]
        batches = slice_batches(volume, rule, recipe, batch_size=batch_size, device=encoder.device)
        for counts, tokens in _encoded(encoder, batches):
            part = torch.einsum("pb,btd->ptd", counts.to(tokens.device), tokens).to(torch.float64)
            sums = part if sums is None else sums.add_(part)
            done += int(counts.sum())
            if progress is not None:
                progress(done, total)
    if sums is None:
        raise SpecError("the recipe takes no slices; expected at least one along each plane")
    means = (sums.cpu() / per_plane[:, None, None]).to(torch.float32).numpy()
    return (means[:, 1:] if encoder.card.has_cls and recipe.tokens == "patches" else means), rule


def _encoded(encoder: Encoder, batches: Iterator[SliceBatch]) -> Iterator[tuple[Tensor, Tensor]]:
    """Counts and tokens of the batches, in their order; on a CPU `WORKERS` batches are encoded side by side."""
    if encoder.device.type != "cpu":
        for batch in batches:
            yield batch.counts, encoder.encode(batch.slices)
        return
    with ThreadPoolExecutor(WORKERS, initializer=torch.set_num_threads, initargs=(THREADS,)) as pool:
        waiting: deque[tuple[Tensor, Future[Tensor]]] = deque()
        for batch in batches:
            waiting.append((batch.counts, pool.submit(encoder.encode, batch.slices)))
            if len(waiting) > WORKERS:  # one batch in reserve, so that no worker waits for the slicing
                counts, tokens = waiting.popleft()
                yield counts, tokens.result()
        for counts, tokens in waiting:
            yield counts, tokens.result()


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Threads that one operation of torch may use, meanwhile."""
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(CORES)


def check_tokens(recipe: Recipe, card: EncoderCard) -> None:
    """Refuse a recipe that keeps a CLS token with an encoder that has none.

    Raises:
        SpecError: then.
    """
    if recipe.tokens == "cls+patches" and not card.has_cls:
        raise SpecError(
            f"{card.name} has no CLS token, which the preset {recipe.preset} keeps; expected a transformer: "
            "choose `--encoder vits14-packaged`, or another `--preset`"
        )


def check_belongs(spec: EmbeddingSpec, encoder: Encoder) -> None:
    """Refuse a spec that was made for another encoder.

    Raises:
        SpecError: naming each field that differs.
    """
    card = encoder.card
    fields = {
        "encoder": (spec.encoder, card.name),
        "layer": (spec.layer, encoder.layer),
        "weights_sha256": (spec.weights_sha256[:12], encoder.weights_sha256[:12]),
        "grid": (spec.grid, card.grid),
    }
    differing = [f"{name} is {got}, expected {want}" for name, (want, got) in fields.items() if want != got]
    if differing:
        raise SpecError(
            f"the loaded encoder is not the spec's: {'; '.join(differing)}; load the one that the spec names"
        )
