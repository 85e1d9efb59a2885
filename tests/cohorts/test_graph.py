import numpy as np
import pytest

from raptor_search.cohorts import graph as module
from raptor_search.cohorts.graph import build_graph
from raptor_search.knn import neighbours


def draw(n=90, d=40):
    rng = np.random.default_rng(0)
    return (rng.normal(size=(8, d))[rng.integers(0, 8, n)] + 0.6 * rng.normal(size=(n, d)) + 5).astype(np.float16)


def unit(vectors):
    centred = vectors.astype(np.float32) - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


@pytest.mark.parametrize("block", [7, 1024])
def test_every_pair_is_scored_whatever_the_blocks(monkeypatch, block):
    monkeypatch.setattr(module, "BLOCK", block)
    vectors = draw()
    mean = vectors.mean(axis=0, dtype=np.float64)
    found = build_graph(np.arange(100, 190), lambda rows: vectors[rows], mean, k=12)
    exact = neighbours(vectors, k=12, mean=mean)
    assert found.is_exact
    assert found.ids.tolist() == list(range(100, 190))
    np.testing.assert_allclose(found.scores, exact.scores, atol=1e-5)
    assert (found.indices == exact.indices).mean() > 0.99


def test_identical_scans_are_each_others_nearest_and_ties_go_to_the_lower_row(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 4)
    vectors = draw(20)
    vectors[[3, 9, 15]] = vectors[3]
    found = build_graph(np.arange(20), lambda rows: vectors[rows], vectors.mean(axis=0, dtype=np.float64), k=3)
    assert found.indices[3, :2].tolist() == [9, 15]
    assert found.indices[15, :2].tolist() == [3, 9]
    np.testing.assert_allclose(found.scores[3, :2], 1, atol=1e-5)


def test_a_scan_is_never_its_own_neighbour_and_short_lists_are_padded():
    vectors = draw(4)
    found = build_graph(np.arange(4), lambda rows: vectors[rows], np.zeros(40), k=10)
    assert found.indices.shape == (4, 3)
    assert (found.indices != np.arange(4)[:, None]).all()
    one = build_graph(np.arange(1), lambda rows: vectors[:1][rows], np.zeros(40))
    assert one.indices.tolist() == [[-1]]


def test_a_larger_archive_scores_what_the_index_proposes(monkeypatch):
    monkeypatch.setattr(module, "CANDIDATES", 60)
    vectors = draw(400)
    mean = vectors.mean(axis=0, dtype=np.float64)
    exact = build_graph(np.arange(400), lambda rows: vectors[rows], mean, k=8)
    found = build_graph(
        np.arange(400), lambda rows: vectors[rows], mean, sketches=unit(vectors)[:, :24].copy(), k=8, exact_up_to=100
    )
    assert not found.is_exact
    overlap = [len(set(a) & set(b)) / 8 for a, b in zip(exact.indices, found.indices, strict=True)]
    assert np.mean(overlap) > 0.9
    known = {(r, i): s for r, line in enumerate(exact.indices) for i, s in zip(line, exact.scores[r], strict=True)}
    for row in range(400):
        for index, score in zip(found.indices[row], found.scores[row], strict=True):
            assert score == pytest.approx(known.get((row, index), score), abs=1e-5)


def test_a_larger_archive_is_sought_by_fewer_numbers_and_scored_by_all(monkeypatch):
    monkeypatch.setattr(module, "CANDIDATES", 40)
    monkeypatch.setattr(module, "PAIRED", (60, 120))
    monkeypatch.setattr(module, "is_narrowed", lambda factory: True)
    asked = []
    build = module.build
    monkeypatch.setattr(module, "build", lambda vectors, ids: asked.append(vectors.shape) or build(vectors, ids))
    vectors = draw(600, 300)
    mean = vectors.mean(axis=0, dtype=np.float64)
    found = build_graph(np.arange(600), lambda rows: vectors[rows], mean, sketches=unit(vectors), k=8, exact_up_to=100)
    assert asked == [(600, 128)]
    exact = build_graph(np.arange(600), lambda rows: vectors[rows], mean, k=8)
    overlap = [len(set(a) & set(b)) / 8 for a, b in zip(exact.indices, found.indices, strict=True)]
    assert np.mean(overlap) > 0.9
    scores = np.take_along_axis(unit(vectors) @ unit(vectors).T, found.indices, axis=1)
    np.testing.assert_allclose(found.scores, scores, atol=1e-5)
    assert (found.indices != np.arange(600)[:, None]).all()


def test_scans_that_lie_together_follow_each_other(monkeypatch):
    monkeypatch.setattr(module, "PIVOTS", (64, 16, 4))
    rng = np.random.default_rng(0)
    group = rng.integers(0, 12, 600)
    vectors = (rng.normal(size=(12, 40))[group] + 0.3 * rng.normal(size=(600, 40))).astype(np.float32)
    order = module._like_by_like(vectors)
    assert np.sort(order).tolist() == list(range(600))
    assert (np.diff(group[order]) != 0).sum() < 40


def test_a_larger_archive_without_sketches_is_refused():
    with pytest.raises(ValueError, match="90 scans without sketches; expected at most 10"):
        build_graph(np.arange(90), lambda rows: draw()[rows], np.zeros(40), exact_up_to=10)


def test_a_subjects_own_scans_are_passed_over():
    vectors = draw(60)
    owner = np.arange(60) // 3
    whole = build_graph(np.arange(60), lambda rows: vectors[rows], vectors.mean(axis=0, dtype=np.float64), k=20)
    found = whole.without(owner, 5)
    exact = neighbours(vectors, k=5, mean=vectors.mean(axis=0, dtype=np.float64), groups=owner)
    assert (found.indices == exact.indices).all()
    assert (owner[found.indices] != owner[:, None]).all()
    alone = whole.without(np.zeros(60, np.int64), 5)
    assert (alone.indices == -1).all()


def test_how_far_it_is_can_be_heard(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 40)
    vectors, heard = draw(), []
    build_graph(np.arange(90), lambda rows: vectors[rows], np.zeros(40), progress=lambda *done: heard.append(done))
    assert heard == [(40, 90), (80, 90), (90, 90)]
