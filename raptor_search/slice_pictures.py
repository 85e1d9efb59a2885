"""Pictures of the three planes through a position: what a browser without WebGL is shown instead of the voxels."""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from raptor_search.intensity import IntensityRule, normalise
from raptor_search.planes import PLANES
from raptor_search.resampling import axis_weights
from raptor_search.viewing import View, Window

__all__ = ["slices_through"]

ENDS = (("L", "R"), ("P", "A"), ("I", "S"))
"""Letters at the minus and the plus end of each axis."""

CROSS = (255, 184, 0)


def slices_through(
    view: View,
    position: Sequence[float],
    window: Window,
    *,
    side: int = 320,
    radiological: bool = True,
    colours: UInt8[np.ndarray, "3 rows cols 4"] | None = None,
    opacity: float = 0.6,
) -> bytes:
    """A PNG of 3 * side x side pixels: axial, coronal and sagittal, each spanning the scan's longest side.

    Args:
        view: the scan.
        position: mm from its middle along R, A, S; a plane beyond the scan is black.
        window: what is black and what is white.
        side: of one plane, in pixels.
        radiological: the patient's right on the left.
        colours: RGBA of each cell, laid out as the embedding's planes are; None draws none.
        opacity: of the colours, on top of their own.
    """
    rule = IntensityRule("window", window.low, window.high)
    fits = [
        axis_weights(n, side, covered=view.span / (n * mm))
        for n, mm in zip(view.voxels.shape, view.spacing, strict=True)
    ]
    pictures = []
    for number, plane in enumerate(PLANES["ras"]):
        n, mm = view.voxels.shape[plane.slices], view.spacing[plane.slices]
        index = int(np.floor((position[plane.slices] + view.extents[plane.slices] / 2) / mm))
        grey: Float[np.ndarray, "side side"] = np.zeros((side, side), np.float32)
        if 0 <= index < n:
            taken = np.moveaxis(view.voxels, plane.slices, 0)[index]
            image = normalise(taken if plane.rows < plane.cols else taken.T, rule)
            grey = fits[plane.rows][::-1] @ image @ fits[plane.cols][::-1].T
        pixels = np.repeat(np.rint(255 * grey)[:, :, None], 3, axis=2)
        if colours is not None:
            pixels = _blended(pixels, colours[number], opacity)
        mirrored = plane.cols == 0 and not radiological
        place = [0.5 - position[axis] / view.span for axis in (plane.rows, plane.cols)]
        pictures.append(_marked(pixels[:, ::-1] if mirrored else pixels, plane.rows, plane.cols, place, mirrored))
    buffer = io.BytesIO()
    Image.fromarray(np.hstack(pictures)).save(buffer, format="PNG")
    return buffer.getvalue()


def _blended(
    pixels: Float[np.ndarray, "side side 3"], cells: UInt8[np.ndarray, "rows cols 4"], opacity: float
) -> Float[np.ndarray, "side side 3"]:
    side = len(pixels)
    rows, cols = (np.arange(side) * n // side for n in cells.shape[:2])
    over = cells[np.ix_(rows, cols)].astype(np.float32)
    alpha = opacity * over[:, :, 3:] / 255
    return pixels * (1 - alpha) + over[:, :, :3] * alpha


def _marked(
    pixels: Float[np.ndarray, "side side 3"], rows: int, cols: int, place: list[float], mirrored: bool
) -> UInt8[np.ndarray, "side side 3"]:
    """The picture with a crosshair at `place` (down, across, as shares of the side) and letters at its edges."""
    image = Image.fromarray(np.rint(pixels).astype(np.uint8))
    side, draw = image.width, ImageDraw.Draw(image)
    down, across = (int(part * side) for part in (place[0], 1 - place[1] if mirrored else place[1]))
    gap = side // 20
    for start, end in (((0, down), (across - gap, down)), ((across + gap, down), (side, down))):
        draw.line((start, end), fill=CROSS)
    for start, end in (((across, 0), (across, down - gap)), ((across, down + gap), (across, side))):
        draw.line((start, end), fill=CROSS)
    left, right = ENDS[cols] if mirrored else ENDS[cols][::-1]
    size = max(12, side // 18)
    draw.text((4, side // 2), left, fill=(230, 230, 230), anchor="lm", font_size=size)
    draw.text((side - 4, side // 2), right, fill=(230, 230, 230), anchor="rm", font_size=size)
    draw.text((side // 2, 2), ENDS[rows][1], fill=(230, 230, 230), anchor="ma", font_size=size)
    draw.text((side // 2, side - 2), ENDS[rows][0], fill=(230, 230, 230), anchor="md", font_size=size)
    return np.asarray(image)
