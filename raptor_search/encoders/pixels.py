"""Grey slices to the normalised colour images that pretrained models expect."""

import torch
from jaxtyping import Float
from torch import Tensor

from raptor_search.encoder_cards import EncoderCard

__all__ = ["Pixels"]


class Pixels:
    """Repeats grey over three channels and normalises each as the model was trained."""

    def __init__(self, card: EncoderCard, device: torch.device) -> None:
        self._mean = torch.tensor(card.mean, device=device)[:, None, None]
        self._std = torch.tensor(card.std, device=device)[:, None, None]

    def __call__(self, slices: Float[Tensor, "b h w"]) -> Float[Tensor, "b 3 h w"]:
        """Images (grey - mean) / std."""
        return (slices[:, None] - self._mean) / self._std
