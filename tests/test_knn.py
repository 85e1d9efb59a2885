import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from raptor_search import knn
from raptor_search.knn import held_out_neighbours, neighbours, predict


def draw_vectors(seed, n=40, d=30):
    """Float16 vectors around a far common mean, as raw embeddings are."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) + 3 * rng.normal(size=d)).astype(np.float16)


def naive_scores(vectors, queries, mean):
    """Centred cosines, one pair at a time in float64."""
    scores = np.empty((len(queries), len(vectors)))
    for i, query in enumerate(np.asarray(queries, np.float64) - mean):
        for j, vector in enumerate(np.asarray(vectors, np.float64) - mean):
            scores[i, j] = query @ vector / (np.linalg.norm(query) * np.linalg.norm(vector))
    return scores


@pytest.mark.parametrize("block_bytes", [1, 2000, 2**27])
def test_neighbours_equal_a_written_out_search_in_blocks_of_any_size(monkeypatch, block_bytes):
    monkeypatch.setattr(knn, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(knn, "KEPT_BYTES", block_bytes)
    vectors, queries = draw_vectors(0), draw_vectors(1, n=7)
    mean = vectors.mean(axis=0, dtype=np.float64)
    groups, query_groups = np.arange(40) // 4, np.array([0, 0, 3, 5, 99, 99, 9])
    found = neighbours(vectors, queries, k=6, mean=mean, groups=groups, query_groups=query_groups)
    for i, line in enumerate(naive_scores(vectors, queries, mean)):
        line[groups == query_groups[i]] = -np.inf
        best = np.argsort(-line)[:6]
        assert found.indices[i].tolist() == best.tolist()
        np.testing.assert_allclose(found.scores[i], line[best], atol=2e-6)


def test_neighbours_agree_with_scikit_learn():
    vectors = draw_vectors(2).astype(np.float64)
    mean = vectors.mean(axis=0)
    distances, indices = NearestNeighbors(n_neighbors=5, metric="cosine").fit(vectors - mean).kneighbors()
    found = neighbours(vectors, k=5, mean=mean)
    assert (found.indices == indices).all()
    np.testing.assert_allclose(found.scores, 1 - distances, atol=2e-6)


def test_a_scan_is_never_its_own_neighbour_and_missing_neighbours_are_marked():
    vectors = draw_vectors(3, n=4)
    found = neighbours(vectors, k=10)
    assert found.indices.shape == (4, 4)
    assert all(sorted(line[:3]) == sorted({0, 1, 2, 3} - {row}) for row, line in enumerate(found.indices.tolist()))
    assert (found.indices[:, 3] == -1).all()
    assert (found.scores[:, 3] == -np.inf).all()


def test_equal_scores_come_in_order_of_index():
    vectors = np.array([[1, 0], [1, 0], [0, 1], [1, 0], [1, 0]], np.float32)
    assert neighbours(vectors, vectors[:1], k=3).indices.tolist() == [[0, 1, 3]]


def test_a_vector_that_equals_the_mean_scores_zero():
    vectors = draw_vectors(4, n=6).astype(np.float32)
    found = neighbours(vectors, vectors[:1], k=6, mean=vectors[0])
    assert (found.scores == 0).all()


def test_groups_on_one_side_are_refused():
    with pytest.raises(ValueError, match="one side"):
        neighbours(draw_vectors(0), draw_vectors(1), k=1, groups=np.zeros(40, np.int64))


def test_k_below_one_is_refused():
    with pytest.raises(ValueError, match="k = 0"):
        neighbours(draw_vectors(0), k=0)


@pytest.mark.parametrize("block_bytes", [1, 1500, 2**27])
def test_held_out_neighbours_equal_one_search_a_group_with_the_mean_of_the_rest(monkeypatch, block_bytes):
    monkeypatch.setattr(knn, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(knn, "KEPT_BYTES", block_bytes)
    vectors = draw_vectors(5)
    groups = np.random.default_rng(5).integers(0, 9, 40)
    found = held_out_neighbours(vectors, groups, k=8)
    for group in np.unique(groups):
        inside, rest = np.flatnonzero(groups == group), np.flatnonzero(groups != group)
        mean = vectors[rest].mean(axis=0, dtype=np.float64)
        for row, line in zip(inside, naive_scores(vectors[rest], vectors[inside], mean), strict=True):
            best = np.argsort(-line)[:8]
            assert found.indices[row].tolist() == rest[best].tolist()
            np.testing.assert_allclose(found.scores[row], line[best], atol=2e-6)


def test_the_mean_without_a_group_differs_from_the_mean_of_all():
    vectors, groups = draw_vectors(6, n=8), np.arange(8)
    held_out = held_out_neighbours(vectors, groups, k=7).scores
    of_all = neighbours(vectors, k=7, mean=vectors.mean(axis=0, dtype=np.float64)).scores[:, :7]
    assert np.abs(held_out - of_all).max() > 0.01


def test_held_out_scores_do_not_depend_on_the_origin():
    vectors, groups = draw_vectors(7).astype(np.float32), np.arange(40) // 2
    moved = held_out_neighbours(vectors + np.float32(5), groups, k=5)
    found = held_out_neighbours(vectors, groups, k=5)
    assert (moved.indices == found.indices).all()
    np.testing.assert_allclose(moved.scores, found.scores, atol=1e-5)


def test_one_group_cannot_be_held_out():
    with pytest.raises(ValueError, match="one group"):
        held_out_neighbours(draw_vectors(0), np.zeros(40, np.int64), k=3)


def test_callers_arrays_stay_as_they_are():
    vectors, mean = draw_vectors(8), np.ones(30, np.float32)
    before = vectors.copy()
    neighbours(vectors, vectors[:3], k=2, mean=mean)
    held_out_neighbours(vectors, np.arange(40), k=2)
    assert (vectors == before).all()
    assert (mean == 1).all()


def test_a_vote_by_hand():
    votes = predict(np.array([[0.5, 0.4, 0.3]]), np.array([[1, 0, 1]]), 3, temperature=0.1)
    one, two = np.exp(-1), np.exp(-2)
    np.testing.assert_allclose(votes, [[one / (1 + one + two), (1 + two) / (1 + one + two), 0]])


def test_neighbours_that_are_missing_or_unlabelled_do_not_vote():
    scores = np.array([[0.9, 0.5, -np.inf], [0.9, -np.inf, -np.inf]])
    votes = predict(scores, np.array([[-1, 1, 0], [-1, -1, -1]]), 2)
    assert votes.tolist() == [[0, 1], [0, 0]]


def test_votes_equal_scikit_learns_weighted_neighbours():
    rng = np.random.default_rng(9)
    vectors, queries, labels = rng.normal(size=(50, 6)), rng.normal(size=(9, 6)), rng.integers(0, 3, 50)
    model = KNeighborsClassifier(7, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.2))
    found = neighbours(vectors, queries, k=7)
    votes = predict(found.scores, labels[found.indices], 3, temperature=0.2)
    np.testing.assert_allclose(votes, model.fit(vectors, labels).predict_proba(queries), atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-3, 10), st.integers(1, 8))
def test_votes_sum_to_one_and_do_not_depend_on_a_common_offset(seed, temperature, k):
    rng = np.random.default_rng(seed)
    scores, labels = rng.uniform(-1, 1, (5, k)), rng.integers(0, 4, (5, k))
    votes = predict(scores, labels, 4, temperature=temperature)
    np.testing.assert_allclose(votes.sum(axis=1), 1)
    np.testing.assert_allclose(votes, predict(scores - 0.5, labels, 4, temperature=temperature), atol=1e-9)


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="temperature"):
        predict(np.zeros((1, 1)), np.zeros((1, 1), np.int64), 2, temperature=0)
