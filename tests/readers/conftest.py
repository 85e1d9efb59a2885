"""Scans drawn by name and seed, and the means to damage them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from raptor_search.readers.writing import write_dicom_series

AFFINE = np.array([[1.5, 0, 0, -20.0], [0, 2.0, 0, -31.5], [0, 0, 2.5, 12.25], [0, 0, 0, 1]])
"""RAS+, three different spacings, an origin off every axis."""


def chest(seed: int = 0, shape: tuple[int, int, int] = (14, 12, 10)) -> NDArray[np.int16]:
    """HU of a body in air, without any symmetry, one bright spot of 3,000 near the patient's right, front and head."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    body = (grid**2).sum(axis=0) < 1
    voxels = np.where(body, rng.integers(-200, 300, shape), -1000).astype(np.int16)
    voxels[shape[0] - 3, shape[1] - 4, shape[2] - 2] = 3000
    return voxels


@pytest.fixture
def affine() -> NDArray[np.float64]:
    return AFFINE.copy()


@pytest.fixture
def voxels() -> NDArray[np.int16]:
    return chest()


@pytest.fixture
def draw() -> Callable[..., NDArray[np.int16]]:
    return chest


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    """A CT of ten slices in `tmp_path/ct`, files in spatial order (not in the order of their names)."""
    files = write_dicom_series(
        tmp_path / "ct", chest(), AFFINE, modality="CT", patient_id="PAT-SECRET-7", seed="a", sex="F", age=61
    )
    return sorted(files, key=lambda file: float(pydicom.dcmread(file).ImagePositionPatient[2]))


@pytest.fixture
def edit() -> Callable[..., None]:
    """Change attributes of a DICOM file in place; None deletes."""

    def change(file: Path, **attributes: object) -> None:
        dataset = pydicom.dcmread(file)
        for keyword, value in attributes.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        dataset.save_as(file)

    return change


@pytest.fixture
def mutants() -> Callable[[bytes, int], list[bytes]]:
    """Seeded damage: cut short, bytes replaced, bytes removed; half of it within the first 600 bytes."""

    def damage(content: bytes, count: int) -> list[bytes]:
        rng = np.random.default_rng(7)
        made = []
        for number in range(count):
            reach = min(len(content), 600) if number % 2 else len(content)
            place = int(rng.integers(0, reach))
            length = int(rng.integers(1, 32))
            match number % 3:
                case 0:
                    made.append(content[:place])
                case 1:
                    made.append(content[:place] + rng.bytes(length) + content[place + length :])
                case _:
                    made.append(content[:place] + content[place + length :])
        return made

    return damage
