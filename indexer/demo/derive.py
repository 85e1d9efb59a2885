"""Derived scans: one real volume, moved, bent, shaded and made noisy, so that a cohort can be simulated.

No package carries many people's scans. A derived scan stands for another visit of the same subject
on another day; it supports the demo and regression tests, never a claim of accuracy.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int16
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from raptor_search.volume import Volume

__all__ = ["SIDE", "Grid", "antialias", "derive", "grid_of", "smooth_field"]

SIDE = 96
"""Voxels along a derived scan's longest side; shifts and displacements are in voxels of this grid."""

ROTATION_DEGREES = 10.0
SCALE = 0.08
SHIFT_VOXELS = 4.0
ELASTIC_VOXELS = 3.0
"""Root-mean-square length of the elastic displacement."""
ELASTIC_KNOTS = 6
"""Control points an axis: bends of about a sixth of the field of view."""

BIAS_LOG = 0.15
"""Standard deviation of the log of the coil shading: about 0.7 to 1.4 from end to end."""
BIAS_KNOTS = 3
GAMMA_LOG = 0.25
"""Contrast exponents run from exp(-0.25) to exp(0.25): 0.78 to 1.28."""
NOISE_SHARE = (0.01, 0.03)
"""Noise as a share of the bright (99.5th percentile) intensity."""
BRIGHT_UNITS = (200.0, 600.0)
"""What that intensity becomes in the file: MR, PET and SPECT have no absolute scale."""

HU_NOISE = (10.0, 30.0)
HU_RANGE = (-1024.0, 3071.0)

KNOT_WIDTH = 0.7
"""Reach of a control point in knot spacings: fields vary smoothly and have no dips between knots."""


@dataclass(frozen=True)
class Grid:
    """The isotropic grid that a source's derived scans are sampled on.

    Attributes:
        shape: voxels along R, A, S; the longest is `SIDE`.
        spacing: voxel size in mm.
    """

    shape: tuple[int, int, int]
    spacing: float


def grid_of(volume: Volume) -> Grid:
    """The grid that covers the volume's field of view with `SIDE` isotropic voxels along its longest side."""
    extents = [n * mm for n, mm in zip(volume.voxels.shape, volume.spacing, strict=True)]
    spacing = max(extents) / SIDE
    r, a, s = (max(4, round(extent / spacing)) for extent in extents)
    return Grid((r, a, s), spacing)


def antialias(volume: Volume) -> Volume:
    """The volume in float32, blurred along the axes that the derived grid samples more coarsely.

    Done once a source; the Gaussian's width brings a voxel's response to that of the coarser grid.
    """
    spacing = grid_of(volume).spacing
    factors = [spacing / mm for mm in volume.spacing]
    sigmas = [0.5 * np.sqrt(max(factor**2 - 1, 0)) for factor in factors]
    blurred = gaussian_filter(volume.voxels.astype(np.float32), sigmas, truncate=3.0)
    return Volume(voxels=blurred, affine=volume.affine, format=volume.format, oriented=volume.oriented)


def derive(volume: Volume, rng: np.random.Generator, *, modality: str) -> Volume:
    """Another scan of the same subject: other pose and shape, other shading, contrast and noise.

    Rotation within 10 degrees about each axis, scale within 8 %, shift within 4 voxels along each, elastic
    displacement of 3 voxels (root mean square), in one linear resampling; then a bias field, gamma and noise. CT
    keeps its Hounsfield units: it gets noise alone.

    Args:
        volume: a source as `antialias` returns it.
        rng: the only source of chance; one state gives one scan.
        modality: DICOM code; "CT" is treated as calibrated.

    Returns:
        An int16 volume on `grid_of(volume)`, centred where the source is, axes along R, A, S.
    """
    grid = grid_of(volume)
    indices = _source_indices(volume, grid, rng)
    fill = float(volume.voxels.min())
    moved = map_coordinates(volume.voxels, indices, output=np.float32, order=1, mode="constant", cval=fill)
    voxels = _as_ct(moved, rng) if modality == "CT" else _as_uncalibrated(moved - fill, rng)
    return Volume(voxels=voxels, affine=_affine(volume, grid), format="nifti")


