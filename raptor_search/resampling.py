"""One axis of a volume onto another grid, as a matrix of weights: separable, so that any slice can be had alone."""

import numpy as np
from jaxtyping import Float

__all__ = ["axis_weights"]

ON_EDGE = 1e-6
"""Voxels by which a cell's centre may miss the border through rounding and still count as inside."""


def axis_weights(length: int, target: int, *, covered: float = 1.0) -> Float[np.ndarray, "target length"]:
    """Weights that resample `length` voxels of an axis to `target`, linearly, smoothed where it shrinks.

    The target grid is centred on the axis and spans `covered` times its extent; cells whose centre lies outside the
    extent have no weights (padding). Inside, the weights of a cell sum to 1. Where an axis lies between two centres,
    those two cells, equally near, show its mean: no field of view is lost.

    The kernel is the triangle of antialiased bilinear interpolation, as wide as a target cell where that is wider
    than a voxel, cut at the border; it equals `torch.nn.functional.interpolate(mode="bilinear", antialias=True)`.

    Args:
        length: voxels along the axis.
        target: cells of the new grid.
        covered: extent of the new grid over that of the axis; above 1 pads.
    """
    step = covered * length / target  # a target cell, in voxels
    centres = (np.arange(target) + 0.5 - target / 2) * step + length / 2
    width = max(1.0, step)
    distance = np.abs(np.arange(length) + 0.5 - centres[:, None])
    weights = np.maximum(0.0, 1.0 - distance / width)
    weights[(centres < -ON_EDGE) | (centres > length + ON_EDGE)] = 0.0
    totals = weights.sum(axis=1, keepdims=True)
    np.divide(weights, totals, out=weights, where=totals > 0)
    if not weights.any():
        # The grid is symmetric: of an odd number of cells one lies at the centre, so that these are the middle two.
        weights[[(target - 1) // 2, target // 2]] = 1 / length
    return weights
