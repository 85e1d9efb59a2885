"""Grey folded into the first convolution: the tokens of the colour image, and what cannot be folded."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from raptor_search.encoder_cards import ENCODERS, EncoderCard
from raptor_search.encoders.pixels import Pixels, fold_grey, fold_padded_grey

DINO = ENCODERS["dinov2-small"]
LITE = ENCODERS["efficientnet-lite0"]
CPU = torch.device("cpu")


def convolution(*, padding: int = 0, bias: bool = True, seed: int = 0) -> nn.Conv2d:
    torch.manual_seed(seed)
    return nn.Conv2d(3, 8, 14, stride=14, padding=padding, bias=bias).requires_grad_(False)


def grey() -> Tensor:
    return torch.rand(3, 56, 56, generator=torch.Generator().manual_seed(1))


def relative(got: Tensor, want: Tensor) -> float:
    return float((got - want).norm() / want.norm())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("card", [DINO, LITE], ids=["imagenet", "equal"])
def test_a_folded_convolution_of_grey_equals_that_of_the_normalised_colour_image(card: EncoderCard, bias: bool) -> None:
    conv, images = convolution(bias=bias), grey()
    want = conv.double()(Pixels(card, CPU)(images.double()))
    conv = convolution(bias=bias)
    fold_grey(conv, card)
    assert conv.weight.shape == (8, 1, 14, 14)
    assert relative(conv(images[:, None]), want) <= 1e-6


def test_by_hand_two_greys_through_one_weight() -> None:
    conv = nn.Conv2d(3, 1, 1).requires_grad_(False)
    conv.weight[:] = torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    conv.bias.fill_(0.5)  # type: ignore[union-attr]
    card = dataclasses.replace(DINO, mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25))
    fold_grey(conv, card)
    # of grey 0: 1 * 0 + 2 * -1 + 3 * -4 + 0.5; of grey 1: 1 * 1 + 2 * 1 + 3 * 0 + 0.5
    assert conv(torch.tensor([[[[0.0, 1.0]]]])).flatten().tolist() == [-13.5, 3.5]


@pytest.mark.parametrize("padding", [0, 3])
def test_a_padded_convolution_keeps_the_border_that_stands_for_the_mean(padding: int) -> None:
    images = grey()
    want = convolution(padding=padding).double()(Pixels(LITE, CPU)(images.double()))
    conv = convolution(padding=padding)
    fold_padded_grey(conv, LITE)
    assert relative(conv((images - LITE.mean[0])[:, None]), want) <= 1e-6


def test_what_cannot_be_folded_is_refused() -> None:
    with pytest.raises(ValueError, match="without padding"):
        fold_grey(convolution(padding=1), DINO)
    with pytest.raises(ValueError, match="expected three that are equal"):
        fold_padded_grey(convolution(), DINO)
