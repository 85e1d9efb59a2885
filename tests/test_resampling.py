"""Resampling weights against torch's antialiased interpolation, and what padding and symmetry ask of them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from raptor_search.resampling import axis_weights


def test_enlarging_two_voxels_to_four_by_hand() -> None:
    assert axis_weights(2, 4).tolist() == [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]


def test_padding_leaves_cells_outside_without_weights() -> None:
    weights = axis_weights(2, 4, covered=2.0)
    assert weights.tolist() == [[0, 0], [1, 0], [0, 1], [0, 0]] or weights[0].sum() == weights[3].sum() == 0
    assert weights[1:3].sum(axis=1).tolist() == [1, 1]


@pytest.mark.parametrize(("length", "target"), [(28, 224), (97, 100), (224, 224), (256, 224), (300, 224), (512, 64)])
def test_weights_equal_antialiased_bilinear_interpolation(length: int, target: int) -> None:
    signal = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 1, length, 8)))
    expected = interpolate(signal, (target, 8), mode="bilinear", antialias=True)[0, 0].numpy()
    assert np.allclose(axis_weights(length, target) @ signal[0, 0].numpy(), expected, atol=1e-12)


@given(st.integers(2, 80), st.integers(2, 80), st.floats(1, 4))
def test_rows_sum_to_one_inside_and_zero_outside_and_the_grid_is_symmetric(n: int, target: int, covered: float) -> None:
    weights = axis_weights(n, target, covered=covered)
    sums = weights.sum(axis=1)
    assert np.all(np.isclose(sums, 1) | (sums == 0))
    assert np.allclose(weights, weights[::-1, ::-1])
    assert abs(np.count_nonzero(sums) - max(1.0, target / covered)) <= 1 + 1e-9


def test_an_axis_thinner_than_a_cell_shows_its_mean_in_the_middle() -> None:
    weights = axis_weights(4, 224, covered=250.0)
    assert np.flatnonzero(weights.any(axis=1)).tolist() == [111, 112]
    assert weights[111:113].tolist() == [[0.25] * 4] * 2
    assert axis_weights(4, 225, covered=250.0)[112].sum() == pytest.approx(1)  # the ordinary cell at the centre
