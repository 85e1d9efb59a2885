"""Staging: the numbers of `normalise` whatever the dtype and the order in memory."""

import numpy as np
import pytest
import torch

from raptor_search.intensity import IntensityRule, normalise
from raptor_search.staging import crossed, staged

CPU = torch.device("cpu")
RULE = IntensityRule("percentile", 7.3, 190.1)
DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", ">i2", ">u2", ">f4", ">f8"]


def drawn(dtype: str, shape: tuple[int, int, int] = (5, 6, 7)) -> np.ndarray:
    """All of a dtype's range, or around the window."""
    kind = np.dtype(dtype)
    rng = np.random.default_rng(0)
    if kind.kind in "iu":
        values = rng.integers(-20, 256, shape).astype(kind)
        values.flat[:2] = np.iinfo(kind).min, np.iinfo(kind).max
        return values
    return (
        (rng.normal(100, 80, shape) > 60).astype(kind) if kind.kind == "b" else rng.normal(100, 80, shape).astype(kind)
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", [staged, crossed])
def test_the_window_is_that_of_normalise_bit_for_bit(way, dtype):
    voxels = drawn(dtype)
    voxels.setflags(write=False)
    got = way(voxels, RULE, CPU)
    assert got.dtype == torch.float32
    assert np.array_equal(got.numpy(), normalise(voxels, RULE))


def test_uint16_is_not_taken_for_int16():
    voxels = np.full((4, 4, 4), 40_000, np.uint16)
    wide = IntensityRule("percentile", 0.0, 65_535.0)
    assert crossed(voxels, wide, CPU).numpy() == pytest.approx(40_000 / 65_535)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
@pytest.mark.parametrize("flips", [(), (0,), (1, 2), (0, 1, 2)])
def test_the_order_in_memory_does_not_matter(axes, flips):
    voxels = np.flip(drawn("i2").transpose(axes), flips)
    assert np.array_equal(staged(voxels, RULE, CPU).numpy(), normalise(voxels, RULE))


def test_a_view_of_some_voxels_and_one_without_strides_are_taken_as_they_are():
    part = drawn("i2", (9, 9, 9))[1:8:2, ::-2, 3:]
    assert np.array_equal(staged(part, RULE, CPU).numpy(), normalise(part, RULE))
    same = np.broadcast_to(drawn("f4", (1, 6, 7)), (5, 6, 7))
    assert np.array_equal(staged(same, RULE, CPU).numpy(), normalise(same, RULE))


def test_slabs_make_no_difference(monkeypatch):
    voxels = drawn("i2")
    whole = crossed(voxels, RULE, CPU)
    monkeypatch.setattr("raptor_search.staging.SLAB", 50)
    assert torch.equal(crossed(voxels, RULE, CPU), whole)
