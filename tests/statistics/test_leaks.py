import numpy as np
import pytest

from raptor_search.knn import Neighbours
from raptor_search.statistics.gram import Gram
from raptor_search.statistics.leaks import DuplicatePair, find_leaks, joined


def nearest(vectors, subjects, k=10):
    rows = np.arange(len(vectors))
    scores = Gram(vectors).cosines(rows, rows)
    scores[subjects[:, None] == subjects] = -np.inf
    order = np.argsort(-scores, axis=1)[:, :k]
    return Neighbours(order, np.take_along_axis(scores, order, axis=1))


def draw(seed, subjects=200, planted=30, alike=0.8, d=60):
    """Two scans a subject in four loose groups; some scans filed again under a new subject, a little noisier."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(subjects), 2)
    group = rng.integers(0, 4, subjects)[owner]
    vectors = alike * rng.normal(size=(4, d))[group] + rng.normal(size=(subjects, d))[owner]
    vectors += 0.3 * rng.normal(size=vectors.shape) + 4
    chosen = rng.choice(np.arange(0, len(owner), 2), planted, replace=False)
    copies = vectors[chosen] + 0.08 * rng.normal(size=(planted, d))
    return np.concatenate([vectors, copies]), np.append(owner, subjects + np.arange(planted)), chosen


@pytest.mark.parametrize("alike", [0.2, 0.8, 2.0])
@pytest.mark.parametrize("planted", [5, 100])
def test_planted_duplicates_are_found_and_hardly_anything_else(alike, planted):
    vectors, owner, chosen = draw(1, planted=planted, alike=alike)
    found = find_leaks(nearest(vectors, owner), owner)
    pairs = {(pair.first, pair.second) for pair in found.pairs}
    truth = {(int(first), 400 + place) for place, first in enumerate(chosen)}
    # The other scan of a copied subject is that person too.
    same_person = truth | {(first + 1, second) for first, second in truth}
    assert truth <= pairs
    assert len(pairs & same_person) >= 0.95 * len(pairs)


def test_nothing_is_found_where_nothing_is_planted():
    vectors, owner, _ = draw(2, planted=0)
    assert find_leaks(nearest(vectors, owner), owner).pairs == ()


def test_pairs_on_two_sides_of_a_split_and_subjects_that_straddle_are_counted():
    vectors, owner, _ = draw(3, planted=10)
    splits = ["train"] * 400 + ["test"] * 10
    splits[0] = "test"
    found = find_leaks(nearest(vectors, owner), owner, splits)
    assert found.crossing >= 9
    assert found.straddling == 1
    assert all(pair.score >= found.threshold for pair in found.pairs)
    assert [pair.score for pair in found.pairs] == sorted((pair.score for pair in found.pairs), reverse=True)


def test_joining_follows_chains():
    chain = [DuplicatePair(1, 2, 0.99, crosses=False), DuplicatePair(0, 1, 0.98, crosses=False)]
    assert joined(np.arange(4), chain).tolist() == [0, 0, 0, 1]
    assert joined(np.array([5, 5, 7, 9]), chain).tolist() == [0, 0, 0, 1]


def test_an_archive_without_neighbours_has_no_duplicates():
    empty = Neighbours(np.full((3, 2), -1), np.full((3, 2), -np.inf))
    assert find_leaks(empty, np.arange(3)).pairs == ()
