"""The arithmetic behind the figures of benchmarks/retrieval.py, on cases worked by hand."""

import numpy as np
import pytest

from benchmarks.retrieval import Figure, interval, raw_voxels
from raptor_search.volume import Volume

SOURCE = np.array(["a", "a", "b", "b", "c"])
SEQUENCE = np.array(["T1w", "T1w", "T1w", "T1w", "CT"])
EACH = np.array(["0", "1", "2", "3", "4"])

VECTORS = np.array([[10, 0, 1], [10, 1, 0], [9, 3, 0], [0, 10, 0], [0, 9, 3]], np.float32)


def test_only_scans_with_a_right_answer_among_their_candidates_count() -> None:
    assert Figure("source", EACH, SOURCE).counted.tolist() == [True, True, True, True, False]
    assert Figure("sequence", SOURCE, SEQUENCE).counted.tolist() == [True, True, True, True, False]
    assert not Figure("other people", np.array(["x"] * 5), SEQUENCE).counted.any()


def test_the_rate_of_a_random_pick_is_the_share_of_right_candidates() -> None:
    assert Figure("source", EACH, SOURCE).by_chance == pytest.approx(1 / 4)
    assert Figure("sequence", SOURCE, SEQUENCE).by_chance == pytest.approx(2 / 3)


def test_the_first_hit_is_the_nearest_after_subtracting_the_mean_of_the_candidates() -> None:
    right = Figure("source", EACH, SOURCE).right(VECTORS)
    for query in range(4):
        others = [n for n in range(5) if n != query]
        moved = VECTORS - VECTORS[others].mean(axis=0)
        cosines = [moved[query] @ moved[n] / np.linalg.norm(moved[query]) / np.linalg.norm(moved[n]) for n in others]
        assert right[query] == (SOURCE[others[int(np.argmax(cosines))]] == SOURCE[query])
    assert np.isnan(right[4])


def test_scans_of_ones_own_source_are_never_found_among_other_sources() -> None:
    figure = Figure("sequence", SOURCE, SEQUENCE)
    twins = np.array([[1, 0], [1, 0], [0.9, 0.2], [0, 1], [0.9, 0.1]], np.float32)
    # Without the twin the CT is nearest to scan 0, which is wrong.
    assert figure.right(twins)[0] == 0


def test_an_interval_over_sources_is_wider_than_one_over_scans_that_agree_within_sources() -> None:
    sources = np.repeat(list("abcdefgh"), 6)
    right = np.repeat([1.0, 1, 1, 1, 1, 0, 0, 0], 6)
    over_sources = interval(right, sources)
    over_scans = interval(right, np.arange(48).astype(str))
    assert over_sources.value == over_scans.value == pytest.approx(5 / 8)
    assert over_sources.low < over_scans.low < 5 / 8 < over_scans.high < over_sources.high


def test_a_difference_keeps_its_sign_and_size() -> None:
    found = interval(np.array([1, 1, 0, -1, 1, np.nan]), np.arange(6).astype(str), difference=True)
    assert found.value == pytest.approx(0.4)
    assert -1 <= found.low < 0.4 < found.high <= 1


def test_raw_voxels_are_the_volume_fitted_to_a_cube_of_16() -> None:
    ramp = np.broadcast_to(np.arange(32, dtype=np.float32)[:, None, None], (32, 16, 32))
    cube = raw_voxels(Volume(voxels=ramp, affine=np.eye(4))).reshape(16, 16, 16)
    assert not cube[:, :4].any()
    assert not cube[:, 12:].any()
    assert np.all(np.diff(cube[:, 8, 8]) > 0)