def smooth_field(shape: tuple[int, int, int], knots: int, rng: np.random.Generator) -> Float32[np.ndarray, "r a s"]:
    """A smooth random field of mean 0 and mean square 1: Gaussian bumps of random height at knots^3 points."""
    heights = rng.standard_normal((knots, knots, knots))
    blends = [_blend(n, knots) for n in shape]
    field = np.einsum("abc,ra,ib,sc->ris", heights, *blends, optimize=True)
    field -= field.mean()
    unit: NDArray[np.float32] = (field / np.sqrt(np.mean(field**2))).astype(np.float32)
    return unit


def _blend(length: int, knots: int) -> Float[np.ndarray, "length knots"]:
    at = np.linspace(0, knots - 1, length)
    blend: NDArray[np.float64] = np.exp(-0.5 * ((at[:, None] - np.arange(knots)) / KNOT_WIDTH) ** 2)
    return blend


def _source_indices(volume: Volume, grid: Grid, rng: np.random.Generator) -> Float32[np.ndarray, "3 r a s"]:
    """Where each voxel of the grid is read from, in voxel indices of the source."""
    turn = Rotation.from_euler("xyz", rng.uniform(-ROTATION_DEGREES, ROTATION_DEGREES, 3), degrees=True).as_matrix()
    linear = turn * (1 + rng.uniform(-SCALE, SCALE))
    shift = rng.uniform(-SHIFT_VOXELS, SHIFT_VOXELS, 3)
    points = np.indices(grid.shape, dtype=np.float32)
    points -= ((np.array(grid.shape) - 1) / 2).astype(np.float32)[:, None, None, None]
    # Three components of mean square 1 make a vector of mean square 3.
    amplitude = np.float32(ELASTIC_VOXELS / np.sqrt(3))
    points += amplitude * np.stack([smooth_field(grid.shape, ELASTIC_KNOTS, rng) for _ in range(3)])
    to_index = np.diag(grid.spacing / np.array(volume.spacing))
    offset = (np.array(volume.voxels.shape) - 1) / 2 + to_index @ shift
    moved = np.tensordot((to_index @ linear).astype(np.float32), points, axes=1)
    return moved + offset.astype(np.float32)[:, None, None, None]


def _as_ct(hounsfield: Float32[np.ndarray, "r a s"], rng: np.random.Generator) -> Int16[np.ndarray, "r a s"]:
    noise = rng.standard_normal(hounsfield.shape, dtype=np.float32) * np.float32(rng.uniform(*HU_NOISE))
    return _int16(np.clip(hounsfield + noise, *HU_RANGE))


def _as_uncalibrated(signal: Float32[np.ndarray, "r a s"], rng: np.random.Generator) -> Int16[np.ndarray, "r a s"]:
    """Shading, gamma and the noise of a magnitude image (Rician: never below 0), in arbitrary units."""
    bright = np.percentile(signal, 99.5)
    shaded = signal / bright * np.exp(BIAS_LOG * smooth_field(signal.shape, BIAS_KNOTS, rng))
    curved = shaded ** np.float32(np.exp(rng.uniform(-GAMMA_LOG, GAMMA_LOG)))
    sigma = np.float32(rng.uniform(*NOISE_SHARE))
    real, imaginary = (sigma * rng.standard_normal(signal.shape, dtype=np.float32) for _ in range(2))
    magnitude = np.hypot(curved + real, imaginary) * np.float32(rng.uniform(*BRIGHT_UNITS))
    return _int16(np.minimum(magnitude, np.iinfo(np.int16).max))


def _int16(values: Float32[np.ndarray, "r a s"]) -> Int16[np.ndarray, "r a s"]:
    rounded: NDArray[np.int16] = np.rint(values).astype(np.int16)
    return rounded


def _affine(volume: Volume, grid: Grid) -> Float[np.ndarray, "4 4"]:
    """Isotropic, axis-aligned, with the source's centre at the grid's centre."""
    middle = volume.affine[:3, :3] @ ((np.array(volume.voxels.shape) - 1) / 2) + volume.affine[:3, 3]
    affine = np.diag([grid.spacing, grid.spacing, grid.spacing, 1.0])
    affine[:3, 3] = middle - grid.spacing * (np.array(grid.shape) - 1) / 2
    return affine
