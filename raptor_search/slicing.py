"""From a volume to the slices that an encoder sees: planes, resampling, and the published script's own pixel path.

The planes and the layout of their images are `raptor_search.planes`'.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from raptor_search.intensity import IntensityRule, normalise
from raptor_search.planes import PLANES, slice_indices
from raptor_search.resampling import axis_weights
from raptor_search.specs import Recipe
from raptor_search.staging import staged
from raptor_search.volume import Volume

__all__ = ["IMAGE_SIDE", "slice_chunks", "slice_counts"]

IMAGE_SIDE = 224
"""Pixels of a slice's side, as every encoder here takes it."""

PUBLISHED_SIDE = 256
"""Side that the published preprocessing enlarges to before it crops the centre."""

CHUNK = {"cpu": 8}
"""Slices resampled together: on a CPU few enough to touch a thin slab of the volume only."""

CHUNK_ELSEWHERE = 64
"""The same on devices that need more work at once."""


def slice_counts(volume: Volume, recipe: Recipe) -> tuple[int, int, int]:
    """Slices that a recipe takes along each plane of a volume."""
    shape = volume.stored.shape if recipe.planes == "stored" else volume.voxels.shape
    lengths = (shape[p.slices] if recipe.resample == "native" else recipe.cube for p in PLANES[recipe.planes])
    first, second, third = (len(slice_indices(length, recipe.slices_per_plane)) for length in lengths)
    return first, second, third


def slice_chunks(
    volume: Volume, rule: IntensityRule, recipe: Recipe, device: torch.device
) -> Iterator[tuple[int, Float[Tensor, "b 224 224"]]]:
    """All slices of a recipe on the device, plane by plane in their order, a few at a time.

    Args:
        volume: the scan.
        rule: the window that its voxels go through.
        recipe: planes, resampling and slices.
        device: where the volume is resampled; "native" slices are made on the CPU, bit for bit as published.

    Yields:
        the plane's number and grey images in [0, 1].
    """
    if recipe.resample == "native":
        return ((number, image.to(device)) for number, image in _published(volume, rule, recipe))
    return _resampled(volume, rule, recipe, device)


def _resampled(
    volume: Volume, rule: IntensityRule, recipe: Recipe, device: torch.device
) -> Iterator[tuple[int, Float[Tensor, "b 224 224"]]]:
    """Slices of the volume resampled to a cube; only those that are taken are ever computed."""
    stored = recipe.planes == "stored"
    spacing = [volume.spacing[axis] for axis, _ in volume.stored_axes] if stored else volume.spacing
    voxels = staged(volume.stored if stored else volume.voxels, rule, device)
    extents = [n * mm for n, mm in zip(voxels.shape, spacing, strict=True)]
    span = [max(extents)] * 3 if recipe.resample == "fit" else extents
    cube = [axis_weights(n, recipe.cube, covered=span[i] / extents[i]) for i, n in enumerate(voxels.shape)]
    shrink = axis_weights(recipe.cube, IMAGE_SIDE)
    chunk = CHUNK.get(device.type, CHUNK_ELSEWHERE)
    images = cube if recipe.cube == IMAGE_SIDE else [shrink @ weights for weights in cube]
    for number, plane in enumerate(PLANES[recipe.planes]):
        rows, cols = (images[axis][::-1] if plane.reverse else images[axis] for axis in (plane.rows, plane.cols))
        left, right = _tensor(rows, device), _tensor(cols.T, device)
        taken = cube[plane.slices][slice_indices(recipe.cube, recipe.slices_per_plane)]
        for some in np.array_split(taken, range(chunk, len(taken), chunk)):
            slab = _contract(some, voxels, plane.slices)
            image = left @ ((slab if plane.rows < plane.cols else slab.mT) @ right)
            yield number, image.clamp_(0, 1)


def _contract(weights: Float[np.ndarray, "b n"], voxels: Float[Tensor, "i j k"], axis: int) -> Float[Tensor, "b p q"]:
    """Weighted sums of slices along an axis, reading only those that weigh anything; the other axes in their order."""
    used = np.flatnonzero(weights.any(axis=0))
    # Moved to the front first: along another axis of a volume that lies otherwise in memory it takes 100 times as long.
    near = voxels.movedim(axis, 0).index_select(0, torch.from_numpy(used).to(voxels.device))
    return (_tensor(weights[:, used], voxels.device) @ near.flatten(1)).reshape(-1, *near.shape[1:])


def _tensor(array: Float[np.ndarray, "*shape"], device: torch.device) -> Float[Tensor, "*shape"]:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(device)


def _published(volume: Volume, rule: IntensityRule, recipe: Recipe) -> Iterator[tuple[int, Float[Tensor, "b 224 224"]]]:
    """Slices as the published script and its image processor make them, on the CPU: the numbers depend on every step.

    Source: raptor's embedding script at commit d76ffad; transformers' BitImageProcessor on uint8 tensors.
    """
    voxels = volume.stored if recipe.planes == "stored" else volume.voxels
    for number, plane in enumerate(PLANES[recipe.planes]):
        across = voxels.transpose(plane.slices, plane.rows, plane.cols)
        across = across[:, ::-1, ::-1] if plane.reverse else across
        for index in slice_indices(len(across), recipe.slices_per_plane):
            image = torch.from_numpy(normalise(across[index], rule, dtype=np.float64))
            yield number, _published_pixels(image).to(torch.float32).div(255)[None]


def _published_pixels(image: Float[Tensor, "rows cols"]) -> UInt8[Tensor, "224 224"]:
    side = (IMAGE_SIDE, IMAGE_SIDE)
    small = interpolate(image[None, None], side, mode="bicubic", align_corners=False)
    # A cast of 256 or of -1 to uint8 wraps, as NumPy's does on x86-64; through int64 it wraps everywhere.
    wrapped = (small * 256).to(torch.int64).to(torch.uint8)
    # On uint8 this runs in fixed point: in floating point the embedding's cosine to the published one is 0.99997.
    large = interpolate(wrapped, (PUBLISHED_SIDE, PUBLISHED_SIDE), mode="bicubic", antialias=True)
    edge = (PUBLISHED_SIDE - IMAGE_SIDE) // 2
    return large[0, 0, edge : edge + IMAGE_SIDE, edge : edge + IMAGE_SIDE]
