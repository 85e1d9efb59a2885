import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.demo import derive as module
from indexer.demo.derive import SIDE, antialias, derive, grid_of, smooth_field
from raptor_search.volume import Volume


def ball(shape: tuple[int, int, int], spacing: tuple[float, float, float], *, centre_mm=(0.0, 0.0, 0.0)) -> Volume:
    """A bright smooth ball in the middle of a dark field of view; its affine puts the centre at `centre_mm`."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = np.array(centre_mm) - np.array(spacing) * (np.array(shape) - 1) / 2
    points = np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2
    distance = np.sqrt(((points * np.array(spacing)[:, None, None, None]) ** 2).sum(axis=0))
    radius = 0.25 * min(n * mm for n, mm in zip(shape, spacing, strict=True))
    return Volume(voxels=(1000 / (1 + np.exp((distance - radius) / 2))).astype(np.float32), affine=affine)


def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns every amplitude to nothing."""
    for name in ("ROTATION_DEGREES", "SCALE", "SHIFT_VOXELS", "ELASTIC_VOXELS", "BIAS_LOG", "GAMMA_LOG"):
        monkeypatch.setattr(module, name, 0.0)
    for name in ("NOISE_SHARE", "HU_NOISE"):
        monkeypatch.setattr(module, name, (0.0, 0.0))
    monkeypatch.setattr(module, "BRIGHT_UNITS", (1000.0, 1000.0))


def test_amplitudes_are_those_the_demo_promises() -> None:
    assert (module.ROTATION_DEGREES, module.SCALE, module.SHIFT_VOXELS, module.ELASTIC_VOXELS) == (10, 0.08, 4, 3)
    assert module.SIDE == 96


def test_without_any_amplitude_the_scan_is_the_source_on_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    still(monkeypatch)
    source = ball((96, 80, 88), (2.0, 2.0, 2.0))
    got = derive(antialias(source), np.random.default_rng(0), modality="MR")
    bright = np.percentile(source.voxels - source.voxels.min(), 99.5)
    expected = (source.voxels - source.voxels.min()) / bright * 1000
    assert got.voxels.shape == (96, 80, 88)
    np.testing.assert_allclose(got.voxels, expected, atol=0.51)
    np.testing.assert_allclose(got.affine, source.affine, atol=1e-9)


def test_ct_without_noise_keeps_its_hounsfield_units(monkeypatch: pytest.MonkeyPatch) -> None:
    still(monkeypatch)
    source = ball((96, 96, 96), (4.0, 4.0, 4.0))
    hounsfield = Volume(voxels=source.voxels * 1.04 - 1000, affine=source.affine)
    got = derive(antialias(hounsfield), np.random.default_rng(0), modality="CT")
    np.testing.assert_allclose(got.voxels, hounsfield.voxels, atol=0.51)


