"""Slices: layout of the planes, aspect in mm, the cube against an oracle, constant slices, the published pixel path."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch.nn.functional import interpolate

from raptor_search.intensity import IntensityRule, choose_rule, normalise
from raptor_search.slicing import slice_chunks, slice_counts
from raptor_search.specs import PRESETS, Recipe
from raptor_search.volume import Volume
from tests.phantoms import smooth, volume

CPU = torch.device("cpu")
UNIT = IntensityRule("percentile", 0.0, 1.0)
FULL = PRESETS["full"]
OFFICIAL = PRESETS["official"]


def stacks(scan: Volume, recipe: Recipe, rule: IntensityRule | None = None) -> list[np.ndarray]:
    """The slices of each plane, in their order."""
    planes: list[list[np.ndarray]] = [[], [], []]
    for number, images in slice_chunks(scan, rule or choose_rule(scan.voxels), recipe, CPU):
        assert images.shape[1:] == (224, 224)
        assert images.dtype == torch.float32
        planes[number] += list(images.numpy())
    return [np.array(images) for images in planes]


def corner(axis: int, side: int) -> Volume:
    """A bright half at one end of one axis: `side` 1 is its far (positive) end."""
    voxels = np.zeros((12, 12, 12), np.float32)
    half = [slice(None)] * 3
    half[axis] = slice(6, 12) if side > 0 else slice(0, 6)
    voxels[tuple(half)] = 1
    return Volume(voxels=voxels, affine=np.eye(4))


@pytest.mark.parametrize(
    ("axis", "plane", "bright"),
    [
        (0, 0, np.s_[:, :112]),  # patient right: left of an axial image
        (0, 1, np.s_[:, :112]),  # and of a coronal one
        (1, 0, np.s_[:112]),  # anterior: top of an axial image
        (1, 2, np.s_[:, :112]),  # and left of a sagittal one
        (2, 1, np.s_[:112]),  # superior: top of a coronal image
        (2, 2, np.s_[:112]),  # and of a sagittal one
    ],
)
def test_images_lie_as_documented(axis: int, plane: int, bright: tuple[slice, ...]) -> None:
    mean = stacks(corner(axis, 1), FULL, UNIT)[plane].mean(axis=0)
    assert mean[bright].mean() > 0.95
    assert mean.mean() == pytest.approx(0.5, abs=0.01)


def test_fit_keeps_the_aspect_in_mm_and_pads_with_black() -> None:
    scan = Volume(voxels=1 + smooth(0, (20, 20, 10)), affine=np.diag([1, 2, 1, 1.0]))  # 20 x 40 x 10 mm
    axial, coronal, sagittal = stacks(scan, FULL, IntensityRule("percentile", 0, 1))
    seen = axial.max(axis=0) > 0
    assert seen.any(axis=1).sum() == 224  # 40 mm of A fill the rows
    assert seen.any(axis=0).sum() == 112  # 20 mm of R half the columns
    assert (sagittal.max(axis=0) > 0).any(axis=1).sum() == 56
    assert [len(plane) for plane in (axial, coronal, sagittal)] == [224, 224, 224]
    assert (axial.max(axis=(1, 2)) > 0).sum() == 56


def test_stretch_fills_the_image_whatever_the_spacing() -> None:
    scan = Volume(voxels=1 + smooth(0, (20, 20, 10)), affine=np.diag([1, 2, 1, 1.0]))
    recipe = dataclasses.replace(FULL, resample="stretch")
    for plane in stacks(scan, recipe, IntensityRule("percentile", 0, 1)):
        assert plane.min() > 0.99


def test_an_enlarged_cube_equals_linear_interpolation_in_mm() -> None:
    scan = volume(3)
    values = normalise(scan.voxels, choose_rule(scan.voxels))
    extents = np.array(values.shape) * scan.spacing
    mm = (np.arange(224) + 0.5 - 112) * extents.max() / 224
    for number, axis in enumerate((2, 1, 0)):
        got = stacks(scan, dataclasses.replace(FULL, slices_per_plane=4))[number]
        taken = [mm, mm, mm]
        taken[axis] = mm[28::56]
        grid = [at / s + n / 2 - 0.5 for at, s, n in zip(taken, scan.spacing, values.shape, strict=True)]
        cube = map_coordinates(values, np.meshgrid(*grid, indexing="ij"), order=1, mode="nearest")
        for other, (at, extent) in enumerate(zip(taken, extents, strict=True)):
            cube[(slice(None),) * other + (np.abs(at) > extent / 2,)] = 0
        want = np.moveaxis(cube, axis, 0).transpose(0, 2, 1)[:, ::-1, ::-1]
        assert (want.max(axis=(1, 2)) > 0).sum() >= 2
        assert np.abs(got - want).max() < 1e-5


def test_shrinking_averages_instead_of_skipping() -> None:
    checkers = (np.indices((448, 8, 8)).sum(axis=0) % 2).astype(np.float32)
    recipe = dataclasses.replace(FULL, resample="stretch", slices_per_plane=4)
    sagittal = stacks(Volume(voxels=checkers, affine=np.eye(4)), recipe, UNIT)[2]
    assert sagittal == pytest.approx(0.5, abs=1e-6)


def test_the_default_takes_every_seventh_slice_of_full() -> None:
    scan = volume(1)
    full, default = stacks(scan, FULL), stacks(scan, PRESETS["default"])
    for some, all_of_them in zip(default, full, strict=True):
        assert len(some) == 32
        assert np.abs(some - all_of_them[3::7]).max() < 1e-6


def test_a_cube_of_256_is_shrunk_to_the_encoders_224() -> None:
    scan = volume(2, (30, 30, 30), (1, 1, 1))
    got = stacks(scan, dataclasses.replace(PRESETS["paper"], slices_per_plane=8))
    values = torch.from_numpy(normalise(scan.voxels, choose_rule(scan.voxels)))
    place = (112 + 0.5) * 30 / 256 - 0.5  # slice 112 of 256, in voxels: between the 12th and the 13th
    image = (13 - place) * values[12] + (place - 12) * values[13]
    large = interpolate(image[None, None], (256, 256), mode="bilinear", antialias=True)
    small = interpolate(large, (224, 224), mode="bilinear", antialias=True)[0, 0].numpy()
    assert np.abs(got[2][3] - small.T[::-1, ::-1]).max() < 1e-5


@pytest.mark.parametrize("preset", list(PRESETS))
def test_counts_are_known_beforehand(preset: str) -> None:
    scan = volume(0, (12, 14, 10))
    recipe = dataclasses.replace(PRESETS[preset], slices_per_plane=PRESETS[preset].slices_per_plane and 5)
    assert tuple(len(plane) for plane in stacks(scan, recipe, UNIT)) == slice_counts(scan, recipe)


def test_stored_planes_are_the_files_axes_and_ras_planes_are_not() -> None:
    """The same scan written RAS+ and written LPS with its axes permuted."""
    ras = volume(4, (12, 14, 10), (2, 1, 3))
    lps = dataclasses.replace(ras, stored_axes=((1, -1), (0, -1), (2, 1)))
    assert lps.stored.shape == (14, 12, 10)
    for mine, theirs in zip(stacks(lps, FULL), stacks(ras, FULL), strict=True):
        assert np.array_equal(mine, theirs)
    as_file = Volume(voxels=np.ascontiguousarray(lps.stored), affine=np.diag([1, 2, 3, 1.0]))
    for recipe in (OFFICIAL, dataclasses.replace(FULL, planes="stored", slices_per_plane=9)):
        for mine, file in zip(stacks(lps, recipe), stacks(as_file, recipe), strict=True):
            assert np.array_equal(mine, file)
    assert not np.array_equal(stacks(lps, OFFICIAL)[2], stacks(ras, OFFICIAL)[2])


def test_the_published_path_wraps_saturated_voxels_to_black() -> None:
    voxels = np.full((8, 8, 8), 642, np.int16)
    voxels[:, :, 4:] = 2000
    rule = IntensityRule("published-nifti", 0.0, 1280.0)
    image = stacks(Volume(voxels=voxels, affine=np.eye(4)), OFFICIAL, rule)[0][0]
    assert image[:, :30] == pytest.approx(128 / 255)
    assert image[:, 132:148].max() < 0.1  # the overshoot beside the edge passes 1.0 and wraps


def test_the_published_path_equals_its_steps_done_in_order() -> None:
    scan = Volume(voxels=smooth(5, (10, 12, 11), top=1500), affine=np.eye(4))
    got = stacks(scan, OFFICIAL, IntensityRule("published-nifti", 0.0, 1280.0))
    for axis in range(3):
        for index in range(scan.voxels.shape[axis]):
            image = torch.from_numpy(np.clip(scan.voxels.take(index, axis) / 1280, 0, 1))
            small = interpolate(image[None, None], (224, 224), mode="bicubic", align_corners=False)
            grey = torch.from_numpy((small.numpy() * 256).astype(np.int32).astype(np.uint8)).expand(1, 3, -1, -1)
            large = interpolate(grey.contiguous(), (256, 256), mode="bicubic", antialias=True)[0, 1, 16:240, 16:240]
            assert np.abs(got[axis][index] - large.numpy() / 255).max() < 1e-6


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((20, 26, 22), (1, 1, 5000)), ((100, 100, 4), (5, 5, 0.5))],  # the second: 2 mm of a field of view of 500 mm
)
def test_an_axis_thinner_than_a_cell_does_not_make_all_scans_black(
    shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    one, other = (
        stacks(Volume(voxels=smooth(seed, shape), affine=np.diag([*spacing, 1.0])), FULL, IntensityRule("ct", 0, 900))
        for seed in (0, 1)
    )
    for first, second in zip(one, other, strict=True):
        assert first.max() > 0.05
        assert np.abs(first - second).max() > 0.01
