"""A volume's voxels on the device, through their intensity window: what the planes are cut from.

They cross once, in their own dtype and memory order, so that an int16 scan moves half of what its floats would.
"""

import numpy as np
import torch
from jaxtyping import Float32, Shaped
from torch import Tensor

from raptor_search.intensity import IntensityRule, normalise

__all__ = ["staged"]

CARRIERS = {
    np.dtype(kind): carrier
    for kind, carrier in (
        (np.uint8, torch.uint8),
        (np.int8, torch.int8),
        (np.int16, torch.int16),
        (np.uint16, torch.int16),  # the same bits: torch knows little arithmetic on uint16
        (np.int32, torch.int32),
        (np.float16, torch.float16),
        (np.float32, torch.float32),
    )
}
"""Dtypes that cross as they are; any other crosses as float64."""

SLAB = 2**24
"""Voxels that are in float64 at once on the device."""


def staged(voxels: Shaped[np.ndarray, "i j k"], rule: IntensityRule, device: torch.device) -> Float32[Tensor, "i j k"]:
    """The voxels through the window, clipped to [0, 1], on the device: the numbers of `normalise`, bit for bit.

    On CUDA they pass through page-locked memory and nothing here waits for the device. Elsewhere the window is
    applied before they cross: a CPU has nothing to cross, and Apple's devices have no float64.

    Raises:
        torch.cuda.OutOfMemoryError: where they do not fit the device.
    """
    order = sorted(range(3), key=lambda axis: -abs(voxels.strides[axis]))
    backwards = [at for at, axis in enumerate(order) if voxels.strides[axis] < 0]
    lying = np.flip(voxels.transpose(order), tuple(backwards))  # as it lies in memory: read in one sweep
    if device.type == "cuda":
        windowed = crossed(lying, rule, device)
    else:
        windowed = torch.from_numpy(normalise(lying, rule)).to(device)
    if backwards:
        windowed = windowed.flip(backwards)
    return windowed.permute([order.index(axis) for axis in range(3)])


def crossed(voxels: Shaped[np.ndarray, "i j k"], rule: IntensityRule, device: torch.device) -> Float32[Tensor, "i j k"]:
    """The voxels moved in their own dtype and windowed there; works, to no gain, on any device that has float64."""
    native = voxels.dtype.newbyteorder("=")
    carrier = CARRIERS.get(native)
    host = torch.empty(voxels.shape, dtype=carrier or torch.float64, pin_memory=device.type == "cuda")
    np.copyto(host.numpy().view(native) if carrier else host.numpy(), voxels)
    return _window(host.to(device, non_blocking=True), rule, is_unsigned=native == np.uint16)


def _window(native: Shaped[Tensor, "i j k"], rule: IntensityRule, *, is_unsigned: bool) -> Float32[Tensor, "i j k"]:
    out = torch.empty(native.shape, dtype=torch.float32, device=native.device)
    rows = max(1, SLAB // (native.shape[1] * native.shape[2]))
    for start in range(0, len(native), rows):
        slab, target = native[start : start + rows], out[start : start + rows]
        values = slab.to(torch.int32).bitwise_and_(0xFFFF) if is_unsigned else slab
        window = values.to(torch.float64).clamp(rule.low, rule.high)
        target.copy_(window.sub_(rule.low).div_(rule.high - rule.low))
    return out
