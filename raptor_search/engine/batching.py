"""Slices of several planes, or volumes, gathered into batches of one size."""

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Batch", "Gatherer"]

T = TypeVar("T")


@dataclass(frozen=True)
class Batch(Generic[T]):
    """Slices that are encoded together.

    Attributes:
        pieces: the slices.
        owners: whose they are, in their order: owner, plane and how many.
    """

    pieces: list[Float[Tensor, "n 224 224"]]
    owners: list[tuple[T, int, int]]

    @property
    def images(self) -> Float[Tensor, "b 224 224"]:
        """The slices in one piece, which takes memory of its own."""
        return torch.cat(self.pieces)


class Gatherer(Generic[T]):
    """Takes slices as they come and gives them back in batches, in the same order."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[T, int, Tensor]] = deque()
        self._number = 0

    def __len__(self) -> int:
        return self._number

    def add(self, owner: T, plane: int, images: Float[Tensor, "b 224 224"]) -> None:
        """Slices of one plane of one owner; may be none."""
        if len(images):
            self._waiting.append((owner, plane, images))
            self._number += len(images)

    def cut(self, size: int) -> Batch[T]:
        """The first `size` slices, or all where fewer wait; at least one must."""
        missing, pieces, owners = min(size, self._number), [], []
        self._number -= missing
        while missing:
            owner, plane, some = self._waiting.popleft()
            if len(some) > missing:
                self._waiting.appendleft((owner, plane, some[missing:]))
                some = some[:missing]
            pieces.append(some)
            owners.append((owner, plane, len(some)))
            missing -= len(some)
        return Batch(pieces, owners)
