import numpy as np
import pytest

from raptor_search.statistics.splitting import fold_numbers, folds, given_split


def draw(seed=0, subjects=60):
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(subjects), rng.integers(1, 4, subjects))
    return rng.integers(0, 3, subjects)[owner], owner


def test_every_scan_is_tested_once_and_no_subject_is_on_two_sides():
    codes, owner = draw()
    parts = folds(codes, owner)
    assert sorted(np.concatenate([part.test for part in parts])) == list(range(len(codes)))
    for part in parts:
        assert len(part.train) + len(part.val) + len(part.test) == len(codes)
        sides = [set(owner[rows]) for rows in (part.train, part.val, part.test)]
        assert all(sides)
        assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]


def test_classes_are_dealt_as_evenly_as_whole_subjects_allow():
    codes = np.array([0] * 40 + [1] * 10)
    fold = fold_numbers(codes, np.arange(50), 5, seed=3)
    assert np.bincount(fold[codes == 0]).tolist() == [8] * 5
    assert np.bincount(fold[codes == 1]).tolist() == [2] * 5


def test_the_same_seed_deals_the_same_folds_and_another_others():
    codes, owner = draw()
    first = fold_numbers(codes, owner, 5, seed=1)
    assert (first == fold_numbers(codes, owner, 5, seed=1)).all()
    assert (first != fold_numbers(codes, owner, 5, seed=2)).any()


def test_a_given_split_is_obeyed():
    part, notes = given_split(["train", "test", "val", "TRAIN ", "test"], np.arange(5))
    assert part.train.tolist() == [0, 3]
    assert part.val.tolist() == [2]
    assert part.test.tolist() == [1, 4]
    assert notes == ()


def test_a_subject_on_two_sides_keeps_its_test_scans_alone_and_a_note_says_so():
    part, notes = given_split(["train", "test", "val", "train", "train", "val"], np.array([0, 0, 1, 1, 2, 2]))
    assert part is None
    assert "folds of subjects" in notes[-1]
    part, notes = given_split(["train", "test", "val", "train", "train", "train"], np.array([0, 0, 1, 1, 2, 3]))
    assert part.train.tolist() == [4, 5]
    assert part.val.tolist() == [2]
    assert part.test.tolist() == [1]
    assert notes[0].startswith("2 scans were left out")


def test_scans_outside_the_split_and_a_missing_validation_part_are_said():
    part, notes = given_split(["train"] * 10 + ["test", None], np.arange(12))
    assert len(part.val) == 2
    assert len(part.train) == 8
    assert any("1 scans are in no part" in note for note in notes)
    assert any("no validation part" in note for note in notes)


@pytest.mark.parametrize("values", [[None] * 3, ["train"] * 3, ["site A", "site B", "site A"]])
def test_a_column_without_both_parts_is_no_split(values):
    assert given_split(values, np.arange(3)) == (None, ())


def test_one_training_subject_cannot_be_validated_on_too():
    part, notes = given_split(["train", "train", "test", "test"], np.array([0, 0, 1, 2]))
    assert part is None
    assert "one subject to train on" in notes[-1]
    assert "folds of subjects" in notes[-1]
