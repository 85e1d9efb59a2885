import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from raptor_search import cohort
from raptor_search.cohort import cohort_map
from raptor_search.errors import QueryError


def draw_groups(n=45, d=24):
    """Three well-parted groups of float16 vectors around a far mean."""
    rng = np.random.default_rng(0)
    group = np.arange(n) % 3
    return (4 * rng.normal(size=(3, d))[group] + rng.normal(size=(n, d)) + 5).astype(np.float16), group


def test_groups_stay_together_and_two_maps_at_once_are_bit_identical():
    vectors, group = draw_groups()
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: cohort_map(vectors, range(100, 145), seed=3, n_neighbours=10), range(2))
    assert (first.coordinates == second.coordinates).all()
    assert first.coordinates.dtype == np.float32
    assert first.ids.tolist() == list(range(100, 145))
    distances = np.linalg.norm(first.coordinates[:, None] - first.coordinates, axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1)[:, :5]
    assert (group[nearest] == group[:, None]).mean() > 0.95
    assert json.loads(first.parameters.to_json()) == {
        "scans": 45,
        "n_neighbours": 10,
        "min_dist": 0.1,
        "seed": 3,
        "centring": "mean of the mapped scans",
        "umap_version": first.parameters.umap_version,
    }


def test_five_scans_two_of_them_identical_make_a_map():
    vectors = np.random.default_rng(1).normal(size=(5, 8)).astype(np.float16)
    vectors[1] = vectors[0]
    result = cohort_map(vectors, range(5), mean=np.zeros(8))
    assert np.isfinite(result.coordinates).all()
    assert len(np.unique(result.coordinates, axis=0)) == 5
    assert result.parameters.n_neighbours == 4
    assert result.parameters.centring == "given"


def test_the_graph_is_the_exact_one_with_each_scan_first():
    vectors, _ = draw_groups(20)
    mean = vectors.mean(axis=0, dtype=np.float64)
    indices, distances = cohort._graph(vectors, mean, 6)
    centred = vectors.astype(np.float64) - mean
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    exact = 1 - centred @ centred.T
    np.fill_diagonal(exact, -1)
    order = np.argsort(exact, axis=1)[:, :6]
    np.fill_diagonal(exact, 0)
    assert (indices == order).all()
    np.testing.assert_allclose(distances, np.take_along_axis(exact, order, axis=1), atol=2e-6)


@pytest.mark.parametrize("sample", [500, 7])
def test_the_start_lies_along_the_principal_axes(monkeypatch, sample):
    monkeypatch.setattr(cohort, "AXES_FROM", sample)
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(60, 10)) * np.array([9, 4] + [0.01] * 8)
    start = cohort._principal_axes(vectors, np.zeros(10), seed=0)
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert np.abs(start).max() == pytest.approx(10, abs=0.01)
    span = np.linalg.lstsq(start, directions[:, :2], rcond=None)
    assert span[1].sum() < 0.01
    assert (cohort._principal_axes(vectors, np.zeros(10), seed=0) == start).all()


def test_the_start_is_the_same_to_the_last_bit_however_many_threads_there_are():
    vectors = np.random.default_rng(3).normal(size=(300, 1024)).astype(np.float32)
    starts = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            starts.append(cohort._principal_axes(vectors, np.zeros(1024), seed=0))
    assert (starts[0] == starts[1]).all()


@pytest.mark.parametrize("scans", [1, 4])
def test_fewer_than_five_scans_are_refused(scans):
    with pytest.raises(QueryError, match=f"{scans} scans; a map takes at least 5"):
        cohort_map(np.ones((scans, 3)), range(scans))


def test_one_id_a_vector_is_needed():
    with pytest.raises(ValueError, match="2 ids for 5 vectors"):
        cohort_map(np.ones((5, 3)), [1, 2])


def test_one_neighbour_is_no_graph():
    with pytest.raises(ValueError, match="expected at least 2"):
        cohort_map(np.ones((5, 3)), range(5), n_neighbours=1)
