"""DINOv2: the tokens of transformers' own forward, and weights that are refused."""

import dataclasses
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from raptor_search.encoder_cards import EncoderCard
from raptor_search.encoders import ENCODERS
from raptor_search.encoders.checkpoint import read_tensors
from raptor_search.encoders.dinov2 import load_dinov2
from raptor_search.encoders.torchvision_guard import guard_torchvision
from raptor_search.errors import WeightsError
from tests.encoders.hub import point_hub_at

CPU = torch.device("cpu")
SMALL = dataclasses.replace(ENCODERS["dinov2-small"], dim=128, layers=3)
GIANT = dataclasses.replace(ENCODERS["dinov2-giant"], dim=128, layers=3)
SMALL_REG = dataclasses.replace(ENCODERS["dinov2-small-reg"], dim=128, layers=3)
GIANT_REG = dataclasses.replace(ENCODERS["dinov2-giant-reg"], dim=128, layers=3)


def original(card: EncoderCard, seed: int = 0) -> Any:
    """A model of the card's architecture with random weights, none of them at its neutral value."""
    guard_torchvision()
    import transformers

    torch.manual_seed(seed)
    family = "Dinov2WithRegisters" if card.registers else "Dinov2"
    config = getattr(transformers, f"{family}Config")(
        hidden_size=card.dim,
        num_hidden_layers=card.layers,
        num_attention_heads=2,
        image_size=518,
        patch_size=14,
        use_swiglu_ffn=card.name.startswith("dinov2-giant"),
        attn_implementation="eager",
    )
    model = getattr(transformers, f"{family}Model")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module", params=[SMALL, GIANT, SMALL_REG, GIANT_REG], ids=lambda card: card.name)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[EncoderCard, Any, Path]:
    card: EncoderCard = request.param
    folder = tmp_path_factory.mktemp(card.name)
    model = original(card)
    model.save_pretrained(folder)
    return card, model, folder


