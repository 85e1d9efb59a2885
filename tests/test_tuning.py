from hashlib import sha256

import numpy as np
import pytest

from raptor_search.index import build, load
from raptor_search.scoring import centred
from raptor_search.tuning import draw_held_out, exact_neighbours, tune


def unit_rows(seed, n, dim=24):
    return centred(np.random.default_rng(seed).normal(size=(n, dim)), np.empty(0))


def opened(data):
    return load(data, sha256=sha256(data).hexdigest())


def test_held_out_scans_are_distinct_and_the_same_every_time():
    rows = draw_held_out(1_000)
    assert len(set(rows.tolist())) == 64
    assert rows.min() >= 0
    assert rows.max() < 1_000
    assert (rows == draw_held_out(1_000)).all()
    assert sorted(draw_held_out(5).tolist()) == [0, 1, 2, 3, 4]


def test_exact_neighbours_equal_a_naive_loop_in_any_blocks():
    vectors = np.random.default_rng(0).normal(2, 1, (90, 30)).astype(np.float16)
    ids = np.arange(90) * 2 + 5
    mean = vectors.mean(axis=0, dtype=np.float32)
    rows = np.array([0, 7, 41])
    blocks = [(ids[a:b], vectors[a:b]) for a, b in ((0, 3), (3, 50), (50, 90))]
    found = exact_neighbours(blocks, ids[rows], centred(vectors[rows], mean), mean)
    wide = vectors.astype(np.float64) - mean
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    for row, near in zip(rows, found, strict=True):
        order = [i for i in np.argsort(-(wide @ wide[row])) if i != row][:10]
        assert near.tolist() == ids[order].tolist()


def test_the_cheapest_settings_that_reach_the_target_are_taken():
    rows, ids = unit_rows(1, 900), np.arange(1, 901)
    index = opened(build(rows, ids, factory="IVF32,SQ8"))
    asking = ids[draw_held_out(900)]
    queries = rows[asking - 1]
    truth = [
        np.array([i for i in ids[np.argsort(-(rows @ q))] if i != own][:10])
        for q, own in zip(queries, asking, strict=True)
    ]
    tuning = tune(index, asking, queries, truth)
    assert tuning.recall >= 0.99
    assert tuning.rerank == 100

    def recall(nprobe):
        answers = index.search(queries, 101, nprobe=nprobe)
        shares = [np.isin(t, a[a != own][:100]).mean() for t, a, own in zip(truth, answers, asking, strict=True)]
        return np.mean(shares)

    assert recall(tuning.nprobe) == tuning.recall
    assert tuning.nprobe == 8 or recall(tuning.nprobe // 2) < 0.99


def test_where_nothing_reaches_the_target_the_widest_settings_say_what_they_reach():
    rows, ids = unit_rows(2, 1_200), np.arange(1, 1_201)
    index = opened(build(rows, ids, factory="IVF16,SQ8"))
    asking, queries = ids[:8], rows[:8]
    # The truth of another geometry: the farthest scans.
    truth = [ids[np.argsort(rows @ q)[:10]] for q in queries]
    tuning = tune(index, asking, queries, truth)
    assert (tuning.nprobe, tuning.rerank) == (16, 800)
    assert tuning.recall == 0


def test_a_flat_index_has_no_lists_to_choose():
    rows, ids = unit_rows(3, 300), np.arange(300)
    asking = ids[draw_held_out(300)]
    truth = [ids[np.argsort(-(rows @ rows[own]))[1:11]] for own in asking]
    tuning = tune(opened(build(rows, ids)), asking, rows[asking], truth)
    assert (tuning.nprobe, tuning.rerank) == (0, 100)
    assert tuning.recall == pytest.approx(1)
