import numpy as np
import pytest

from raptor_search.cohorts.graph import KnnGraph, build_graph
from raptor_search.diffusion import CLAMPING, compare, propose_by_spreading, spread
from raptor_search.errors import QueryError


def draw(seed=0, subjects=60, signal=1.2, d=24):
    """Two scans a subject, three classes."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(subjects), 2)
    codes = (np.arange(subjects) % 3)[owner]
    vectors = signal * rng.normal(size=(3, d))[codes] + rng.normal(size=(subjects, d))[owner]
    vectors += 0.3 * rng.normal(size=vectors.shape)
    graph = build_graph(np.arange(len(owner)), lambda rows: vectors[rows], vectors.mean(axis=0), k=30)
    return graph, [f"c{code}" for code in codes], [f"s{one}" for one in owner]


def hide(labels, groups, every=4):
    return [label if int(group[1:]) % every else None for label, group in zip(labels, groups, strict=True)]


def dense(graph, temperature=0.1):
    weights = np.zeros((len(graph), len(graph)))
    for row in range(len(graph)):
        for other, score in zip(graph.indices[row], graph.scores[row], strict=True):
            weights[row, other] = max(weights[row, other], np.exp((float(score) - 1) / temperature))
    return np.maximum(weights, weights.T)


def test_shares_are_those_of_the_closed_form():
    graph, labels, _ = draw()
    codes = np.array([int(label[1]) for label in labels])
    codes[::2] = -1
    found = spread(graph, codes, 3)
    weights = dense(graph)
    root = 1 / np.sqrt(weights.sum(axis=1))
    given = np.eye(3)[codes] * (codes >= 0)[:, None]
    exact = np.linalg.inv(np.eye(len(codes)) - CLAMPING * root[:, None] * weights * root) @ given
    np.testing.assert_allclose(found, exact / exact.sum(axis=1, keepdims=True), atol=2e-3)


def test_a_scan_that_no_label_reaches_gets_no_share():
    indices = np.array([[1], [0], [3], [2]])
    graph = KnnGraph(np.arange(4), indices, np.full((4, 1), 0.9, np.float32), True)
    found = spread(graph, np.array([0, 1, -1, -1]), 2)
    assert found[:2].sum(axis=1) == pytest.approx([1, 1])
    assert (found[2:] == 0).all()


def test_hidden_labels_are_proposed_back_with_neighbours_for_and_against():
    graph, labels, groups = draw()
    given = hide(labels, groups)
    found = propose_by_spreading(graph, given, groups, coverage=0.9)
    assert [item.index for item in found.items] == [row for row, value in enumerate(given) if value is None]
    assert np.mean([item.value == labels[item.index] for item in found.items]) > 0.9
    assert found.confidence_kind == "calibrated"
    for item in found.items:
        voters = item.supporting + item.opposing
        assert all(given[voter.index] == voter.value for voter in voters)
        assert all(groups[voter.index] != groups[item.index] for voter in voters)
        assert (item.abstained is None) == (len(item.plausible) == 1 and item.confidence >= 0.6)


def test_a_scan_that_no_label_reaches_abstains_and_says_so():
    graph, labels, groups = draw()
    alone = np.full((1, 30), -1)
    lonely = KnnGraph(
        np.arange(121),
        np.concatenate([graph.indices, alone]),
        np.concatenate([graph.scores, np.full((1, 30), -np.inf, np.float32)]),
        True,
    )
    found = propose_by_spreading(lonely, [*labels, None], [*groups, "lonely"])
    (item,) = found.items
    assert (item.value, item.confidence) == (None, 0)
    assert item.abstained == "no label reaches it over the graph"


def test_a_subjects_own_scans_do_not_spread_its_label():
    graph, _, groups = draw(signal=0)
    rng = np.random.default_rng(9)
    shuffled = [f"c{code}" for code in rng.integers(0, 3, 60).repeat(2)]
    found = compare(graph, shuffled, groups, resamples=20)
    for figures in (found.votes, found.spreading):
        auroc = figures[0]
        assert auroc.low <= 0.5 <= auroc.high


def test_votes_and_spreading_are_compared_on_the_same_hidden_labels():
    graph, labels, groups = draw(signal=0.7)
    found = compare(graph, hide(labels, groups), groups, resamples=50)
    assert found.subjects == 45
    votes, spreading = ({one.name: one.value for one in side} for side in (found.votes, found.spreading))
    assert votes["AUROC"] > 0.75
    assert spreading["AUROC"] > 0.75
    gap = next(one for one in found.differences if one.figure == "AUROC")
    assert gap.value == pytest.approx(votes["AUROC"] - spreading["AUROC"])
    assert gap.low <= gap.value <= gap.high


def few(labels, groups, subjects):
    return [label if int(group[1:]) < subjects else None for label, group in zip(labels, groups, strict=True)]


def test_with_few_labelled_subjects_confidence_is_a_share_and_said_to_be_one():
    graph, labels, groups = draw()
    given = few(labels, groups, 20)
    found = propose_by_spreading(graph, given, groups, coverage=0.9)
    assert found.confidence_kind == "vote share"
    assert any("20 labelled subjects: confidence is the share of what spread" in note for note in found.notes)
    assert any("too few for sets that cover 90%" in note for note in found.notes)
    assert np.mean([item.value == labels[item.index] for item in found.items]) > 0.8
    codes = np.array([-1 if value is None else int(value[1]) for value in given])
    shares = spread(graph.without(np.array([int(group[1:]) for group in groups]), graph.indices.shape[1]), codes, 3)
    assert [item.confidence for item in found.items] == pytest.approx(shares.max(axis=1)[codes < 0].tolist())


def test_few_labelled_subjects_are_compared_and_the_intervals_said_to_be_rough():
    graph, labels, groups = draw()
    found = compare(graph, few(labels, groups, 12), groups, resamples=50)
    assert found.subjects == 12
    assert found.notes == ("12 labelled subjects: below 100 the intervals of the comparison are rough",)


def test_fewer_subjects_than_folds_are_not_compared():
    graph, labels, groups = draw()
    with pytest.raises(QueryError, match=r"4 labelled subjects; .* from 5 on: label scans of more patients, or leave"):
        compare(graph, few(labels, groups, 4), groups, name="finding")
