import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from raptor_search.knn import Neighbours, held_out_neighbours, predict
from raptor_search.statistics import auroc as module
from raptor_search.statistics.auroc import LeavePairOutAuroc, pair_depth

K = 3


def draw_archive(seed, subjects=12, classes=3, signal=0.0, d=6):
    """1 to 3 scans a subject; a scan's class is its own, so that subjects may have several."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(subjects), rng.integers(1, 4, subjects))
    codes = np.concatenate([np.arange(classes), rng.integers(0, classes, len(owner) - classes)])
    vectors = rng.normal(size=(len(owner), d)) + signal * rng.normal(size=(classes, d))[codes]
    return vectors, codes, owner


def measure(vectors, codes, owner, classes, k=K):
    found = held_out_neighbours(vectors, owner, k=pair_depth(owner, k))
    return LeavePairOutAuroc(found, codes, owner, classes, k=k, temperature=0.2), found


def naive(found, codes, owner, classes, weights, k=K):
    """Every pair of every class: vote without both subjects, compare, weigh by how often the subjects count."""

    def vote(row, left_out):
        pool = [(i, s) for i, s in zip(found.indices[row], found.scores[row], strict=True) if i >= 0]
        pool = [(i, s) for i, s in pool if owner[i] != left_out][:k]
        share = np.zeros(classes)
        for index, score in pool:
            share[codes[index]] += np.exp(float(score) / 0.2)
        return share / share.sum()

    figures = []
    for code in range(classes):
        right = pairs = 0.0
        for i in np.flatnonzero(codes == code):
            for j in np.flatnonzero(codes != code):
                mine, its = vote(i, owner[j])[code], vote(j, owner[i])[code]
                weight = weights[owner[i]] * weights[owner[j]]
                right += weight * (0.5 if np.isclose(mine, its, atol=1e-8) else mine > its)
                pairs += weight
        figures.append(right / pairs if pairs else np.nan)
    return figures


@pytest.mark.parametrize("seed", range(6))
def test_it_equals_every_pair_written_out_also_where_subjects_are_resampled(seed):
    vectors, codes, owner = draw_archive(seed, signal=0.5)
    auroc, found = measure(vectors, codes, owner, 3)
    weights = np.random.default_rng(seed).multinomial(12, np.full(12, 1 / 12), size=4).astype(float)
    weights = np.concatenate([np.ones((1, 12)), weights])
    np.testing.assert_allclose(auroc(weights), [naive(found, codes, owner, 3, line) for line in weights], atol=1e-12)


def test_evaluating_in_chunks_changes_nothing(monkeypatch):
    auroc, _ = measure(*draw_archive(1, signal=0.5), 3)
    weights = np.random.default_rng(0).integers(0, 3, (9, 12)).astype(float)
    whole = auroc(weights)
    monkeypatch.setattr(module, "CHUNK", 1)
    np.testing.assert_allclose(auroc(weights), whole, atol=1e-12)


def test_it_is_scikit_learns_where_voters_are_not_judged():
    # 20 scans vote, 30 are judged; the voters' subjects count zero times.
    rng = np.random.default_rng(3)
    codes, owner = rng.integers(0, 3, 50), np.arange(50)
    indices = np.stack([rng.permutation(20)[:5] for _ in range(50)])
    indices[:20] = (indices[:20] + 20) % 50
    found = Neighbours(indices, -np.sort(-rng.uniform(-1, 1, (50, 5)), axis=1))
    auroc = LeavePairOutAuroc(found, codes, owner, 3, k=4, temperature=0.1)
    votes = predict(found.scores[:, :4], codes[indices[:, :4]], 3, temperature=0.1)
    ours = auroc((owner >= 20).astype(float)[None])[0]
    theirs = [roc_auc_score(codes[20:] == code, votes[20:, code]) for code in range(3)]
    np.testing.assert_allclose(ours, theirs)
    assert ours.mean() == pytest.approx(roc_auc_score(codes[20:], votes[20:], multi_class="ovr"))


def test_labels_without_signal_give_one_half_where_pooled_votes_fall_below():
    paired, pooled = [], []
    for seed in range(120):
        vectors = np.random.default_rng(seed).normal(size=(16, 8))
        codes, owner = np.repeat([0, 1], 8), np.arange(16)
        auroc, found = measure(vectors, codes, owner, 2, k=5)
        votes = predict(found.scores[:, :5], codes[found.indices[:, :5]], 2, temperature=0.2)
        paired.append(auroc(np.ones((1, 16)))[0, 1])
        pooled.append(roc_auc_score(codes, votes[:, 1]))
    error = np.std(paired) / np.sqrt(120)
    assert abs(np.mean(paired) - 0.5) < 3 * error
    assert np.mean(pooled) < 0.5 - 3 * error


def test_a_class_without_scans_in_a_resample_is_undefined():
    auroc, _ = measure(np.random.default_rng(0).normal(size=(8, 4)), np.repeat([0, 1], 4), np.arange(8), 2)
    assert np.isnan(auroc(np.array([[1, 1, 1, 1, 0, 0, 0, 0]], float))).all()
