"""Work on a second stream of a CUDA device, beside the encoder; elsewhere there is none and nothing changes."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Piece", "SideStream"]

Piece = tuple[int, Float[Tensor, "b 224 224"], list[float]]
"""A plane's number, slices of it, and the values of those that are one value all over."""


class SideStream:
    """Prepares the slices of the next volume while the encoder works on those before.

    Args:
        device: whose stream.
    """

    def __init__(self, device: torch.device) -> None:
        make: Any = torch.cuda.Stream  # torch leaves it untyped
        self._stream: torch.cuda.Stream | None = make(device) if device.type == "cuda" else None

    def prepared(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """The same pieces: on CUDA all made now, on the second stream, and safe to use on the first; else unchanged."""
        if self._stream is None:
            return pieces
        with torch.cuda.stream(self._stream):
            made = list(pieces)
        first = torch.cuda.current_stream(self._stream.device)
        first.wait_stream(self._stream)
        for _, images, _ in made:
            images.record_stream(first)  # the second stream's memory is not handed out again before the first is done
        return iter(made)
