import numpy as np
import pytest

from raptor_search.scoring import centred
from raptor_search.searching.truth import draw_held_out, exact_neighbours, passes


def test_held_out_scans_are_distinct_and_the_same_every_time():
    rows = draw_held_out(1_000)
    assert len(set(rows.tolist())) == 400
    assert rows.min() >= 0
    assert rows.max() < 1_000
    assert (rows == draw_held_out(1_000)).all()
    assert sorted(draw_held_out(5).tolist()) == [0, 1, 2, 3, 4]
    assert [draw_held_out(many).size for many in (300, 20_000, 40_000, 10**6)] == [300, 400, 800, 1_000]


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_a_drawn_filter_lets_its_share_through_whatever_the_ids(share):
    for ids in (np.arange(100_000), np.arange(100_000) * 64 + 7):
        assert passes(ids, share).mean() == pytest.approx(share, abs=4 * np.sqrt(share / 100_000))


def test_smaller_shares_are_among_larger_ones():
    ids = np.arange(20_000)
    assert passes(ids, 1.0).all()
    assert not (passes(ids, 0.05) & ~passes(ids, 0.3)).any()


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_exact_neighbours_equal_a_naive_loop_in_any_blocks(share):
    vectors = np.random.default_rng(0).normal(2, 1, (90, 30)).astype(np.float16)
    ids = np.arange(90) * 2 + 5
    mean = vectors.mean(axis=0, dtype=np.float32)
    rows = np.array([0, 7, 41])
    blocks = [(ids[a:b], vectors[a:b]) for a, b in ((0, 3), (3, 50), (50, 90))]
    found = exact_neighbours(blocks, ids[rows], centred(vectors[rows], mean), mean, (1.0, share))
    wide = vectors.astype(np.float64) - mean
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    for row, near in zip(rows, found[share], strict=True):
        order = [i for i in np.argsort(-(wide @ wide[row])) if i != row and passes(ids[i : i + 1], share)[0]]
        assert near.tolist() == ids[order[:10]].tolist()


def test_fewer_neighbours_than_ten_are_those_there_are():
    vectors = np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)
    found = exact_neighbours(
        [(np.arange(1, 5), vectors)], np.array([2]), centred(vectors[1:2], np.empty(0)), np.empty(0)
    )
    assert sorted(found[1.0][0].tolist()) == [1, 3, 4]
