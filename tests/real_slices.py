"""Real slices for round trips, cut out of the volumes that pinned packages carry."""

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.demo.sources import SOURCES, load

DATA = Path(__file__).with_name("data")

CT_INTERCEPT = -1024


@cache
def real_volume(name: str) -> NDArray[np.generic]:
    """The voxels of one of the demo's sources, RAS+."""
    return load(next(source for source in SOURCES if source.name == name)).voxels


@cache
def ct_stack() -> NDArray[np.uint16]:
    """Twelve slices of 40 x 48 pixels from the middle of a chest CT, as a scanner stores them: HU + 1024, 16 bits."""
    voxels = real_volume("slicer-chest-ct").astype(np.int32)
    middle = [n // 2 for n in voxels.shape]
    crop = voxels[middle[0] - 40 : middle[0] + 8, middle[1] - 20 : middle[1] + 20, middle[2] - 6 : middle[2] + 6]
    return np.ascontiguousarray((crop - CT_INTERCEPT).transpose(2, 1, 0).astype(np.uint16))
