"""Input of the embedding benchmark: real volumes resampled to 256^3 files, or drawn ones where none is installed."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raptor_search.resampling import axis_weights
from raptor_search.volume import Volume

__all__ = ["SIDE", "read", "write_files"]

SIDE = 256
LABEL = "input.txt"
"""Says beside the files what they are."""

TOP = 4000
"""What floating values are scaled to, as int16 files are written."""


def write_files(folder: Path, number: int) -> tuple[list[Path], str]:
    """Up to `number` files of 256^3 int16 voxels, and what they are; those in the folder already, if there are any."""
    folder.mkdir(parents=True, exist_ok=True)
    label = folder / LABEL
    kept = sorted(path for path in folder.iterdir() if path.name.endswith((".npy", ".nii.gz")))[:number]
    if kept:
        return kept, f"{len(kept)} of {label.read_text() if label.is_file() else 'the volumes given'}"
    found = list(_installed(number))
    what = f"{len(found)} real volumes resampled to {SIDE}^3 (derived)"
    if not found:
        found = [(f"drawn-{seed}", _drawn(seed)) for seed in range(number)]
        what = f"{number} DRAWN volumes of {SIDE}^3 (the packages with real ones are not installed)"
    label.write_text(what)
    return [_written(folder / name, voxels) for name, voxels in found], what


def read(path: Path) -> Volume:
    """A volume of `write_files`, its stored axes taken as RAS+."""
    if path.suffix == ".npy":
        voxels = np.load(path)
    else:
        import nibabel
        from nibabel.spatialimages import SpatialImage

        image = nibabel.load(path)
        assert isinstance(image, SpatialImage), "a .nii.gz file"
        voxels = np.asarray(image.dataobj)
    return Volume(voxels=voxels, affine=np.diag([0.9, 0.9, 0.9, 1.0]))


def _installed(number: int) -> Iterator[tuple[str, NDArray[np.int16]]]:
    """The demo's volumes, of which those on a body part or modality of their own come first."""
    if not all(find_spec(name) for name in ("nibabel", "pydicom", "nilearn")):
        return
    from indexer.demo.sources import SOURCES, load

    first = ("icbm-nonlinear-t1", "slicer-chest-ct", "pydeface-mean-t1")
    for source in sorted(SOURCES, key=lambda s: first.index(s.name) if s.name in first else len(first))[:number]:
        voxels = load(source).voxels
        weights = [axis_weights(n, SIDE) for n in voxels.shape]
        cube = np.einsum("ri,aj,sk,ijk->ras", *weights, voxels.astype(np.float64), optimize=True)
        scale = TOP / np.abs(cube).max() if voxels.dtype.kind == "f" else 1.0
        yield source.name, np.rint(cube * scale).astype(np.int16)


def _drawn(seed: int) -> NDArray[np.int16]:
    """Smooth noise in a ball, zero outside."""
    noise = np.random.default_rng(seed).normal(size=(SIDE // 8 + 1,) * 3)
    weights = axis_weights(SIDE // 8 + 1, SIDE)
    smooth = np.einsum("ri,aj,sk,ijk->ras", weights, weights, weights, noise, optimize=True)
    at = np.linspace(-1.1, 1.1, SIDE) ** 2
    inside = at[:, None, None] + at[:, None] + at < 1
    ball: NDArray[np.int16] = (inside * 1000 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.int16)
    return ball


def _written(path: Path, voxels: NDArray[np.int16]) -> Path:
    if find_spec("nibabel") is None:
        file = path.with_suffix(".npy")
        np.save(file, voxels)
        return file
    import nibabel

    file = path.with_suffix(".nii.gz")
    nibabel.Nifti1Image(voxels, np.diag([0.9, 0.9, 0.9, 1.0])).to_filename(file)
    return file
