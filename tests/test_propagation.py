import math

import numpy as np
import pytest

from raptor_search.errors import QueryError
from raptor_search.propagation import propose


def draw_cohort(seed, subjects=60, classes=3, signal=1.0, d=40):
    """Two float16 scans a subject; a class shift of the given size; a far common mean."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(rng.integers(0, classes, subjects), 2)
    owner = np.repeat(np.arange(subjects), 2)
    vectors = signal * np.random.default_rng(99).normal(size=(classes, d))[codes]
    vectors += rng.normal(size=(subjects, d))[owner] + 0.3 * rng.normal(size=vectors.shape) + 4
    return vectors.astype(np.float16), [f"c{code}" for code in codes], [f"s{subject}" for subject in owner]


def hide(labels, rows):
    return [None if row in rows else label for row, label in enumerate(labels)]


def test_hidden_labels_are_proposed_back_for_the_unlabelled_alone():
    vectors, labels, groups = draw_cohort(0)
    hidden = set(range(0, 24))
    result = propose(vectors, hide(labels, hidden), groups)
    assert [item.index for item in result.items] == sorted(hidden)
    assert [item.value for item in result.items] == labels[:24]
    assert all(item.abstained is None for item in result.items)
    assert result.labelled, result.subjects == (96, 48)
    assert result.classes == ("c0", "c1", "c2")


def test_neighbours_for_and_against_by_hand():
    angles = np.deg2rad([0, 10, 20, 40, 180])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    result = propose(vectors, [None, "a", "b", "a", "b"], k=3, temperature=0.1, mean=np.zeros(2), min_confidence=0)
    item = result.items[0]
    cosines = np.cos(np.deg2rad([10, 20, 40]))
    weights = np.exp(cosines / 0.1) / np.exp(cosines / 0.1).sum()
    assert item.value == "a"
    assert [voter.index for voter in item.supporting] == [1, 3]
    assert [voter.index for voter in item.opposing] == [2]
    assert [voter.value for voter in item.supporting + item.opposing] == ["a", "a", "b"]
    assert [voter.score for voter in item.supporting] == pytest.approx([cosines[0], cosines[2]])
    assert [voter.weight for voter in item.supporting] == pytest.approx([weights[0], weights[2]], abs=1e-5)
    assert item.confidence == pytest.approx(weights[0] + weights[2], abs=1e-5)
    assert result.confidence_kind == "vote share"
    assert "4 labelled subjects: confidence is the share of the votes" in result.notes[-1]


def test_a_scans_own_subject_does_not_vote():
    vectors, labels, groups = draw_cohort(1, signal=0.4)
    result = propose(vectors, hide(labels, set(range(0, 120, 2))), groups)
    for item in result.items:
        assert item.index + 1 not in [voter.index for voter in item.supporting + item.opposing]


def test_where_only_the_own_subject_is_labelled_nothing_is_proposed():
    vectors = np.random.default_rng(0).normal(size=(3, 8))
    item = propose(vectors, [None, "a", "b"], ["x", "x", "x"], k=2).items[0]
    assert (item.value, item.confidence, item.supporting, item.opposing) == (None, 0.0, (), ())
    assert item.abstained == "no labelled scan of another subject"


def test_calibrated_confidence_is_the_share_of_right_proposals_where_the_vote_share_is_not():
    calibrated, shares, right = [], [], []
    for seed in range(8):
        vectors, labels, groups = draw_cohort(seed, subjects=200, signal=0.3)
        hidden = set(range(200))
        result = propose(vectors, hide(labels, hidden), groups, temperature=0.03)
        assert result.confidence_kind == "calibrated"
        for item in result.items:
            calibrated.append(item.confidence)
            shares.append(sum(voter.weight for voter in item.supporting))
            right.append(item.value == labels[item.index])
    calibrated, shares, right = np.array(calibrated), np.array(shares), np.array(right)
    assert abs(calibrated.mean() - right.mean()) < 0.04
    assert shares.mean() - right.mean() > 0.1
    assert np.mean((calibrated - right) ** 2) < np.mean((shares - right) ** 2) - 0.02
    sure = calibrated > np.median(calibrated)
    assert right[sure].mean() > right[~sure].mean() + 0.1


def test_labels_without_signal_earn_no_confidence():
    items = []
    for seed in range(10):
        vectors, labels, groups = draw_cohort(seed, subjects=120, classes=2)
        dealt = np.repeat(np.random.default_rng(seed).permutation(labels[::2]), 2).tolist()
        items += propose(vectors, hide(dealt, set(range(40))), groups, min_confidence=0.7).items
    assert np.mean([item.confidence for item in items]) == pytest.approx(0.5, abs=0.06)
    assert np.mean([item.abstained is None for item in items]) < 0.05
    near = [item for item in items if "far from" not in (item.abstained or "")]
    assert len(near) > 0.9 * len(items)
    told = [item for item in near if item.abstained is not None]
    assert all(
        item.abstained == f"confidence {math.floor(100 * item.confidence) / 100:.2f} is below 0.70" for item in told
    )


def test_all_right_is_no_certainty():
    vectors, labels, groups = draw_cohort(4, signal=5)
    result = propose(vectors, hide(labels, set(range(10))), groups)
    assert all(0.9 < item.confidence < 1 for item in result.items)


def test_a_scan_far_from_the_labelled_ones_is_left_alone():
    vectors, labels, groups = draw_cohort(5)
    stranger = (10 * np.random.default_rng(8).normal(size=(1, 40)) + 4).astype(np.float16)
    labelled_mean = vectors.mean(axis=0, dtype=np.float64)
    result = propose(np.concatenate([vectors, stranger]), [*labels, None], [*groups, "new"], mean=labelled_mean)
    assert result.items[0].abstained.startswith("far from the labelled scans: its nearest scores ")
    assert result.items[0].abstained.endswith("0 of 120 labelled scans are that far from theirs")


def test_only_candidates_are_asked_about():
    vectors, labels, groups = draw_cohort(6)
    hidden = hide(labels, {3, 5, 8})
    full, part = propose(vectors, hidden, groups), propose(vectors, hidden, groups, candidates=[8, 3])
    assert [item.index for item in part.items] == [3, 8]
    assert part.items == (full.items[0], full.items[2])
    with pytest.raises(ValueError, match="has a label already"):
        propose(vectors, hidden, groups, candidates=[4])


def test_with_everything_labelled_there_is_nothing_to_propose():
    vectors, labels, groups = draw_cohort(7)
    assert propose(vectors, labels, groups).items == ()


def test_copies_under_other_subjects_do_not_raise_the_confidence():
    vectors, labels, groups = draw_cohort(8, subjects=80, signal=0.3)
    hidden = set(range(40))
    honest = propose(vectors, hide(labels, hidden), groups)
    copies = np.concatenate([vectors, vectors[40:]])
    planted = propose(copies, hide(labels, hidden) + labels[40:], groups + [f"{group}-again" for group in groups[40:]])
    assert planted.subjects == honest.subjects
    assert any("joined" in note for note in planted.notes)
    sure = [np.mean([item.confidence for item in result.items]) for result in (honest, planted)]
    assert sure[1] < sure[0] + 0.1


def test_the_same_call_gives_the_same_proposals():
    vectors, labels, groups = draw_cohort(9, signal=0.4)
    hidden = hide(labels, set(range(30)))
    assert propose(vectors, hidden, groups).items == propose(vectors, hidden, groups).items


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([None] * 5, "none of 5 scans has a value"),
        (["a", "a", "a", None, None], "all 3 labelled scans have the value 'a'"),
        (["a", "b", None, None, None], "2 labelled scans; a vote takes 5: label more, or choose k"),
        ([f"{n}.5" for n in range(22)] + [None], "look continuous"),
    ],
)
def test_a_label_that_cannot_be_spread_is_refused_in_one_sentence(labels, message):
    with pytest.raises(QueryError, match=message):
        propose(np.random.default_rng(0).normal(size=(len(labels), 4)), labels, name="finding")


def test_ten_vote_or_all_where_fewer_are_labelled():
    vectors = np.random.default_rng(0).normal(size=(30, 6))
    for labelled, voters in ((25, 10), (7, 7)):
        labels = [("a", "b")[row % 2] if row < labelled else None for row in range(30)]
        found = propose(vectors, labels, candidates=[29], name="finding")
        assert len(found.items[0].supporting + found.items[0].opposing) == voters
    with pytest.raises(QueryError, match="8 neighbours asked of 7 labelled scans"):
        propose(vectors, labels, k=8, name="finding")


def test_labels_of_another_length_are_refused():
    with pytest.raises(ValueError, match="1 labels for 2 vectors"):
        propose(np.zeros((2, 2)), ["a"])


def test_sets_hold_the_truth_as_often_as_asked_and_decide_who_abstains():
    inside, lines = [], 0
    for seed in range(6):
        vectors, labels, groups = draw_cohort(seed, subjects=160, signal=0.45)
        hidden = set(range(160))
        found = propose(vectors, hide(labels, hidden), groups, coverage=0.8, min_confidence=0)
        for item in found.items:
            inside.append(labels[item.index] in item.plausible)
            if item.abstained is None:
                assert len(item.plausible) == 1
            lines += item.abstained is not None and "cannot be told apart" in item.abstained
    assert abs(np.mean(inside) - 0.8) < 0.05
    assert lines > 0


def test_too_few_subjects_for_a_coverage_are_said():
    vectors, labels, groups = draw_cohort(1, subjects=60)
    found = propose(vectors, hide(labels, set(range(40))), groups, coverage=0.99)
    assert all(item.plausible is None for item in found.items)
    assert any("too few for sets that cover 99%" in note for note in found.notes)
    few = propose(vectors, hide(labels, set(range(12, len(labels)))), groups, coverage=0.8)
    assert any("labelled subjects: too few for sets that cover 80%" in note for note in few.notes)
