"""The published embedding script's way to a vector, re-created from its description to be timed beside ours.

Source: raptor at commit d76ffad. Not its code: each slice alone through a float64 bicubic resize, a cast to bytes and
the image processor (224 -> 256 bicubic on bytes, centre crop, three channels, ImageNet mean and std); batches of 64 in
float32; every token copied to the host; means and the float64 projection in NumPy. Constant slices are encoded like any
other.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor
from torch.nn.functional import interpolate

__all__ = ["BATCH", "published_embedding", "published_slices"]

BATCH = 64
WINDOW = 1280.0
SIDE, ENLARGED = 224, 256
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def published_slices(
    voxels: Num[np.ndarray, "i j k"], axis: int, *, every: int = 1
) -> list[Float[Tensor, "3 224 224"]]:
    """What the model is given of each slice along an axis."""
    across = np.moveaxis(voxels, axis, 0)  # a view: nothing is copied but the slices
    return [_processed(across[index]) for index in range(every // 2, len(across), every)]


def _processed(image: Num[np.ndarray, "rows cols"]) -> Float[Tensor, "3 224 224"]:
    window = torch.from_numpy(np.clip(image.astype(np.float64), 0, WINDOW) / WINDOW)
    small = interpolate(window[None, None], (SIDE, SIDE), mode="bicubic", align_corners=False)
    grey = (small[0, 0].numpy() * 256).astype(np.int64).astype(np.uint8)
    colour = torch.from_numpy(np.stack([grey] * 3))
    large = interpolate(colour[None], (ENLARGED, ENLARGED), mode="bicubic", antialias=True)[0]
    edge = (ENLARGED - SIDE) // 2
    crop = large[:, edge : edge + SIDE, edge : edge + SIDE].to(torch.float32).div(255)
    return (crop - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def published_embedding(
    voxels: Num[np.ndarray, "i j k"],
    model: Callable[[Tensor], Tensor],
    device: torch.device,
    *,
    components: int = 100,
    every: int = 1,
) -> tuple[Float[np.ndarray, "plane k token"], int, int]:
    """The vector, how many slices were encoded, and how many bytes of tokens came back to the host.

    Args:
        voxels: in stored order.
        model: colour images [b 3 224 224] on the device to tokens [b token d].
        device: where the model is.
        components: K.
        every: 1 takes all slices; more shortens a trial.
    """
    planes, slices, copied = [], 0, 0
    for axis in range(3):
        images = published_slices(voxels, axis, every=every)
        tokens = []
        for start in range(0, len(images), BATCH):
            batch = torch.stack(images[start : start + BATCH]).to(device)
            tokens.append(model(batch).cpu().numpy())
        stack = np.concatenate(tokens)
        slices, copied = slices + len(stack), copied + stack.nbytes
        matrix = np.random.RandomState(0).randn(stack.shape[2], components)
        planes.append((stack.mean(axis=0) @ matrix).T)
    return np.stack(planes), slices, copied