def images(n: int = 2) -> torch.Tensor:
    return torch.rand(n, 224, 224, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layer", ["last", "2", "1"])
def test_tokens_equal_transformers_own_forward(saved: tuple[EncoderCard, Any, Path], layer: str) -> None:
    card, model, folder = saved
    encoder = load_dinov2(card, layer=layer, weights=folder, device=CPU)
    grey = images()
    colour = (grey[:, None] - torch.tensor(card.mean)[:, None, None]) / torch.tensor(card.std)[:, None, None]
    with torch.inference_mode():
        states = model(colour, output_hidden_states=True).hidden_states
        expected = model.layernorm(states[int(layer) if layer != "last" else card.layers])
        expected = torch.cat([expected[:, :1], expected[:, 1 + card.registers :]], dim=1)
    tokens = encoder.encode(grey)
    assert tokens.shape == (2, 257, card.dim)
    assert tokens.dtype == torch.float32
    assert torch.allclose(tokens, expected, atol=1e-5 * float(expected.abs().max()))


def test_every_family_is_computed_in_eight_bits_near_the_exact_tokens(saved: tuple[EncoderCard, Any, Path]) -> None:
    card, _, folder = saved
    exact = load_dinov2(card, layer="2", weights=folder, device=CPU).encode(images())
    rounded = load_dinov2(card, layer="2", weights=folder, device=CPU, precision="int8").encode(images())
    assert rounded.shape == exact.shape
    apart = (rounded - exact).norm() / exact.norm()
    assert 1e-6 < float(apart) < 0.05


def test_a_file_and_its_folder_load_alike_and_give_the_files_hash(saved: tuple[EncoderCard, Any, Path]) -> None:
    card, _, folder = saved
    one = load_dinov2(card, layer="1", weights=folder, device=CPU)
    two = load_dinov2(card, layer="1", weights=folder / "model.safetensors", device=CPU)
    assert one.weights_sha256 == two.weights_sha256
    assert len(one.weights_sha256) == 64
    assert torch.equal(one.encode(images(1)), two.encode(images(1)))
    assert (one.card, one.layer, one.device) == (card, "1", CPU)


def test_weights_in_half_precision_run_in_float32(tmp_path: Path) -> None:
    original(SMALL).half().save_pretrained(tmp_path)
    assert load_dinov2(SMALL, layer="1", weights=tmp_path, device=CPU).encode(images(1)).dtype == torch.float32


def test_loading_prints_nothing(saved: tuple[EncoderCard, Any, Path], capfd: pytest.CaptureFixture[str]) -> None:
    card, _, folder = saved
    load_dinov2(card, layer="1", weights=folder, device=CPU)
    assert capfd.readouterr() == ("", "")


def tensors() -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in original(SMALL).state_dict().items()}


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (lambda t: t.pop("layernorm.bias"), "missing layernorm.bias"),
        (lambda t: t.update({"embeddings.register_tokens": torch.zeros(1, 4, 128)}), "unexpected embeddings.register"),
        (lambda t: t.update({"layernorm.bias": torch.zeros(7)}), "mismatched layernorm.bias"),
        (lambda t: t.clear(), "missing .* and [0-9]+ more"),
    ],
    ids=["missing", "unexpected", "shape", "empty"],
)
def test_weights_of_another_model_are_refused_by_tensor(fault: Any, named: str, tmp_path: Path) -> None:
    content = tensors()
    fault(content)
    path = tmp_path / "other.safetensors"
    save_file(content or {"other": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=f"holds another model's weights: {named}") as caught:
        load_dinov2(SMALL, layer="last", weights=path, device=CPU)
    assert "\n" not in caught.value.message


def test_another_size_is_refused(saved: tuple[EncoderCard, Any, Path]) -> None:
    card, _, folder = saved
    larger = dataclasses.replace(card, dim=192, layers=4)
    with pytest.raises(
        WeightsError, match=r"another model's weights: missing .*; mismatched .* check --encoder and --weights"
    ):
        load_dinov2(larger, layer="last", weights=folder, device=CPU)


@pytest.mark.parametrize("keep", [0, 5, 1000, -1])
def test_a_truncated_file_is_refused(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    save_file(tensors(), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match=r"cut\.safetensors is truncated or no checkpoint"):
        load_dinov2(SMALL, layer="last", weights=path, device=CPU)


def test_a_truncated_torch_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    torch.save(tensors(), path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(
        WeightsError, match=r"cut\.pth is truncated or no checkpoint \([^.]*\); expected a whole [^.]*\.pth"
    ):
        load_dinov2(SMALL, layer="last", weights=path, device=CPU)


def test_a_torch_file_whose_names_are_no_texts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.pth"
    torch.save({0: torch.zeros(2), "a": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match=r"state\.pth is no table of named tensors"):
        load_dinov2(SMALL, layer="last", weights=path, device=CPU)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "bare pickle"])
def test_damage_anywhere_in_a_torch_file_is_tensors_or_a_refusal(is_zip: bool, tmp_path: Path) -> None:
    path = tmp_path / "mutant.pth"
    torch.save({"a": torch.zeros(3), "b": torch.ones(2, 2)}, path, _use_new_zipfile_serialization=is_zip)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    said: list[str] = []
    for _ in range(200):
        mutant = bytearray(content)
        for _ in range(3):
            mutant[int(rng.integers(min(len(content), 400)))] = int(rng.integers(256))
        path.write_bytes(mutant)
        try:
            assert all(isinstance(value, torch.Tensor) for value in read_tensors(SMALL, path).values())
        except WeightsError as error:
            said.append(error.message)
    assert len(said) > 50
    assert all("mutant.pth" in message and "\n" not in message for message in said)


def test_a_transformers_that_does_not_take_this_torch_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, saved: tuple[EncoderCard, Any, Path]
) -> None:
    card, _, folder = saved
    monkeypatch.setattr("transformers.utils.import_utils.is_torch_available", lambda: False)
    with pytest.raises(WeightsError, match=r"does not take torch .*: run `pip install 'transformers>=4\.57,<5'`"):
        load_dinov2(card, layer="1", weights=folder, device=CPU)


class Trap:
    """Touches a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_pickled_checkpoint_is_never_run(save: Any, tmp_path: Path) -> None:
    path, touched = tmp_path / "model.pth", tmp_path / "touched"
    save({"layernorm.bias": Trap(touched)}, path)
    with pytest.raises(WeightsError, match=r"model\.pth"):
        load_dinov2(SMALL, layer="last", weights=path, device=CPU)
    assert not touched.exists()


def test_a_torch_file_of_tensors_alone_loads(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save(tensors(), path)
    assert load_dinov2(SMALL, layer="1", weights=path, device=CPU).encode(images(1)).shape == (1, 257, 128)


def test_weights_come_from_the_hub_at_the_pinned_revision_and_then_from_its_cache(hub: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(tensors(), path)
    hub.content = path.read_bytes()
    first = load_dinov2(SMALL, layer="1", weights=None, device=CPU)
    asked = {path for path in hub.asked if "/resolve/" in path}
    assert asked == {f"/facebook/dinov2-small/resolve/{SMALL.revision}/model.safetensors"}
    hub.asked.clear()
    second = load_dinov2(SMALL, layer="1", weights=None, device=CPU)
    assert hub.asked == []
    assert torch.equal(first.encode(images(1)), second.encode(images(1)))


def test_weights_from_the_hub_that_are_not_the_pinned_ones_are_refused(hub: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(tensors(), path)
    hub.content = path.read_bytes()
    pinned = dataclasses.replace(SMALL, weights_sha256="0" * 64)
    with pytest.raises(
        WeightsError, match=r"damaged or another model's: .* expected 000000000000: delete .* and run again"
    ):
        load_dinov2(pinned, layer="1", weights=None, device=CPU)
    assert load_dinov2(pinned, layer="1", weights=path, device=CPU).weights_sha256 != pinned.weights_sha256


ONE_LINE = (
    r"dinov2-large: its weights are not here and could not be downloaded \(.+\); "
    r"give --weights FILE, or choose --encoder efficientnet-lite0"
)


def test_a_hub_without_the_file_is_one_line(hub: Any) -> None:
    with pytest.raises(WeightsError, match=f"^{ONE_LINE}$"):
        load_dinov2(ENCODERS["dinov2-large"], layer="last", weights=None, device=CPU)


def test_a_hub_out_of_reach_is_one_line_at_once(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    point_hub_at("http://127.0.0.1:9", monkeypatch)
    start = time.monotonic()
    with pytest.raises(WeightsError, match=f"^{ONE_LINE}$"):
        load_dinov2(ENCODERS["dinov2-large"], layer="last", weights=None, device=CPU)
    assert time.monotonic() - start < 10


def test_saved_weights_bear_the_published_names(saved: tuple[EncoderCard, Any, Path]) -> None:
    """Guards the tests above: a checkpoint as transformers saves it is one as the hub holds it."""
    names = load_file(saved[2] / "model.safetensors")
    assert "encoder.layer.0.attention.attention.query.weight" in names
