import numpy as np

from raptor_search.scoring import centred
from raptor_search.statistics.duplicates import collapsed


def collapse(contents, vectors, wanted, gone=()):
    units = centred(np.asarray(vectors, np.float32), np.empty(0))

    def units_of(ids):
        there = ids[~np.isin(ids, list(gone))]
        return there, units[there]

    return collapsed(np.arange(len(contents)), wanted, lambda ids: [contents[i] for i in ids], units_of)


def rows(n, dim=40):
    return np.random.default_rng(0).normal(size=(n, dim))


def test_equal_bytes_and_equal_embeddings_are_collapsed_into_the_best():
    vectors = rows(6)
    vectors[3] = vectors[1] * 2  # the same direction: another file of the same scan
    assert collapse(["a", "b", "a", "c", "d", "e"], vectors, 3) == {0: [2], 1: [3], 4: []}


def test_near_is_not_equal():
    vectors = np.repeat(rows(1), 2, axis=0)
    vectors[1] += 0.05 * rows(2)[1]
    assert collapse(["a", "b"], vectors, 2) == {0: [], 1: []}


def test_a_scan_that_is_gone_is_passed_over():
    vectors = rows(4)
    assert collapse(["a", None, "b", "c"], vectors, 2) == {0: [], 2: []}
    assert collapse(["a", "b", "c", "d"], vectors, 2, gone=[0]) == {1: [], 2: []}


def test_a_ranking_longer_than_a_step_is_looked_at_until_there_are_enough():
    contents = ["same"] * 150 + ["other"]
    found = collapse(contents, np.concatenate([np.repeat(rows(1), 150, axis=0), rows(2)[1:]]), 2)
    assert list(found) == [0, 150]
    assert len(found[0]) == 149
