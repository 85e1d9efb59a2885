import numpy as np
import pytest
from sklearn.linear_model import Ridge

from raptor_search.statistics import gram as module
from raptor_search.statistics.gram import Gram


def draw(n=24, d=50):
    rng = np.random.default_rng(0)
    return (rng.normal(size=(n, d)) + 6 * rng.normal(size=d)).astype(np.float16)


def cosine(a, b):
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return a @ b.T


def test_scores_are_centred_on_the_training_part_alone():
    vectors = draw()
    train, queries = np.arange(10), np.arange(8, 24)
    wide = vectors.astype(float)
    mean = wide[train].mean(axis=0)
    found = Gram(vectors).cosines(queries, train)
    np.testing.assert_allclose(found, cosine(wide[queries] - mean, wide[train] - mean), atol=1e-5)


def test_scores_without_centring_are_plain_cosines():
    vectors = draw()
    rows = np.arange(24)
    found = Gram(vectors, is_centred=False).cosines(rows, rows)
    np.testing.assert_allclose(found, cosine(vectors.astype(float), vectors.astype(float)), atol=1e-5)


def test_products_in_blocks_are_the_same(monkeypatch):
    vectors = draw()
    rows = np.arange(24)
    whole = Gram(vectors).cosines(rows, rows)
    monkeypatch.setattr(module, "BLOCK_BYTES", 4 * 50 * 7)
    np.testing.assert_allclose(Gram(vectors).cosines(rows, rows), whole, atol=1e-6)


def test_a_vector_that_is_the_mean_scores_nothing():
    vectors = np.array([[1.0, 0], [3, 0], [2, 0]], np.float32)
    assert Gram(vectors).cosines(np.array([2]), np.array([0, 1])).tolist() == [[0, 0]]


def test_features_give_a_ridge_regression_what_the_long_vectors_give_it():
    vectors = draw().astype(np.float64)
    train, queries = np.arange(16), np.arange(16, 24)
    features = Gram(vectors).features(train, queries)
    assert (features.train**2).sum(axis=1).mean() == pytest.approx(1)
    centred = vectors - vectors[train].mean(axis=0)
    centred /= np.sqrt((centred[train] ** 2).sum(axis=1).mean())
    values = np.random.default_rng(1).normal(size=16)
    long = Ridge(alpha=0.3).fit(centred[train], values).predict(centred[queries])
    short = Ridge(alpha=0.3).fit(features.train, values).predict(features.queries)
    np.testing.assert_allclose(short, long, atol=1e-4)
