"""Intensity rules: chosen from the voxels alone, the same for every dtype, and clipped to [0, 1]."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from raptor_search.errors import SpecError
from raptor_search.intensity import IntensityRule, choose_rule, normalise, published_rule


def chest(seed: int = 0) -> np.ndarray:
    """Air, lung, tissue and bone in HU, in the shares of a chest CT."""
    rng = np.random.default_rng(seed)
    return rng.choice([-1000, -850, 40, 700], p=[0.35, 0.2, 0.4, 0.05], size=(24, 24, 12)).astype(np.int16)


def test_a_ct_gets_the_hounsfield_window_whatever_its_extremes() -> None:
    assert choose_rule(chest()) == IntensityRule("hu", -1000.0, 1000.0)
    padded = chest()
    padded[:4] = -3024
    assert choose_rule(padded).name == "hu"


def test_a_phase_image_as_negative_as_a_ct_gets_percentiles() -> None:
    phase = np.linspace(-4096, 4095, 20**3).reshape(20, 20, 20)
    assert choose_rule(phase).name == "percentile"


def test_percentiles_ignore_a_few_outliers() -> None:
    voxels = np.random.default_rng(0).uniform(0, 1000, (30, 30, 30))
    voxels[0, 0, :3] = 1e6
    rule = choose_rule(voxels)
    assert rule.name == "percentile"
    assert (rule.low, rule.high) == pytest.approx((5, 995), abs=5)


def test_an_object_smaller_than_the_percentiles_is_still_windowed() -> None:
    voxels = np.zeros((20, 20, 20), np.int16)
    voxels[3, 4, 5] = 70
    assert choose_rule(voxels) == IntensityRule("percentile", 0.0, 70.0)


def test_bytes_that_use_their_range_keep_it() -> None:
    voxels = np.random.default_rng(0).integers(0, 256, (12, 12, 12))
    assert choose_rule(voxels.astype(np.uint8)) == IntensityRule("unit8", 0.0, 255.0)
    assert choose_rule(voxels.astype(np.uint8) // 4).name == "percentile"
    assert choose_rule(voxels + 0.5).name == "percentile"


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_the_dtype_changes_neither_rule_nor_values(dtype: type) -> None:
    voxels = chest()
    rule = choose_rule(voxels.astype(dtype))
    assert rule == choose_rule(voxels)
    assert np.array_equal(normalise(voxels.astype(dtype), rule), normalise(voxels, rule))


def test_a_large_volume_is_sampled_and_gets_nearly_the_full_percentiles() -> None:
    voxels = np.random.default_rng(0).normal(500, 100, (160, 160, 160)).astype(np.float32)
    low, high = np.percentile(voxels, (0.5, 99.5))
    rule = choose_rule(voxels)
    assert (rule.low, rule.high) == pytest.approx((low, high), abs=2)


def test_published_rules_are_the_scripts_and_exist_for_two_formats_only() -> None:
    assert published_rule("npz") == IntensityRule("published-npz", 0.0, 256.0)
    assert published_rule("nifti") == IntensityRule("published-nifti", 0.0, 1280.0)
    for fmt in ("dicom", "nrrd"):
        with pytest.raises(SpecError, match=f"no intensity rule for {fmt}"):
            published_rule(fmt)


def test_normalise_by_hand() -> None:
    voxels = np.array([[[-2000, -1000, 0, 500, 1000, 3000]]], np.int16)
    assert normalise(voxels, IntensityRule("hu", -1000, 1000)).tolist() == [[[0, 0, 0.5, 0.75, 1, 1]]]


@settings(max_examples=50, deadline=None)
@given(arrays(np.int32, (4, 5, 6), elements=st.integers(-(2**31), 2**31 - 1)))
def test_normalised_values_lie_in_the_unit_interval_and_keep_their_order(voxels: np.ndarray) -> None:
    before = voxels.copy()
    least, most = int(voxels.min()), int(voxels.max())
    if least == most:
        return
    values = normalise(voxels, choose_rule(voxels))
    assert values.dtype == np.float32
    assert values.min() >= 0
    assert values.max() <= 1
    order = np.argsort(voxels, axis=None)
    assert (np.diff(values.ravel()[order]) >= 0).all()
    assert np.array_equal(voxels, before)
