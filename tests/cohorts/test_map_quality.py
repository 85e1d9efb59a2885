import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from raptor_search.cohorts import map_quality as module
from raptor_search.cohorts.graph import build_graph
from raptor_search.cohorts.map_quality import map_quality


def draw(n=120, d=10):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(n, d)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    graph = build_graph(np.arange(n), lambda rows: vectors[rows], np.zeros(d), k=20)
    return vectors, graph, rng


@pytest.mark.parametrize("k", [5, 15])
def test_trustworthiness_is_scikit_learns(k):
    vectors, graph, _ = draw()
    found = map_quality(vectors[:, :2], vectors, graph, k=k)
    # scikit-learn ranks by Euclidean distance, which orders unit vectors as the cosine does.
    assert found.trustworthiness == pytest.approx(trustworthiness(vectors, vectors[:, :2], n_neighbors=k), abs=1e-6)
    assert (found.k, found.scans) == (k, 120)


def test_a_faithful_map_keeps_all_and_a_random_one_next_to_nothing():
    rng = np.random.default_rng(1)
    angle = np.sort(rng.uniform(0, 2 * np.pi, 150))
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    graph = build_graph(np.arange(150), lambda rows: circle[rows], np.zeros(2), k=15)
    faithful = map_quality(circle, circle, graph, k=10)
    assert faithful.trustworthiness == pytest.approx(1)
    assert faithful.preservation == pytest.approx(1)
    chance = map_quality(rng.normal(size=(150, 2)), circle, graph, k=10)
    assert chance.preservation < 0.2
    assert chance.trustworthiness < 0.7


def test_of_many_scans_a_seeded_sample_is_looked_at(monkeypatch):
    vectors, graph, _ = draw()
    whole = map_quality(vectors[:, :2], vectors, graph, k=5)
    monkeypatch.setattr(module, "SAMPLE", 60)
    part = map_quality(vectors[:, :2], vectors, graph, k=5)
    assert part.scans == 60
    assert part.trustworthiness == pytest.approx(whole.trustworthiness, abs=0.08)
    assert part == map_quality(vectors[:, :2], vectors, graph, k=5)


def test_few_scans_lower_the_number_of_neighbours():
    vectors, graph, _ = draw(n=10)
    assert map_quality(vectors[:, :2], vectors, graph).k == 3
