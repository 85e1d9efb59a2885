"""A small picture of a scan: the middle slice of each plane, side by side, for cards and hovers."""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from raptor_search.intensity import IntensityRule, choose_rule, normalise
from raptor_search.planes import PLANES
from raptor_search.resampling import axis_weights
from raptor_search.volume import Volume

__all__ = ["three_planes"]


def three_planes(volume: Volume, side: int = 160, *, rule: IntensityRule | None = None) -> bytes:
    """A grey PNG of 3 * side x side pixels: axial, coronal, sagittal, laid out as `raptor_search.planes` says.

    The three share one scale in mm, under which the longest side of the scan fills its square; the rest is black.

    Args:
        volume: the scan.
        side: of one square, in pixels.
        rule: its intensity window; None chooses it from the voxels.
    """
    rule = rule or choose_rule(volume.voxels)
    extents = [n * mm for n, mm in zip(volume.voxels.shape, volume.spacing, strict=True)]
    fits = [
        axis_weights(n, side, covered=max(extents) / extent)
        for n, extent in zip(volume.voxels.shape, extents, strict=True)
    ]
    squares = []
    for plane in PLANES["ras"]:
        middle = np.moveaxis(volume.voxels, plane.slices, 0)[volume.voxels.shape[plane.slices] // 2]
        image = normalise(middle if plane.rows < plane.cols else middle.T, rule)
        squares.append(fits[plane.rows][::-1] @ image @ fits[plane.cols][::-1].T)
    return _png(np.rint(255 * np.hstack(squares)).astype(np.uint8))


def _png(pixels: UInt8[np.ndarray, "h w"]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
