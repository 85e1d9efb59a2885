"""Siemens mosaics: the slices of one volume as tiles of one image, told apart by Siemens' private CSA header.

Source: the layout of the CSA header and the place of the first tile as nibabel documents them
(https://nipy.org/nibabel/dicom/siemens_csa.html, dicom_mosaic.html).
"""

import struct
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from raptor_search.errors import ReadError

__all__ = ["Mosaic", "is_mosaic", "mosaic_of", "tiles"]

CSA_CREATOR = "SIEMENS CSA HEADER"
CSA_IMAGE_HEADER = 0x10
"""The element of Siemens' block in group 0029 that describes the image."""

CSA2_MAGIC = b"SV10\4\3\2\1"
TAG = struct.Struct("<64si4siii")
ITEM = struct.Struct("<iiii")
MAX_TAGS = 1000
MAX_ITEMS = 10_000
MAX_TILES = 1024

CONVERT = "convert the series with dcm2niix"


@dataclass(frozen=True)
class Mosaic:
    """How the tiles lie in the image and in space.

    Attributes:
        across: tiles in a row of the image.
        count: tiles that hold slices; the rest are empty.
        size: rows and columns of a tile.
        positions: LPS mm of each slice's first pixel.
        b_value: s/mm2, or None.
    """

    across: int
    count: int
    size: tuple[int, int]
    positions: Float[np.ndarray, "count 3"]
    b_value: float | None


def is_mosaic(header: Dataset) -> bool:
    """Whether ImageType says that the image is one."""
    image_type = header.get("ImageType") or []
    return "MOSAIC" in ([image_type] if isinstance(image_type, str) else list(image_type))


def mosaic_of(header: Dataset) -> Mosaic:
    """The layout of a mosaic, from its header alone.

    Raises:
        ReadError: a header that does not tell the tiles' number or direction.
    """
    csa = _csa(header)
    try:
        count = int(csa["NumberOfImagesInMosaic"][0])
        normal = np.array([float(text) for text in csa["SliceNormalVector"][:3]])
        rows, columns = int(header.Rows), int(header.Columns)
        across = int(np.ceil(np.sqrt(count)))
        position = np.array([float(x) for x in header.ImagePositionPatient])
        cosines = np.array([float(x) for x in header.ImageOrientationPatient]).reshape(2, 3)
        spacing = np.array([float(x) for x in header.PixelSpacing])
        step = float(header.get("SpacingBetweenSlices") or header.SliceThickness)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise _unknown("its private header does not tell how many slices there are, or how they lie") from error
    if not 1 <= count <= MAX_TILES or rows % across or columns % across:
        raise _unknown(f"{count} slices do not fill {rows}x{columns} pixels")
    if normal.shape != (3,) or position.shape != (3,) or spacing.shape != (2,):
        raise _unknown("its position is no point in space")
    size = rows // across, columns // across
    # ImagePositionPatient is where a single image of the mosaic's size would begin, about the same centre.
    first = (
        position + cosines[0] * spacing[1] * (columns - size[1]) / 2 + cosines[1] * spacing[0] * (rows - size[0]) / 2
    )
    b_values = csa.get("B_value") or [""]
    return Mosaic(across, count, size, first + np.arange(count)[:, None] * step * normal, _number(b_values[0]))


def tiles(image: NDArray[np.generic], mosaic_size: tuple[int, int]) -> NDArray[np.generic]:
    """The tiles of a mosaic, row by row.

    Args:
        image: [row, column].
        mosaic_size: rows and columns of a tile.
    """
    rows, columns = mosaic_size
    grid = image.reshape(image.shape[0] // rows, rows, image.shape[1] // columns, columns)
    return grid.swapaxes(1, 2).reshape(-1, rows, columns)


def _csa(header: Dataset) -> dict[str, list[str]]:
    """Siemens' CSA image header: the text of each tag's items."""
    try:
        content = bytes(header.private_block(0x0029, CSA_CREATOR)[CSA_IMAGE_HEADER].value)
    except (KeyError, TypeError) as error:
        raise _unknown("it has no private header of Siemens, perhaps since it was de-identified") from error
    if not content.startswith(CSA2_MAGIC):
        raise _unknown("its private header is of an old kind")
    try:
        return _parsed(content)
    except (struct.error, UnicodeDecodeError) as error:
        raise _unknown("its private header is damaged") from error


def _parsed(content: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    (count,) = struct.unpack_from("<I", content, 8)
    place = 16
    for _ in range(min(count, MAX_TAGS)):
        name, _, _, _, items, _ = TAG.unpack_from(content, place)
        place += TAG.size
        values = []
        for _ in range(min(items, MAX_ITEMS)):
            _, length, _, _ = ITEM.unpack_from(content, place)
            if length < 0:
                raise struct.error("a negative length")
            text = content[place + ITEM.size : place + ITEM.size + length]
            values.append(text.partition(b"\0")[0].decode("latin-1").strip())
            place += ITEM.size + length + -length % 4
        found[name.partition(b"\0")[0].decode("latin-1")] = [value for value in values if value]
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _unknown(why: str) -> ReadError:
    return ReadError("unsupported", f"a mosaic of slices in one image, and {why}: {CONVERT}")
