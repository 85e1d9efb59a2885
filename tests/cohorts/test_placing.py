import numpy as np
import pytest

from raptor_search.cohorts.graph import build_graph
from raptor_search.cohorts.placing import Reference, place, reference
from raptor_search.knn import neighbours


def draw(n=200, d=20):
    rng = np.random.default_rng(0)
    group = np.arange(n) % 4
    vectors = 2 * rng.normal(size=(4, d))[group] + rng.normal(size=(n, d))
    coordinates = np.array([[0, 0], [10, 0], [0, 10], [10, 10]])[group] + rng.normal(0, 0.7, (n, 2))
    return vectors, coordinates, group


def test_a_place_by_hand():
    known = Reference(np.array([0.5]), np.array([1.0]))
    coordinates = np.array([[0.0, 0.0], [4.0, 0.0], [9.0, 9.0]])
    (found,) = place(coordinates, np.array([[0, 1, -1]]), np.array([[0.9, 0.7, -np.inf]]), known)
    assert (found.x, found.y) == (pytest.approx(1.0), 0)  # weights 1 / 0.1 and 1 / 0.3


def test_a_scan_like_the_maps_own_lands_among_its_group_with_confidence():
    vectors, coordinates, group = draw()
    mean = vectors[:160].mean(axis=0)
    graph = build_graph(np.arange(160), lambda rows: vectors[:160][rows], mean, k=10)
    known = reference(coordinates[:160], graph)
    found = neighbours(vectors[:160], vectors[160:], k=10, mean=mean)
    placed = place(coordinates[:160], found.indices, found.scores, known)
    centres = np.array([[0, 0], [10, 0], [0, 10], [10, 10]])
    for placement, of in zip(placed, group[160:], strict=True):
        assert np.linalg.norm([placement.x, placement.y] - centres[of]) < 3
    # Confidences of scans that belong are spread evenly: few are low.
    assert 0.15 < np.mean([placement.confidence for placement in placed]) < 0.7
    assert np.mean([placement.confidence < 0.05 for placement in placed]) < 0.25


def test_a_scan_between_the_groups_or_unlike_all_has_no_confidence():
    vectors, coordinates, _ = draw()
    graph = build_graph(np.arange(200), lambda rows: vectors[rows], vectors.mean(axis=0), k=10)
    known = reference(coordinates, graph)
    torn = place(coordinates, np.array([[0, 1, 2, 3]]), np.full((1, 4), 0.8), known)[0]
    unlike = place(coordinates, graph.indices[:1], np.full((1, 10), -0.1), known)[0]
    assert torn.confidence < 0.02
    assert unlike.confidence < 0.02


def test_placing_moves_nobody_and_does_not_depend_on_who_else_is_placed():
    vectors, coordinates, _ = draw()
    before = coordinates.copy()
    graph = build_graph(np.arange(200), lambda rows: vectors[rows], vectors.mean(axis=0), k=10)
    known = reference(coordinates, graph)
    together = place(coordinates, graph.indices[:5], graph.scores[:5], known)
    alone = [place(coordinates, graph.indices[n : n + 1], graph.scores[n : n + 1], known)[0] for n in range(5)]
    assert together == alone
    assert (coordinates == before).all()


def test_an_identical_scan_lies_where_its_copy_does():
    _, coordinates, _ = draw()
    known = Reference(np.linspace(0, 1, 50), np.linspace(0, 3, 50))
    (found,) = place(coordinates, np.array([[7, 9]]), np.array([[1.0, 0.3]]), known)
    assert (found.x, found.y) == (
        pytest.approx(coordinates[7, 0], abs=1e-3),
        pytest.approx(coordinates[7, 1], abs=1e-3),
    )
