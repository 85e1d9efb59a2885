"""A DICOM series to a volume: headers first, so that what cannot be a volume is refused before a pixel is read."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from raptor_search.errors import ReadError
from raptor_search.readers.dicom_decoding import stored_frames
from raptor_search.readers.dicom_files import parse_dicom, pydicom_failures
from raptor_search.readers.dicom_frames import UNSCALED, Frame, frames_of, places_of
from raptor_search.readers.dicom_geometry import Stack, doubles_message, stack_slices
from raptor_search.readers.dicom_metadata import identity_of, metadata_of
from raptor_search.readers.dicom_mosaic import mosaic_of, tiles
from raptor_search.readers.dicom_numbers import lower_padding, padding_of, upright, used_bits
from raptor_search.readers.dicom_stacks import Parted, part
from raptor_search.readers.geometry import Geometry
from raptor_search.readers.inflating import check_inflation
from raptor_search.readers.memory import empty, slab
from raptor_search.readers.orientation import backwards, to_volume
from raptor_search.readers.regridding import SHEAR_TOLERANCE_DEG, evened, unsheared
from raptor_search.readers.scaling import rescale, scaled_dtype
from raptor_search.readers.scan import Identity, Scan, ScanMetadata
from raptor_search.readers.source import StackPlace
from raptor_search.volume import check_shape

__all__ = ["read_dicom"]


def read_dicom(files: Sequence[Path], stack: StackPlace | None = None) -> Scan:
    """The scan of one series, or of one stack of it: a slice a file, enhanced multi-frame files, or a mosaic.

    Slices are sorted by position along their normal; values are rescaled slice by slice (HU for CT); padding takes the
    value of the lowest pixel. Uneven gaps and a tilt are mended within the tolerances of `dicom_geometry` and
    `regridding`, and noted in the geometry record.

    Args:
        files: of the series; of the stack alone where its files hold nothing else.
        stack: which volume of the series, as discovery parted it; None takes all images as one.

    Raises:
        ReadError: a damaged file, a gap, doubled slices, or slices that make no single volume.
    """
    frames, header = _headers(files) if stack is None else _of_stack(files, stack)
    metadata, identity = _kept(header, next((f for f in frames if f.path == files[0]), frames[0]), stack)
    sizes = {frame.size for frame in frames}
    if len(sizes) > 1:
        listed = " and ".join(sorted(f"{rows}x{columns}" for rows, columns in sizes))
        raise ReadError("mixed-geometry", f"slices of {listed} pixels; expected one size")
    rows, columns = frames[0].size
    check_shape((columns, rows, len(frames)))
    inflated = rows * columns * len(frames) * max(frame.pixels.dtype.itemsize for frame in frames)
    with pydicom_failures("files"):
        check_inflation(inflated, sum(file.stat().st_size for file in files))
    lie = stack_slices(
        np.array([frame.position for frame in frames]),
        np.array([frame.cosines for frame in frames]),
        np.array([frame.spacing for frame in frames]),
    )
    check_shape((columns, rows, len(lie.order)))
    # Turned as they are read, slices cost one pass over the memory less; those that are mended are turned at the end.
    turned = None if lie.fractions is not None or _is_sheared(lie) else backwards(lie.affine)
    voxels, affine, geometry = _on_grid(_stacked(frames, lie, turned or ()), lie)
    volume = to_volume(voxels.transpose(2, 1, 0), affine, kind="dicom", turned=turned is not None)
    return Scan(volume, metadata, identity, geometry=geometry)


def _headers(files: Sequence[Path], *, facts: bool = False) -> tuple[list[Frame], Dataset]:
    """Every slice of the files, and the header of the first file."""
    frames: list[Frame] = []
    for file in files:
        header = parse_dicom(file, pixels=False)
        with pydicom_failures("header"):
            frames += frames_of(file, header, facts=facts)
        if file == files[0]:
            first = header
    return frames, first


def _kept(header: Dataset, frame: Frame, stack: StackPlace | None) -> tuple[ScanMetadata, Identity]:
    """What may be kept, of one frame and the header of its file."""
    with pydicom_failures("header"):
        if frame.is_tile:
            metadata = metadata_of(header, b_value=mosaic_of(header).b_value)
        else:
            metadata = metadata_of(header, next(islice(places_of(header), frame.number, None)))
        identity = identity_of(header)
    if stack is not None:
        metadata = dataclasses.replace(metadata, stack=stack.number, stacks=stack.count, stack_by=stack.by, t=stack.t)
    return metadata, identity


def _of_stack(files: Sequence[Path], stack: StackPlace) -> tuple[list[Frame], Dataset]:
    """The slices of one stack, parted as discovery parted them, and the header of the first file."""
    with pydicom_failures("files"):
        changed = tuple(file.stat().st_mtime_ns for file in files)
    frames, header, parted = _parted(tuple(files), changed)
    chosen = parted if len(parted) == 1 else [one for one in parted if one.place and one.place.name == stack.name]
    if not chosen:
        raise ReadError("mixed-geometry", f"the series has no stack {stack.name!r} any more; index its folder again")
    return [frames[index] for index in chosen[0].members], header


@lru_cache(maxsize=1)
def _parted(files: tuple[Path, ...], changed: tuple[int, ...]) -> tuple[list[Frame], Dataset, list[Parted]]:
    """The stacks of a series; the last one is remembered, since an enhanced file of a hundred of them is read as often.

    Args:
        files: of the series.
        changed: when each of them was, by which a file that was written anew is known.
    """
    frames, header = _headers(files, facts=True)
    return frames, header, part(frames)[0]


def _on_grid(voxels: NDArray[np.generic], lie: Stack) -> tuple[NDArray[np.generic], Float[np.ndarray, "4 4"], Geometry]:
    """Voxels [slice, row, column] on a regular, upright grid, its affine, and the record of what was done."""
    geometry, affine = lie.geometry, lie.affine
    if lie.fractions is not None:
        voxels = evened(voxels, lie.fractions)
    if _is_sheared(lie):
        voxels, affine = unsheared(voxels, affine)
        geometry = dataclasses.replace(geometry, sheared=True)
    return voxels, affine, geometry


def _is_sheared(lie: Stack) -> bool:
    return lie.geometry.tilt_deg is not None and lie.geometry.tilt_deg > SHEAR_TOLERANCE_DEG


def _stacked(frames: Sequence[Frame], lie: Stack, turned: tuple[int, ...]) -> NDArray[np.generic]:
    """Real-world values [slice, row, column] in spatial order; images that repeat another are compared with it.

    Args:
        frames: of the stack.
        lie: where they lie.
        turned: axes to reverse, counted as columns, rows, slices.
    """
    order = [int(index) for index in lie.order]
    laid = order[::-1] if 2 in turned else order
    twins = [double for _, double in lie.doubles]
    axes = tuple(axis for axis in (0, 1) if 1 - axis in turned)
    voxels = _pixels([frames[index] for index in (*laid, *twins)], axes)
    place = {index: number for number, index in enumerate(laid)}
    for number, (kept, _) in enumerate(lie.doubles):
        if not np.array_equal(voxels[len(order) + number], voxels[place[kept]]):
            images = len(order) + len(twins)
            raise ReadError("duplicate-slice", doubles_message(images, len(order), order.index(kept) + 1))
    return voxels[: len(order)]


def _pixels(frames: Sequence[Frame], turned: tuple[int, ...]) -> NDArray[np.generic]:
    """Real-world values [slice, row, column] of frames in their order, `turned` axes of each image reversed."""
    bare = sum(frame.scaling is None for frame in frames)
    if 0 < bare < len(frames):
        raise ReadError("unreadable", f"{bare} of {len(frames)} images without a rescale slope that the others have")
    kinds = {frame.pixels for frame in frames}
    scalings = {frame.scaling or UNSCALED for frame in frames}
    dtype = np.result_type(*(scaled_dtype(kind.dtype, kind.bits, scalings) for kind in kinds))
    with pydicom_failures("pixel data"):
        out = empty((len(frames), *frames[0].size), dtype)
        padded = np.zeros(out.shape, bool) if any(kind.padding for kind in kinds) else None
    by_path: defaultdict[Path, dict[int, int]] = defaultdict(dict)
    for place, frame in enumerate(frames):
        by_path[frame.path][frame.number] = place
    for path, places in by_path.items():
        for number, one in _stored(path, frames[next(iter(places.values()))]):
            if (place := places.pop(number, -1)) >= 0:
                frame = frames[place]
                if one.shape != frame.size:
                    raise ReadError("unreadable", "an image of another size than its header says")
                padding = None if padded is None else padding_of(one, frame.pixels)
                if padded is not None and padding is not None:
                    padded[place] = np.flip(padding, turned)
                one = upright(used_bits(one, frame.pixels, padding), frame.pixels)  # noqa: PLW2901
                with slab(out, place) as target:
                    rescale(np.flip(one, turned), frame.scaling or UNSCALED, target)
        if places:
            raise ReadError("unreadable", f"{len(places)} of the frames that the header announces are not there")
    if padded is not None:
        lower_padding(out, padded)
    return out


def _stored(path: Path, frame: Frame) -> Iterator[tuple[int, NDArray[np.generic]]]:
    """Number and stored pixels of each frame of one file, or of each tile of a mosaic."""
    images = stored_frames(path)
    return enumerate(tiles(next(images), frame.size) if frame.is_tile else images)
