"""Small scans for the indexer's tests: seeded blobs, written as real files."""

from pathlib import Path

import numpy as np
from pydicom import dcmread
from scipy.ndimage import gaussian_filter

from raptor_search.readers.writing import write_dicom_series, write_nifti

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def blob(seed: int, shape: tuple[int, int, int] = (20, 24, 18)) -> np.ndarray:
    """Smooth noise in a bright ellipsoid, as int16 RAS voxels."""
    noise = np.random.default_rng(seed).normal(size=shape)
    centre = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    inside = (centre**2).sum(axis=0) < 0.8
    return (gaussian_filter(noise, 2) * 2000 * inside + 500 * inside).astype(np.int16)


def write_scan(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, blob(seed), AFFINE)
    return path


def written_series(folder: Path, *, seed: str) -> list[Path]:
    """An axial CT series of 18 slices, 2 mm apart; its files in order of position."""
    paths = write_dicom_series(folder, blob(5), AFFINE, modality="CT", patient_id="P1", seed=seed)
    return sorted(paths, key=lambda path: dcmread(path, stop_before_pixels=True).ImagePositionPatient[2])
