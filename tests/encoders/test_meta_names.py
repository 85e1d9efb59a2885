"""Meta's own checkpoints: what their tensors mean, written out plainly, against the encoder that loads them."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from raptor_search.encoder_cards import EncoderCard
from raptor_search.encoders import ENCODERS, load_encoder
from raptor_search.encoders.dinov2 import load_dinov2
from raptor_search.encoders.meta_names import from_meta_names, has_meta_names
from raptor_search.errors import WeightsError

CPU = torch.device("cpu")
HEADS = 2
SIDE = 37
"""Patches along one side of the images that DINOv2 was trained on."""

CARDS = [
    dataclasses.replace(ENCODERS[name], dim=128, layers=2)
    for name in ("dinov2-small", "dinov2-small-reg", "dinov2-giant", "dinov2-giant-reg")
]


def checkpoint(card: EncoderCard, seed: int = 0) -> dict[str, Tensor]:
    """Random tensors by the names and shapes of the published files."""
    swiglu = card.name.startswith("dinov2-giant")
    d, hidden = card.dim, 344 if swiglu else 4 * card.dim  # SwiGLU: 2/3 of four times d, up to the next multiple of 8
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, d),
        "pos_embed": (1, 1 + SIDE * SIDE, d),
        "mask_token": (1, d),
        "patch_embed.proj.weight": (d, 3, 14, 14),
        "patch_embed.proj.bias": (d,),
        "norm.weight": (d,),
        "norm.bias": (d,),
    }
    if card.registers:
        shapes["register_tokens"] = (1, 4, d)
    mlp = {"w12": (2 * hidden, d), "w3": (d, hidden)} if swiglu else {"fc1": (hidden, d), "fc2": (d, hidden)}
    linear = {"attn.qkv": (3 * d, d), "attn.proj": (d, d)} | {f"mlp.{name}": shape for name, shape in mlp.items()}
    for block in range(card.layers):
        for name, shape in linear.items():
            shapes |= {f"blocks.{block}.{name}.weight": shape, f"blocks.{block}.{name}.bias": shape[:1]}
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma"):
            shapes[f"blocks.{block}.{name}"] = (d,)
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def forward(card: EncoderCard, tensors: dict[str, Tensor], slices: Tensor) -> Tensor:
    """Meta's forward, by its tensors' names: CLS and patches after the final LayerNorm."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (card.mean, card.std))
    x = functional.conv2d(
        (slices[:, None] - mean) / std, tensors["patch_embed.proj.weight"], tensors["patch_embed.proj.bias"], stride=14
    )
    x = torch.cat([tensors["cls_token"].expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], dim=1)
    grid = tensors["pos_embed"][:, 1:].reshape(1, SIDE, SIDE, -1).permute(0, 3, 1, 2)
    grid = functional.interpolate(grid, size=(16, 16), mode="bicubic", antialias=card.registers > 0)
    x = x + torch.cat([tensors["pos_embed"][:, :1], grid.flatten(2).transpose(1, 2)], dim=1)
    if card.registers:
        x = torch.cat([x[:, :1], tensors["register_tokens"].expand(len(x), -1, -1), x[:, 1:]], dim=1)

    def linear(x: Tensor, name: str) -> Tensor:
        return functional.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(x, (card.dim,), tensors[f"{name}.weight"], tensors[f"{name}.bias"], eps=1e-6)

    for n in range(card.layers):
        block = f"blocks.{n}"
        b, t, d = x.shape
        qkv = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv")
        q, k, v = qkv.reshape(b, t, 3, HEADS, d // HEADS).permute(2, 0, 3, 1, 4)
        attention = ((q @ k.transpose(-2, -1)) / (d // HEADS) ** 0.5).softmax(dim=-1)
        mixed = (attention @ v).transpose(1, 2).reshape(b, t, d)
        x = x + tensors[f"{block}.ls1.gamma"] * linear(mixed, f"{block}.attn.proj")
        inner = norm(x, f"{block}.norm2")
        if f"{block}.mlp.w12.weight" in tensors:
            gate, value = linear(inner, f"{block}.mlp.w12").chunk(2, dim=-1)
            outer = linear(functional.silu(gate) * value, f"{block}.mlp.w3")
        else:
            outer = linear(functional.gelu(linear(inner, f"{block}.mlp.fc1")), f"{block}.mlp.fc2")
        x = x + tensors[f"{block}.ls2.gamma"] * outer
    x = norm(x, "norm")
    return torch.cat([x[:, :1], x[:, 1 + card.registers :]], dim=1)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_tokens_equal_metas_forward_written_out(card: EncoderCard, tmp_path: Path) -> None:
    path = tmp_path / "pretrain.pth"
    tensors = checkpoint(card)
    torch.save(tensors, path)
    slices = torch.rand(2, 224, 224, generator=torch.Generator().manual_seed(1))
    tokens = load_dinov2(card, layer="last", weights=path, device=CPU).encode(slices)
    expected = forward(card, tensors, slices)
    assert tokens.shape == (2, 257, 128)
    assert expected.std() > 0.1
    assert torch.allclose(tokens, expected, atol=1e-5 * float(expected.abs().max()))


def test_the_renamed_tensors_saved_by_hugging_faces_names_load_to_the_same_tokens(tmp_path: Path) -> None:
    card, tensors = CARDS[1], checkpoint(CARDS[1])
    torch.save(tensors, tmp_path / "meta.pth")
    torch.save(from_meta_names(tensors), tmp_path / "huggingface.bin")
    slices = torch.rand(1, 224, 224, generator=torch.Generator().manual_seed(2))
    meta, huggingface = (
        load_dinov2(card, layer="1", weights=tmp_path / name, device=CPU) for name in ("meta.pth", "huggingface.bin")
    )
    assert torch.equal(meta.encode(slices), huggingface.encode(slices))
    assert meta.weights_sha256 != huggingface.weights_sha256


def test_the_small_encoder_as_published_loads(tmp_path: Path) -> None:
    card = ENCODERS["dinov2-small-reg"]
    path = tmp_path / "dinov2_vits14_reg4_pretrain.pth"
    torch.save(checkpoint(card), path)
    encoder = load_encoder("dinov2-small-reg", weights=path)
    assert encoder.encode(torch.rand(1, 224, 224)).shape == (1, 257, 384)


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (lambda t: t.pop("norm.bias"), "missing layernorm.bias"),
        (lambda t: t.update({"blocks.7.ls1.gamma": torch.zeros(128)}), "unexpected encoder.layer.7.layer_scale1"),
        (lambda t: t.update({"head.weight": torch.zeros(2)}), "unexpected head.weight"),
        (lambda t: t.update({"blocks.0.attn.qkv.weight": torch.zeros(4, 128)}), "mismatched encoder.layer.0.attention"),
        (lambda t: t.pop("register_tokens"), "missing embeddings.register_tokens"),
    ],
    ids=["missing", "deeper", "foreign", "shape", "no registers"],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_tensor(fault: object, named: str, tmp_path: Path) -> None:
    assert callable(fault)
    tensors = checkpoint(CARDS[1])
    fault(tensors)
    path = tmp_path / "other.pth"
    torch.save(tensors, path)
    with pytest.raises(WeightsError, match=f"holds another model's weights: .*{named}") as caught:
        load_dinov2(CARDS[1], layer="last", weights=path, device=CPU)
    assert "\n" not in caught.value.message


def test_another_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dinov2_vits14_pretrain.pth"
    torch.save(checkpoint(dataclasses.replace(CARDS[0], dim=64, layers=1)), path)
    with pytest.raises(WeightsError, match=r"another model's weights: missing .* mismatched .* check --encoder"):
        load_dinov2(CARDS[0], layer="last", weights=path, device=CPU)


def test_a_folder_without_the_file_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"holds no model\.safetensors; expected a model's folder"):
        load_dinov2(CARDS[0], layer="last", weights=tmp_path, device=CPU)
    with pytest.raises(WeightsError, match=r"gone\.pth does not exist; expected a checkpoint \(safetensors, \.pth\)"):
        load_dinov2(CARDS[0], layer="last", weights=tmp_path / "gone.pth", device=CPU)


def test_only_metas_checkpoints_count_as_metas() -> None:
    tensors = checkpoint(CARDS[0])
    assert has_meta_names(tensors)
    assert not has_meta_names(from_meta_names(tensors))
