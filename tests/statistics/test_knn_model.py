import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from raptor_search.knn import neighbours, predict
from raptor_search.statistics.gram import Gram
from raptor_search.statistics.knn_model import KNN_GRID, fit_classifier, fit_regressor


def draw(seed=0, subjects=90, signal=0.6, d=30):
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(subjects), 2)
    codes = rng.integers(0, 3, subjects)[owner]
    vectors = signal * rng.normal(size=(3, d))[codes] + rng.normal(size=(subjects, d))[owner]
    return vectors + 0.3 * rng.normal(size=vectors.shape) + 4, codes, owner


TRAIN, QUERIES = np.arange(120), np.arange(120, 180)


def test_votes_are_those_of_the_nearest_training_scans():
    vectors, codes, owner = draw()
    gram = Gram(vectors)
    model = fit_classifier(gram, TRAIN, codes, owner, classes=3, fixed=(7, 0.2))
    shares, ties = model.votes(gram, QUERIES)
    mean = vectors[TRAIN].mean(axis=0)
    found = neighbours(vectors[TRAIN], vectors[QUERIES], k=7, mean=mean)
    labels = codes[found.indices]
    np.testing.assert_allclose(shares, predict(found.scores, labels, 3, temperature=0.2), atol=1e-4)
    for row in range(len(QUERIES)):
        for code in range(3):
            mine = found.scores[row][labels[row] == code]
            assert ties[row, code] == pytest.approx(mine.max() if len(mine) else -1, abs=1e-4)


def test_settings_are_chosen_by_held_out_training_subjects_and_nothing_else():
    vectors, codes, owner = draw()
    gram = Gram(vectors)
    model = fit_classifier(gram, TRAIN, codes, owner, classes=3)
    assert (model.chosen.k, model.chosen.temperature) in KNN_GRID
    lied = codes.copy()
    lied[QUERIES] = (lied[QUERIES] + 1) % 3
    again = fit_classifier(gram, TRAIN, lied, owner, classes=3)
    assert again.chosen == model.chosen
    assert (again.probabilities(gram, QUERIES)[0] == model.probabilities(gram, QUERIES)[0]).all()


def test_a_subject_scanned_often_does_not_choose_a_single_neighbour():
    # Each subject's ten scans are all but equal: if they answered for one another, k = 1 would look perfect.
    rng = np.random.default_rng(5)
    owner = np.repeat(np.arange(30), 10)
    codes = rng.integers(0, 2, 30)[owner]
    vectors = rng.normal(size=(30, 20))[owner] + 0.01 * rng.normal(size=(300, 20))
    model = fit_classifier(Gram(vectors), np.arange(300), codes, owner, classes=2)
    # The Brier score of 0.5 / 0.5 is half: no setting does better on labels without signal by more than chance.
    assert model.chosen.loss > 0.4
    assert model.chosen.k >= 20


def test_a_label_that_the_vectors_carry_is_told():
    vectors, codes, owner = draw(signal=0.8)
    gram = Gram(vectors)
    given = fit_classifier(gram, TRAIN, codes, owner, classes=3).probabilities(gram, QUERIES)[0]
    assert roc_auc_score(codes[QUERIES], given, multi_class="ovr") > 0.9


def test_numbers_are_means_of_the_neighbours_weighted_by_likeness():
    vectors, _, owner = draw()
    gram = Gram(vectors)
    values = vectors[:, 0] * 3 + 50
    model = fit_regressor(gram, TRAIN, values, owner, fixed=(4, 0.1))
    mean = vectors[TRAIN].mean(axis=0)
    found = neighbours(vectors[TRAIN], vectors[QUERIES], k=4, mean=mean)
    weights = np.exp(found.scores / 0.1)
    expected = (weights * values[TRAIN][found.indices]).sum(axis=1) / weights.sum(axis=1)
    np.testing.assert_allclose(model.predict(gram, QUERIES), expected, rtol=1e-3)
    assert fit_regressor(gram, TRAIN, values, owner).chosen.loss < values[TRAIN].var()