def test_one_state_gives_one_scan_and_another_state_another() -> None:
    source = antialias(ball((40, 48, 40), (4.0, 4.0, 4.0)))
    one, again, other = (derive(source, np.random.default_rng(seed), modality="MR").voxels for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert np.mean(one != other) > 0.5


@pytest.mark.parametrize("seed", range(4))
def test_the_ball_moves_by_no_more_than_the_shift_and_grows_by_no_more_than_the_scale(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    for name in ("ELASTIC_VOXELS", "BIAS_LOG", "GAMMA_LOG"):
        monkeypatch.setattr(module, name, 0.0)
    monkeypatch.setattr(module, "NOISE_SHARE", (0.0, 0.0))
    source = ball((96, 96, 96), (2.0, 2.0, 2.0))
    got = derive(source, np.random.default_rng(seed), modality="MR").voxels
    inside, before = got > got.max() / 2, source.voxels > source.voxels.max() / 2
    moved = np.array([axis.mean() for axis in np.nonzero(inside)]) - 47.5
    assert np.all(np.abs(moved) <= 4 / (1 - 0.08) + 0.2)
    assert np.abs(moved).max() > 0.5
    assert 0.92 - 0.02 <= (before.sum() / inside.sum()) ** (1 / 3) <= 1.08 + 0.02


def test_elastic_displacement_has_the_stated_root_mean_square(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROTATION_DEGREES", "SCALE", "SHIFT_VOXELS"):
        monkeypatch.setattr(module, name, 0.0)
    source = ball((96, 96, 96), (2.0, 2.0, 2.0))
    indices = module._source_indices(source, grid_of(source), np.random.default_rng(3))
    displacement = indices - np.indices((96, 96, 96))
    assert np.sqrt((displacement**2).sum(axis=0).mean()) == pytest.approx(3.0, rel=1e-3)
    # A map that folds would show anatomy twice: every small cube must keep its orientation.
    gradient = np.stack([np.stack(np.gradient(indices[axis])) for axis in range(3)])
    assert np.linalg.det(gradient.transpose(2, 3, 4, 0, 1)).min() > 0


def test_uncalibrated_scans_vary_in_brightness_and_are_never_negative() -> None:
    source = antialias(ball((40, 40, 48), (4.0, 4.0, 4.0)))
    scans = [derive(source, np.random.default_rng(seed), modality="PT").voxels for seed in range(6)]
    assert all(scan.dtype == np.int16 and scan.min() >= 0 for scan in scans)
    assert np.ptp([np.percentile(scan, 99.5) for scan in scans]) > 50


def test_bias_field_shades_a_flat_region() -> None:
    flat = np.ones((32, 32, 32), np.float32)
    flat[0, 0, 0] = 0
    source = Volume(voxels=flat * 500, affine=np.diag([3.0, 3.0, 3.0, 1.0]))
    shaded = derive(source, np.random.default_rng(0), modality="MR").voxels[24:-24, 24:-24, 24:-24].astype(float)
    blocks = shaded.reshape(4, 12, 4, 12, 4, 12).mean(axis=(1, 3, 5))
    assert blocks.max() / blocks.min() > 1.05


@settings(deadline=None, max_examples=30)
@given(st.integers(8, 60), st.integers(8, 60), st.integers(4, 60), st.floats(0.5, 5), st.floats(0.5, 10))
def test_the_grid_is_isotropic_covers_the_field_of_view_and_is_96_long(
    rows: int, cols: int, slices: int, spacing: float, thickness: float
) -> None:
    voxels = np.zeros((rows, cols, slices), np.uint8)
    voxels[0, 0, 0] = 1
    grid = grid_of(Volume(voxels=voxels, affine=np.diag([spacing, spacing, thickness, 1.0])))
    assert max(grid.shape) == SIDE
    extents = np.array([rows * spacing, cols * spacing, slices * thickness])
    covered = np.array(grid.shape) * grid.spacing
    assert np.all(np.abs(covered - extents) <= np.maximum(grid.spacing / 2, 4 * grid.spacing - extents) + 1e-6)


def test_a_derived_scan_lies_where_its_source_lies() -> None:
    source = ball((30, 40, 20), (5.0, 4.0, 8.0), centre_mm=(12.0, -30.0, 55.0))
    got = derive(antialias(source), np.random.default_rng(0), modality="MR")
    centre = got.affine @ [*((np.array(got.voxels.shape) - 1) / 2), 1]
    np.testing.assert_allclose(centre[:3], (12, -30, 55), atol=1e-9)
    assert got.spacing == pytest.approx((160 / 96,) * 3)


def test_antialiasing_removes_what_the_grid_cannot_show_and_leaves_a_coarse_source_alone() -> None:
    checker = (np.indices((200, 16, 16)).sum(axis=0) % 2).astype(np.float32)
    blurred = antialias(Volume(voxels=checker, affine=np.eye(4)))
    assert np.ptp(blurred.voxels[8:-8]) < 0.35
    coarse = ball((20, 20, 20), (4.0, 4.0, 4.0))
    assert np.array_equal(antialias(coarse).voxels, coarse.voxels)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 8))
def test_smooth_fields_have_mean_0_and_mean_square_1(seed: int, knots: int) -> None:
    field = smooth_field((20, 24, 16), knots, np.random.default_rng(seed))
    assert float(field.mean()) == pytest.approx(0, abs=1e-4)
    assert float((field.astype(np.float64) ** 2).mean()) == pytest.approx(1, rel=1e-3)
    # Smooth: neighbours differ by a small share of the spread.
    assert np.abs(np.diff(field, axis=0)).max() < 1.5 * knots / 4


def test_sources_are_left_as_they_were() -> None:
    source = ball((20, 24, 20), (4.0, 4.0, 4.0))
    before = source.voxels.copy()
    derive(antialias(source), np.random.default_rng(0), modality="MR")
    assert np.array_equal(source.voxels, before)
