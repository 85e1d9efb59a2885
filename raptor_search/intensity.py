"""From voxel values to [0, 1]: which window a scan gets, decided by its voxels alone.

The rule depends on nothing but the voxels, so one scan gets one rule whether it was read from DICOM or NIfTI,
and a scanner's header cannot change a vector.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import DTypeLike

from raptor_search.errors import SpecError
from raptor_search.volume import Format

__all__ = ["IntensityRule", "choose_rule", "normalise", "published_rule"]

HU_WINDOW = (-1000.0, 1000.0)
"""Air to dense bone, in Hounsfield units."""

HU_AIR = -500.0
"""A scan whose darkest hundredth lies below this holds air measured in HU."""

HU_TISSUE = (-1100.0, 2000.0)
"""Where at least half of a CT lies; a phase image, as negative as a CT, spreads evenly over thousands."""

PERCENTILES = (0.5, 99.5)

BYTE_BRIGHT = 200
"""Whole numbers from 0 to 255 that reach this far were already windowed to a byte, as MedMNIST's are."""

MAX_SAMPLE = 2**21
"""Voxels that the percentiles are taken from, at most: a regular grid over the scan."""


@dataclass(frozen=True)
class IntensityRule:
    """A window: `low` maps to 0, `high` to 1.

    Attributes:
        name: "hu", "percentile", "unit8", "published-npz" or "published-nifti".
        low: in the voxels' own unit.
        high: above `low`.
    """

    name: str
    low: float
    high: float


def choose_rule(voxels: Shaped[np.ndarray, "r a s"]) -> IntensityRule:
    """The window of a scan, from its voxels alone.

    - "hu": values that look like a CT's in HU (a hundredth below -500, half between -1100 and 2000): [-1000, 1000].
    - "unit8": whole numbers from 0 to 255 that use the range: [0, 255].
    - "percentile": anything else: the 0.5th to the 99.5th percentile, or the whole range where these coincide.

    The dtype does not matter: a scan kept as int16 and as float64 gets the same rule.
    """
    sample = _sample(voxels)
    if np.percentile(sample, 1) <= HU_AIR:
        in_tissue = np.count_nonzero((sample >= HU_TISSUE[0]) & (sample <= HU_TISSUE[1]))
        if 2 * in_tissue >= sample.size:
            return IntensityRule("hu", *HU_WINDOW)
    least, most = float(voxels.min()), float(voxels.max())
    if least >= 0 and BYTE_BRIGHT <= most <= 255 and np.array_equal(sample, np.rint(sample)):
        return IntensityRule("unit8", 0.0, 255.0)
    low, high = (float(value) for value in np.percentile(sample, PERCENTILES))
    # A small bright object in air lies wholly above the percentiles.
    return IntensityRule("percentile", low, high) if low < high else IntensityRule("percentile", least, most)


def published_rule(fmt: Format) -> IntensityRule:
    """The window of the published script, by kind of file.

    Source: raptor's embedding script at commit d76ffad: npz arrays / 256, UK Biobank NIfTI clip [0, 1280] / 1280.

    Raises:
        SpecError: for DICOM and NRRD, where the script has no rule.
    """
    if fmt == "npz":
        return IntensityRule("published-npz", 0.0, 256.0)
    if fmt == "nifti":
        return IntensityRule("published-nifti", 0.0, 1280.0)
    raise SpecError(
        f"the published script has no intensity rule for {fmt}; expected nifti or npz: "
        "choose `--preset full` or `--preset default`"
    )


def normalise(
    voxels: Shaped[np.ndarray, "*shape"], rule: IntensityRule, *, dtype: DTypeLike = np.float32
) -> Float[np.ndarray, "*shape"]:
    """The voxels through the window, clipped to [0, 1], as a new array.

    The arithmetic is in float64 slab by slab, so that it depends neither on the input's dtype nor needs a
    float64 copy of a large scan.
    """
    out: np.ndarray[Any, np.dtype[Any]] = np.empty(voxels.shape, dtype)
    for slab, target in zip(voxels, out, strict=True):
        window = np.clip(slab.astype(np.float64), rule.low, rule.high)
        window -= rule.low
        window /= rule.high - rule.low
        target[...] = window
    return out


def _sample(voxels: Shaped[np.ndarray, "r a s"]) -> Float[np.ndarray, " n"]:
    step = 1
    while np.prod([-(-side // step) for side in voxels.shape]) > MAX_SAMPLE:
        step += 1
    return voxels[::step, ::step, ::step].astype(np.float64).ravel()
