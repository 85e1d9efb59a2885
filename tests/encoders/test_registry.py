"""Encoders by name: what is offered, which layers and devices are taken, what spec they give."""

from pathlib import Path
from typing import get_args

import pytest
import torch

from raptor_search.encoders import ENCODERS, Dtype, _dtype, computing_dtype, load_encoder, spec_for
from raptor_search.errors import SpecError, UsageError, WeightsError
from raptor_search.specs import PRESETS, Precision
from tests.phantoms import Cells

ABSENT = Path("absent.safetensors")


def test_the_encoders_in_the_order_offered() -> None:
    assert list(ENCODERS) == [
        "dinov2-small",
        "dinov2-small-reg",
        "dinov2-base",
        "dinov2-base-reg",
        "dinov2-large",
        "dinov2-large-reg",
        "dinov2-giant",
        "dinov2-giant-reg",
        "vits14-packaged",
        "efficientnet-lite0",
    ]
    assert all(name == card.name for name, card in ENCODERS.items())


def test_dinov2_is_pinned_to_commits_and_the_packaged_ones_to_files() -> None:
    for name, card in ENCODERS.items():
        assert card.revision
        if name.startswith("dinov2"):
            assert len(card.revision) == 40
        else:
            assert card.weights_sha256
            assert len(card.weights_sha256) == 64


def test_an_unknown_encoder_or_device_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--encoder resnet: expected one of dinov2-small, "):
        load_encoder("resnet")
    for device in ("abacus", "xpu"):
        with pytest.raises(UsageError, match=f"--device {device}: expected auto, cpu, cuda, cuda:N or mps"):
            load_encoder("dinov2-small", weights=ABSENT, device=device)


def test_cuda_where_there_is_none_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UsageError, match="no CUDA device here; expected `--device cpu`"):
        load_encoder("dinov2-small", weights=ABSENT, device="cuda")


def test_a_gpu_that_is_not_there_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(UsageError, match="--device cuda:2: there are 2 CUDA devices, numbered from 0"):
        load_encoder("dinov2-small", weights=ABSENT, device="cuda:2")
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(UsageError, match="--device mps: torch finds no Apple GPU here; expected `--device cpu`"):
        load_encoder("dinov2-small", weights=ABSENT, device="mps")


@pytest.mark.parametrize(
    ("device", "capability", "expected"),
    [
        ("cpu", (9, 0), "float32"),
        ("mps", (9, 0), "float32"),
        ("cuda", (7, 5), "float32"),
        ("cuda:1", (8, 0), "bfloat16"),
    ],
)
def test_bfloat16_is_chosen_where_it_is_native(
    device: str, capability: tuple[int, int], expected: Dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: capability)
    assert _dtype(torch.device(device)) == expected


@pytest.mark.parametrize(
    ("there", "precision", "expected"), [(True, "exact", "cuda"), (False, "exact", "cpu"), (True, "int8", "cpu")]
)
def test_a_gpu_is_taken_where_there_is_one_and_the_precision_is_had_on_it(
    there: bool, precision: Precision, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def device(name: str) -> torch.device:
        asked.append(name)
        return torch.device("cpu")

    monkeypatch.setattr("torch.cuda.is_available", lambda: there)
    monkeypatch.setattr("raptor_search.encoders._device", device)
    with pytest.raises(WeightsError):
        load_encoder("dinov2-small", weights=ABSENT, precision=precision)
    assert asked == [expected]


def test_a_dtype_that_an_encoder_does_not_have_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--dtype: efficientnet-lite0 computes in float32 alone"):
        load_encoder("efficientnet-lite0", dtype="bfloat16")
    with pytest.raises(UsageError, match="--precision int8: runs on a CPU in float32 alone, not on --dtype bfloat16"):
        load_encoder("vits14-packaged", dtype="bfloat16", precision="int8")


def test_one_of_several_devices_that_does_not_exist_is_a_usage_error() -> None:
    for device in ("abacus", "auto"):
        with pytest.raises(UsageError, match=f"--device {device}: expected"):
            computing_dtype(ENCODERS["vits14-packaged"], device, None)


def test_bfloat16_keeps_the_direction_of_the_tokens() -> None:
    exact, half = (load_encoder("vits14-packaged", layer="3", dtype=dtype) for dtype in get_args(Dtype))
    images = torch.rand(1, 224, 224, generator=torch.Generator().manual_seed(0))
    tokens, rounded = exact.encode(images), half.encode(images)
    assert (tokens.dtype, rounded.dtype) == (torch.float32, torch.bfloat16)
    cosines = torch.nn.functional.cosine_similarity(tokens.flatten(), rounded.float().flatten(), dim=0)
    assert 0.9999 <= float(cosines) < 1


@pytest.mark.parametrize("layer", ["0", "13", "-1", "nine", "1.5"])
def test_a_layer_that_is_not_there_is_a_spec_error(layer: str) -> None:
    with pytest.raises(SpecError, match=f"--layer {layer}: dinov2-small has 12 blocks; expected 1 to 12 or last"):
        load_encoder("dinov2-small", layer=layer, weights=ABSENT)


def test_the_cnn_offers_its_last_layer_only() -> None:
    with pytest.raises(SpecError, match="efficientnet-lite0 offers only its last layer"):
        load_encoder("efficientnet-lite0", layer="3")


@pytest.mark.parametrize("name", list(ENCODERS))
def test_weights_that_do_not_exist_are_named(name: str) -> None:
    with pytest.raises(WeightsError, match=f"{name}: .*absent.safetensors"):
        load_encoder(name, weights=ABSENT)


def test_a_spec_holds_what_the_encoder_is() -> None:
    spec = spec_for(Cells(), "full", components=7, seed=3)
    assert (spec.encoder, spec.layer, spec.weights_sha256, spec.grid) == ("cells", "last", "c0ffee", (4, 4))
    assert (spec.components_drawn, spec.components_kept, spec.seed) == (7, 7, 3)
    assert spec.recipe == PRESETS["full"]
    assert spec == spec_for(Cells(), PRESETS["full"], components=7, seed=3)


def test_an_unknown_preset_is_a_spec_error() -> None:
    with pytest.raises(SpecError, match="--preset best: expected one of official, paper, full, default"):
        spec_for(Cells(), "best")
