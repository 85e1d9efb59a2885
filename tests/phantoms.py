"""Volumes and a transparent encoder for the tests of the embedding side, drawn by seeded functions."""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from raptor_search.embedding import EncoderCard
from raptor_search.specs import Precision
from raptor_search.volume import Volume

GRID = 4

CELLS = EncoderCard(
    name="cells",
    source="tests",
    revision=None,
    weights_sha256=None,
    licence="Apache-2.0",
    patch=56,
    dim=3,
    grid=(GRID, GRID),
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    layers=0,
    default_layer="last",
    has_cls=False,
)


class Cells:
    """An encoder whose tokens can be checked by eye: mean, mean square and maximum of each cell of a 4 x 4 grid."""

    card = CELLS
    layer = "last"
    precision: Precision = "exact"
    weights_sha256 = "c0ffee"
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, slices: Tensor) -> Tensor:
        self.encoded += len(slices)
        cells = slices.unfold(1, 56, 56).unfold(2, 56, 56).reshape(len(slices), GRID * GRID, -1)
        return torch.stack([cells.mean(-1), cells.square().mean(-1), cells.amax(-1)], dim=-1)


def smooth(seed: int, shape: tuple[int, int, int] = (20, 26, 22), *, top: float = 900.0) -> np.ndarray:
    """Smooth noise from 0 to `top` inside an ellipsoid, 0 outside: an int16 head, roughly."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    centre = np.stack(np.meshgrid(*(np.linspace(-1.2, 1.2, n) for n in shape), indexing="ij"))
    inside = (centre**2).sum(axis=0) < 1
    return (inside * top * (noise - noise.min()) / np.ptp(noise)).astype(np.int16)


def volume(
    seed: int = 0, shape: tuple[int, int, int] = (20, 26, 22), mm: tuple[float, float, float] = (2, 1, 3)
) -> Volume:
    return Volume(voxels=smooth(seed, shape), affine=np.diag([*mm, 1.0]))
