"""A DICOM series to a volume: headers first, so that what cannot be a volume is refused before a pixel is read."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raptor_search.errors import ReadError
from raptor_search.readers.dicom_decoding import stored_frames
from raptor_search.readers.dicom_files import parse_dicom, pydicom_failures
from raptor_search.readers.dicom_frames import Frame, frames_of
from raptor_search.readers.dicom_geometry import stack_slices
from raptor_search.readers.dicom_metadata import identity_of, metadata_of
from raptor_search.readers.inflating import check_inflation
from raptor_search.readers.orientation import to_volume
from raptor_search.readers.scaling import rescale, scaled_dtype
from raptor_search.readers.scan import Scan
from raptor_search.volume import check_shape

__all__ = ["read_dicom"]

BACKGROUND_MARGIN = 0.01
"""How far below the lowest pixel padding counts as background, as a part of the pixels' range: too little to see."""


def read_dicom(files: Sequence[Path]) -> Scan:
    """The scan of one series: a slice a file, or one enhanced multi-frame file.

    Slices are sorted by position along their normal; values are rescaled slice by slice (HU for CT); padding takes the
    value of the lowest pixel.

    Raises:
        ReadError: a damaged file, a gap, doubled slices, or slices that make no single volume.
    """
    frames: list[Frame] = []
    for file in files:
        header = parse_dicom(file, pixels=False)
        with pydicom_failures("header"):
            frames += frames_of(file, header)
            if file == files[0]:
                metadata, identity = metadata_of(header), identity_of(header)
    sizes = {frame.size for frame in frames}
    if len(sizes) > 1:
        listed = " and ".join(sorted(f"{rows}x{columns}" for rows, columns in sizes))
        raise ReadError("mixed-geometry", f"slices of {listed} pixels; expected one size")
    rows, columns = frames[0].size
    check_shape((columns, rows, len(frames)))
    inflated = rows * columns * len(frames) * max(frame.pixels.dtype.itemsize for frame in frames)
    with pydicom_failures("files"):
        check_inflation(inflated, sum(file.stat().st_size for file in files))
    stack = stack_slices(
        np.array([frame.position for frame in frames]),
        np.array([frame.cosines for frame in frames]),
        np.array([frame.spacing for frame in frames]),
    )
    voxels = _pixels([frames[index] for index in stack.order])
    return Scan(to_volume(voxels.transpose(2, 1, 0), stack.affine, kind="dicom"), metadata, identity)


def _pixels(frames: Sequence[Frame]) -> NDArray[np.generic]:
    """Real-world values [slice, row, column] of frames in spatial order."""
    kinds = {frame.pixels for frame in frames}
    scalings = {frame.scaling for frame in frames}
    dtype = np.result_type(*(scaled_dtype(kind.dtype, kind.bits, scalings) for kind in kinds))
    with pydicom_failures("pixel data"):
        out = np.empty((len(frames), *frames[0].size), dtype)
        padded = np.zeros(out.shape, bool) if any(kind.padding for kind in kinds) else None
    for path, group in groupby(enumerate(frames), lambda pair: pair[1].path):
        stored = _stored(path, frames[0].size)
        for place, frame in group:
            one = stored[frame.number]
            if padded is not None and frame.pixels.padding:
                low, high = frame.pixels.padding
                padded[place] = (one >= low) & (one <= high)
            rescale(_upright(one, frame), frame.scaling, out[place])
    if padded is not None:
        _lower_padding(out, padded)
    return out


def _stored(path: Path, size: tuple[int, int]) -> NDArray[np.generic]:
    """The decoded numbers of one file, [frame, row, column]."""
    frames = list(stored_frames(path))
    if frames[0].shape != size:
        raise ReadError("mixed-geometry", "frames of another size than the first file's")
    return np.stack(frames)


def _upright(stored: NDArray[np.generic], frame: Frame) -> NDArray[np.generic]:
    """The numbers with the highest one brightest."""
    if not frame.pixels.inverted:
        return stored
    bits = frame.pixels.bits
    total = -1 if frame.pixels.dtype.kind == "i" else 2**bits - 1
    return (total - stored.astype(np.int64)).astype(stored.dtype)


def _lower_padding(voxels: NDArray[Any], padded: NDArray[np.bool_]) -> None:
    """Give padding the value of the lowest pixel, where it lies well beyond all pixels.

    A padding value among the pixels' own (0 in a CT that holds water) is a wrong header, and left alone; so is one
    right below them (0 in an MR whose darkest pixel is 1), which is the background itself.
    """
    if not padded.any() or padded.all():
        return
    lowest, highest = float(voxels[~padded].min()), float(voxels[~padded].max())
    margin = BACKGROUND_MARGIN * (highest - lowest)
    outside = (voxels[padded] < lowest - margin) | (voxels[padded] > highest + margin)
    if outside.all():
        voxels[padded] = lowest
