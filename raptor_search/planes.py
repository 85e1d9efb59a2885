"""The three planes: which axis slices run along, how their images lie, which slices are taken.

Layout of the images, planes in this order:

    plane      slices run along   rows run                columns run
    axial      S                  anterior to posterior   patient right to left (radiological)
    coronal    A                  superior to inferior    patient right to left
    sagittal   R                  superior to inferior    anterior to posterior

With planes "stored" the three planes are the stored array's axes 0, 1 and 2, each slice as the array has it.
"""

from typing import NamedTuple

__all__ = ["PLANES", "Plane", "slice_indices"]


class Plane(NamedTuple):
    """Which array axis the slices run along, which are an image's rows and columns, and whether these are reversed."""

    name: str
    slices: int
    rows: int
    cols: int
    reverse: bool


PLANES = {
    "ras": (
        Plane("axial", 2, 1, 0, True),
        Plane("coronal", 1, 2, 0, True),
        Plane("sagittal", 0, 2, 1, True),
    ),
    "stored": (
        Plane("axis 0", 0, 1, 2, False),
        Plane("axis 1", 1, 0, 2, False),
        Plane("axis 2", 2, 0, 1, False),
    ),
}


def slice_indices(length: int, wanted: int) -> list[int]:
    """Indices of the slices taken out of `length`: the centres of `wanted` equal slabs; all where `wanted` is 0."""
    if wanted == 0 or wanted >= length:
        return list(range(length))
    return [(2 * i + 1) * length // (2 * wanted) for i in range(wanted)]
