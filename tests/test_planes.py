"""Which slices are taken."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raptor_search.planes import PLANES, slice_indices


def test_thirty_two_slices_of_a_cube_of_224_are_the_centres_of_slabs_of_seven() -> None:
    assert slice_indices(224, 32) == list(range(3, 224, 7))


def test_zero_or_too_many_mean_all() -> None:
    assert slice_indices(5, 0) == slice_indices(5, 5) == slice_indices(5, 9) == [0, 1, 2, 3, 4]


@given(st.integers(1, 400), st.integers(1, 400))
def test_slices_are_distinct_in_range_and_evenly_spread(length: int, wanted: int) -> None:
    indices = slice_indices(length, wanted)
    assert len(indices) == min(length, wanted)
    assert indices == sorted(set(indices))
    assert indices[0] >= 0
    assert indices[-1] < length
    gaps = {b - a for a, b in pairwise(indices)}
    assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("planes", ["ras", "stored"])
def test_every_axis_is_sliced_once(planes: str) -> None:
    assert sorted(plane.slices for plane in PLANES[planes]) == [0, 1, 2]
    for plane in PLANES[planes]:
        assert sorted((plane.slices, plane.rows, plane.cols)) == [0, 1, 2]
