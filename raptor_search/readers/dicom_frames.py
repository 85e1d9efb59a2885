"""What a slice says about itself, from a file of one slice or from one frame of an enhanced file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from raptor_search.errors import ReadError
from raptor_search.readers.dicom_facts import Facts, facts_of
from raptor_search.readers.dicom_mosaic import is_mosaic, mosaic_of
from raptor_search.volume import MAX_VOXELS

__all__ = ["UNSCALED", "Frame", "PixelKind", "frames_of", "places_of"]

QUANTITATIVE = frozenset({"CT", "PT"})
"""Modalities whose numbers mean something whatever the display polarity."""

UNSCALED = (1.0, 0.0)
"""Slope and intercept that a file without them means."""


@dataclass(frozen=True)
class PixelKind:
    """How the stored numbers of a slice are to be understood.

    Attributes:
        dtype: of the stored numbers.
        bits: how many of their bits are used.
        unused: bits below the used ones (HighBit + 1 - BitsStored; 0 but in old files).
        inverted: whether the lowest number is the brightest (MONOCHROME1 of a modality without units).
        padding: lowest and highest number that stand for "no pixel here", or None.
    """

    dtype: np.dtype[np.generic]
    bits: int
    unused: int
    inverted: bool
    padding: tuple[int, int] | None


@dataclass(frozen=True)
class Frame:
    """One slice: where it lies, how it is scaled, where its pixels are.

    Attributes:
        path: the file.
        number: of the frame within the file, or of the tile within a mosaic.
        size: rows and columns.
        position: LPS mm of the first pixel's centre.
        cosines: directions of a row and of a column.
        spacing: mm between rows and between columns.
        scaling: rescale slope and intercept; None where the file says neither.
        pixels: how the numbers are to be understood.
        facts: what tells it from other images of its position; empty where it was not asked for.
        is_tile: whether it is a tile of a mosaic.
    """

    path: Path
    number: int
    size: tuple[int, int]
    position: tuple[float, ...]
    cosines: tuple[float, ...]
    spacing: tuple[float, ...]
    scaling: tuple[float, float] | None
    pixels: PixelKind
    facts: Facts = ()
    is_tile: bool = False


def frames_of(path: Path, header: Dataset, *, facts: bool = False) -> list[Frame]:
    """Every slice of one file, from its header alone.

    Args:
        path: of the file.
        header: of the file.
        facts: whether to read what tells images of one position apart.

    Raises:
        ReadError: colour, or frames without a place in space.
    """
    _refuse_unsupported(header)
    if is_mosaic(header):
        return _tiles_of(path, header, facts=facts)
    size = (_integer(header, "Rows"), _integer(header, "Columns"))
    count = int(header.get("NumberOfFrames") or 1)
    if count < 1:
        raise ReadError("unreadable", f"{count} frames in the header; expected at least 1")
    if size[0] * size[1] * count > MAX_VOXELS:
        raise ReadError("too-large", f"{count} frames of {size[0]}x{size[1]}; expected at most {MAX_VOXELS} voxels")
    kind = _pixel_kind(header)
    return [
        Frame(
            path=path,
            number=number,
            size=size,
            position=_numbers(places, "ImagePositionPatient", 3),
            cosines=_numbers(places, "ImageOrientationPatient", 6),
            spacing=_numbers(places, "PixelSpacing", 2),
            scaling=_scaling(places),
            pixels=kind,
            facts=facts_of(places) if facts else (),
        )
        for number, places in enumerate(places_of(header))
    ]


def places_of(header: Dataset) -> Iterator[list[Dataset]]:
    """For each frame the datasets that may describe it, the most specific first, the header last (PS3.3 C.7.6.16).

    Raises:
        ReadError: frames that nothing describes.
    """
    count = int(header.get("NumberOfFrames") or 1)
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    if per_frame is None:
        if count > 1:
            raise ReadError(
                "unsupported", "many frames in one file without positions; expected an enhanced multi-frame"
            )
        return iter([[header]])
    if len(per_frame) != count:
        raise ReadError("unreadable", f"{count} frames announced, {len(per_frame)} described")
    shared = [place for group in header.get("SharedFunctionalGroupsSequence") or [] for place in _described(group)]
    return ([*_described(frame), *shared, header] for frame in per_frame)


def _tiles_of(path: Path, header: Dataset, *, facts: bool) -> list[Frame]:
    """The slices of a Siemens mosaic."""
    mosaic = mosaic_of(header)
    kind, told = _pixel_kind(header), facts_of([header]) if facts else ()
    return [
        Frame(
            path=path,
            number=number,
            size=mosaic.size,
            position=tuple(position.tolist()),
            cosines=_numbers([header], "ImageOrientationPatient", 6),
            spacing=_numbers([header], "PixelSpacing", 2),
            scaling=_scaling([header]),
            pixels=kind,
            facts=told,
            is_tile=True,
        )
        for number, position in enumerate(mosaic.positions)
    ]


def _refuse_unsupported(header: Dataset) -> None:
    if "PhotometricInterpretation" not in header:
        raise ReadError("unreadable", "no PhotometricInterpretation in the header: it is cut short, or holds no image")
    if int(header.get("SamplesPerPixel") or 1) != 1 or str(header.get("PhotometricInterpretation", "")) not in {
        "MONOCHROME1",
        "MONOCHROME2",
    }:
        raise ReadError("unsupported", "colour images; expected grey ones (MONOCHROME1 or MONOCHROME2)")
    if header.get("ModalityLUTSequence"):
        raise ReadError("unsupported", "values scaled by a table; expected rescale slope and intercept")


def _described(group: Dataset, depth: int = 2) -> list[Dataset]:
    """The first item of each sequence of a functional group, and of the sequences within these."""
    items = [element.value[0] for element in group if element.VR == "SQ" and element.value]
    return items + [inner for item in items for inner in _described(item, depth - 1)] if depth > 1 else items


def _numbers(places: Sequence[Dataset], keyword: str, count: int) -> tuple[float, ...]:
    values = next((place.get(keyword) for place in places if place.get(keyword) is not None), None)
    try:
        numbers = tuple(float(value) for value in values or ())
    except (TypeError, ValueError) as error:
        raise ReadError("bad-geometry", f"{keyword} that holds no numbers") from error
    if len(numbers) != count:
        raise ReadError(
            "bad-geometry", f"images without {keyword}; expected {count} numbers: this is no volume in space"
        )
    return numbers


def _scaling(places: Sequence[Dataset]) -> tuple[float, float] | None:
    for place in places:
        if place.get("RescaleSlope") is not None:
            return float(place.RescaleSlope), float(place.get("RescaleIntercept") or 0)
    return None


def _pixel_kind(header: Dataset) -> PixelKind:
    allocated, signed = _integer(header, "BitsAllocated"), int(header.get("PixelRepresentation") or 0)
    if allocated not in {8, 16, 32}:
        raise ReadError("unsupported", f"{allocated} bits a pixel; expected 8, 16 or 32")
    dtype = np.dtype(f"{'i' if signed else 'u'}{allocated // 8}")
    bits = min(int(header.get("BitsStored") or allocated), allocated)
    high = header.get("HighBit")
    unused = 0 if high is None else int(high) + 1 - bits
    if not 0 <= unused <= allocated - bits:
        raise ReadError("unreadable", f"{bits} bits below bit {int(high) + 1} of {allocated}: that cannot be")
    return PixelKind(
        dtype=dtype,
        bits=bits,
        unused=unused,
        inverted=header.PhotometricInterpretation == "MONOCHROME1" and header.get("Modality") not in QUANTITATIVE,
        padding=_padding(header, dtype),
    )


def _padding(header: Dataset, dtype: np.dtype[np.generic]) -> tuple[int, int] | None:
    if header.get("PixelPaddingValue") is None:
        return None
    first = _as_stored(header.PixelPaddingValue, dtype)
    last = header.get("PixelPaddingRangeLimit")
    other = first if last is None else _as_stored(last, dtype)
    return min(first, other), max(first, other)


def _as_stored(value: object, dtype: np.dtype[np.generic]) -> int:
    """The number in the pixels' own type: scanners write -2000 as 63536 and the other way round."""
    bits = dtype.itemsize * 8
    unsigned: NDArray[np.generic] = np.array(int(str(value)) % 2**bits, f"u{dtype.itemsize}")
    return int(unsigned.view(dtype))


def _integer(header: Dataset, keyword: str) -> int:
    value = int(header.get(keyword) or 0)
    if value < 1:
        raise ReadError("unreadable", f"no {keyword} in the header: the file holds no image")
    return value
