"""What an embedding is, what an encoder promises, and the embedding of a single volume."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from raptor_search.encoder_cards import EncoderCard
from raptor_search.errors import ReadError, SpecError
from raptor_search.intensity import IntensityRule
from raptor_search.reference import reference_mean
from raptor_search.specs import EmbeddingSpec, Precision, Recipe
from raptor_search.volume import Volume

__all__ = ["Embedding", "Encoder", "EncoderCard", "Progress", "embed", "reference_mean", "token_means"]

Progress = Callable[[int, int], None]
"""Called after each batch with the slices done and the slices in all."""


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
    def precision(self) -> Precision:
        """How it computes."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        ...

    def encode(self, slices: Float[Tensor, "b 224 224"]) -> Float[Tensor, "b t d"]:
        """Tokens of grey float32 slices in [0, 1], in float32 or bfloat16: CLS first, if any, then the grid by rows."""
        ...


@dataclass(frozen=True)
class Embedding:
    """One volume's vector.

    Attributes:
        spec: what it was made with.
        values: finite float32.
        intensity_rule: the window that the voxels went through.
        tokens: the means that `values` are the projection of, where they were asked for: whatever follows the mean
            (components, seed, scale) can be had from them by `raptor_search.projection.reproject`.
    """

    spec: EmbeddingSpec
    values: Float32[np.ndarray, "plane k token"]
    intensity_rule: IntensityRule
    tokens: Float32[np.ndarray, "plane token d"] | None = None

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
    """The Raptor embedding of one volume; for many, `raptor_search.engine.Engine` is faster.

    The same volume, spec, machine and thread count give the same bits.

    Source: An et al., "Raptor", ICML 2025, section 3.

    Raises:
        SpecError: where the spec was made for another encoder, layer or weights, or has no rule for this volume.
        ReadError: "not-finite" where the voxels drive the encoder out of range.
        UsageError: where the memory does not suffice for one slice.
    """
    from raptor_search.engine import Engine  # it builds on this module's types

    engine = Engine(encoder, spec, compiled=False)
    ((_, made),) = engine.embed([(None, volume, None)], on_slices=_unkeyed(progress))
    if isinstance(made, ReadError):
        raise made
    return made


def token_means(
    volume: Volume, encoder: Encoder, recipe: Recipe, *, progress: Progress | None = None
) -> tuple[Float32[np.ndarray, "plane token d"], IntensityRule]:
    """Tokens averaged over the slices of each plane, and the intensity rule used: what is projected.

    Raises:
        SpecError: where the recipe has no rule for this volume, or asks for a CLS token that the encoder lacks.
        UsageError: where the memory does not suffice for one slice.
    """
    from raptor_search.engine import average

    return average(volume, encoder, recipe, on_slices=_unkeyed(progress))


def _unkeyed(progress: Progress | None) -> Callable[[None, int, int], None] | None:
    return None if progress is None else lambda _, done, total: progress(done, total)


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
        "precision": (spec.precision, encoder.precision),
        "grid": (spec.grid, card.grid),
    }
    differing = [f"{name} is {got}, expected {want}" for name, (want, got) in fields.items() if want != got]
    if differing:
        raise SpecError(
            f"the loaded encoder is not the spec's: {'; '.join(differing)}; load the one that the spec names"
        )
