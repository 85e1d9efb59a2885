import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

from raptor_search.statistics.gram import Gram
from raptor_search.statistics.linear_model import PENALTIES, logistic, ridge


def draw(seed=0, n=120, d=300):
    """More numbers than scans, as embeddings have."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 3
    vectors = 0.25 * rng.normal(size=(3, d))[codes] + rng.normal(size=(n, d)) + 3
    return vectors, codes, np.arange(60), np.arange(60, 90), np.arange(90, n)


def scaled(vectors, train):
    centred = vectors - vectors[train].mean(axis=0)
    return centred / np.sqrt((centred[train] ** 2).sum(axis=1).mean())


def test_it_is_scikit_learns_on_the_long_vectors_with_the_penalty_best_on_validation():
    vectors, codes, train, val, test = draw()
    found = logistic(Gram(vectors), train, val, test, codes, classes=3)
    long = scaled(vectors, train)
    models = {c: LogisticRegression(C=c, max_iter=2000).fit(long[train], codes[train]) for c in PENALTIES}
    scores = {
        c: roc_auc_score(codes[val], model.predict_proba(long[val]), multi_class="ovr") for c, model in models.items()
    }
    assert scores[found.penalty] == max(scores.values())
    np.testing.assert_allclose(found.test, models[found.penalty].predict_proba(long[test]), atol=2e-3)
    np.testing.assert_allclose(found.val, models[found.penalty].predict_proba(long[val]), atol=2e-3)


def test_the_test_part_chooses_nothing():
    vectors, codes, train, val, test = draw(1)
    honest = logistic(Gram(vectors), train, val, test, codes, classes=3)
    lied = codes.copy()
    lied[test] = (lied[test] + 1) % 3
    assert (logistic(Gram(vectors), train, val, test, lied, classes=3).test == honest.test).all()


def test_a_class_that_training_lacks_gets_no_probability():
    vectors, codes, train, val, test = draw(2)
    found = logistic(Gram(vectors), train[codes[train] < 2], val, test, codes, classes=3)
    assert (found.test[:, 2] == 0).all()
    np.testing.assert_allclose(found.test.sum(axis=1), 1)


def test_one_class_to_learn_from_is_always_answered():
    vectors, codes, train, val, test = draw(3)
    found = logistic(Gram(vectors), train[codes[train] == 1], val, test, codes, classes=3)
    assert (found.test == [0, 1, 0]).all()


def test_training_scans_that_are_all_the_same_tell_the_frequencies_of_their_classes():
    _, codes, train, val, test = draw(3)
    found = logistic(Gram(np.ones((len(codes), 7))), train[:-1], val, test, codes, classes=3)
    shares = np.bincount(codes[train[:-1]]) / (len(train) - 1)
    np.testing.assert_allclose(found.test, np.tile(shares, (len(test), 1)))


def test_ridge_regression_is_scikit_learns():
    vectors, _, train, val, test = draw(4)
    values = vectors[:, 0] * 5 + 40
    found = ridge(Gram(vectors), train, val, test, values)
    long = scaled(vectors, train)
    tries = {c: Ridge(alpha=1 / c).fit(long[train], values[train]) for c in PENALTIES}
    errors = {c: ((model.predict(long[val]) - values[val]) ** 2).sum() for c, model in tries.items()}
    assert found.penalty == min(errors, key=errors.get)
    np.testing.assert_allclose(found.test, tries[found.penalty].predict(long[test]), atol=1e-3)
