"""Frozen 2D models: slices in, tokens out. The only torch models here."""

from pathlib import Path
from typing import Literal

import torch

from raptor_search.embedding import Encoder, check_tokens
from raptor_search.encoder_cards import ENCODERS, OPEN_CLIP, EncoderCard
from raptor_search.errors import SpecError, UsageError
from raptor_search.specs import PRESETS, EmbeddingSpec, Precision, Recipe

__all__ = [
    "ENCODERS",
    "Dtype",
    "Encoder",
    "EncoderCard",
    "computing_dtype",
    "encoder_card",
    "load_encoder",
    "spec_for",
]

DEVICES = "auto, cpu, cuda, cuda:N or mps"

Dtype = Literal["float32", "bfloat16"]
"""What transformers compute in."""


def load_encoder(
    name: str,
    *,
    layer: str | None = None,
    weights: Path | None = None,
    device: str = "auto",
    dtype: Dtype | None = None,
    precision: Precision = "exact",
) -> Encoder:
    """An encoder with its weights, ready to run.

    Args:
        name: one of `ENCODERS`, or `open_clip:MODEL/PRETRAINED`.
        layer: a block number from 1, whose output goes through the final LayerNorm, or "last"; the card's own where
            None.
        weights: a local checkpoint; for DINOv2 a safetensors file, a folder holding `model.safetensors` or Meta's
            `.pth`, for open_clip one of its own checkpoints, for the packaged encoders the very file of the package.
        device: as torch names it, or "auto": a CUDA device where torch finds one and the precision allows it, else
            the CPU.
        dtype: of a transformer's weights and activations; None means bfloat16 on a CUDA device that computes in it,
            else float32. CNNs are computed in float32 alone.
        precision: "int8" computes DINOv2's blocks in eight bits, on a CPU: other numbers, and so a spec of its own.

    Raises:
        UsageError: for a name or device that does not exist, a precision that the device does not have, or a dtype
            that the encoder does not have.
        SpecError: for a layer or a precision that the encoder does not have.
        WeightsError: where the weights cannot be had, are damaged or another model's. Another encoder is never taken.
    """
    card = encoder_card(name)
    chosen = _layer(card, layer)
    place = _device(_found(precision) if device == "auto" else device)
    kind = getattr(torch, computing_dtype(card, place, dtype))
    _check_precision(card, place, kind, precision)
    if name == "efficientnet-lite0":
        from raptor_search.encoders.efficientnet import load_efficientnet

        return load_efficientnet(card, weights=weights, device=place)
    if name == "vits14-packaged":
        from raptor_search.encoders.vits14_packaged import load_vits14_packaged

        return load_vits14_packaged(card, layer=chosen, weights=weights, device=place, dtype=kind, precision=precision)
    if name.startswith(OPEN_CLIP):
        from raptor_search.encoders.open_clip import load_open_clip

        return load_open_clip(card, layer=chosen, weights=weights, device=place, dtype=kind)
    from raptor_search.encoders.dinov2 import load_dinov2

    return load_dinov2(card, layer=chosen, weights=weights, device=place, dtype=kind, precision=precision)


def encoder_card(name: str) -> EncoderCard:
    """What is known of an encoder before its weights are loaded.

    Raises:
        UsageError: for a name that does not exist.
        WeightsError: for open_clip's encoders, where the package cannot be imported.
    """
    if name in ENCODERS:
        return ENCODERS[name]
    if not name.startswith(OPEN_CLIP):
        raise UsageError(f"--encoder {name}: expected one of {', '.join(ENCODERS)}, or {OPEN_CLIP}MODEL/PRETRAINED")
    from raptor_search.encoders.open_clip_cards import open_clip_card

    return open_clip_card(name)


def spec_for(
    encoder: Encoder, preset: str | Recipe = "default", *, components: int = 100, seed: int = 0
) -> EmbeddingSpec:
    """The spec of an encoder under a recipe.

    Args:
        encoder: loaded, since its weights' hash is part of the spec.
        preset: a name of `PRESETS`, or a recipe of one's own.
        components: K, all kept.
        seed: of the Gaussian matrix.

    Raises:
        SpecError: for an unknown preset, a value out of range, or a recipe that the encoder cannot serve.
    """
    if isinstance(preset, str):
        if preset not in PRESETS:
            raise SpecError(f"--preset {preset}: expected one of {', '.join(PRESETS)}")
        preset = PRESETS[preset]
    check_tokens(preset, encoder.card)
    return EmbeddingSpec(
        encoder=encoder.card.name,
        layer=encoder.layer,
        weights_sha256=encoder.weights_sha256,
        precision=encoder.precision,
        recipe=preset,
        grid=encoder.card.grid,
        components_drawn=components,
        components_kept=components,
        seed=seed,
    )


def _layer(card: EncoderCard, layer: str | None) -> str:
    """The layer by its one name: the last block's number is "last"."""
    asked = layer or card.default_layer
    if asked in ("last", str(card.layers)):
        return "last"
    if card.layers == 0:
        raise SpecError(f"--layer {asked}: {card.name} offers only its last layer; expected `--layer last`")
    if not asked.isdecimal() or not 1 <= int(asked) <= card.layers:
        raise SpecError(f"--layer {asked}: {card.name} has {card.layers} blocks; expected 1 to {card.layers} or last")
    return str(int(asked))


def _check_precision(card: EncoderCard, place: torch.device, dtype: torch.dtype, precision: Precision) -> None:
    if precision == "exact":
        return
    if precision != "int8":
        raise SpecError(f"--precision {precision}: expected exact or int8")
    if not card.name.startswith(("dinov2-", "vits14-")):
        raise SpecError(f"--precision int8: {card.name} is computed exactly only; expected a DINOv2, or exact")
    if place.type != "cpu" or dtype != torch.float32:
        where = place if place.type != "cpu" else "--dtype bfloat16"
        raise UsageError(f"--precision int8: runs on a CPU in float32 alone, not on {where}; expected exact")


def computing_dtype(card: EncoderCard, device: torch.device | str, asked: Dtype | None) -> Dtype:
    """What an encoder computes in; where nothing is asked for, bfloat16 where it is native, elsewhere float32.

    Raises:
        UsageError: for anything but float32 where the encoder is a CNN, or a name of no device that is here.
    """
    if card.layers > 0:
        return asked or _dtype(_device(device) if isinstance(device, str) else device)
    if asked not in (None, "float32"):
        raise UsageError(f"--dtype: {card.name} computes in float32 alone; leave the option out")
    return "float32"


def _found(precision: Precision) -> str:
    return "cuda" if precision == "exact" and torch.cuda.is_available() else "cpu"


def _device(device: str) -> torch.device:
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"--device {device}: expected {DEVICES}") from error
    if place.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"--device {device}: expected {DEVICES}")
    if place.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {device}: torch finds no CUDA device here; expected `--device cpu`")
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"--device {device}: there are {torch.cuda.device_count()} CUDA devices, numbered from 0")
    if place.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError(f"--device {device}: torch finds no Apple GPU here; expected `--device cpu`")
    return place


def _dtype(place: torch.device) -> Dtype:
    """bfloat16 where it is native: compute capability 8.0 on; elsewhere torch emulates it, slowly."""
    native = place.type == "cuda" and torch.cuda.get_device_capability(place) >= (8, 0)
    return "bfloat16" if native else "float32"
