import numpy as np
import pytest

from raptor_search.errors import QueryError
from raptor_search.statistics.classes import join_duplicates, read_classes, subject_codes


def test_values_become_sorted_classes_and_missing_ones_none():
    read = read_classes(["T2w", None, "T1w", " T2w ", "", float("nan")])
    assert read.names == ("T1w", "T2w")
    assert read.codes.tolist() == [1, -1, 0, 1, -1, -1]


def test_numbers_sort_as_numbers_and_their_texts_are_the_same_class():
    read = read_classes([10, 9.0, "9", 2.5])
    assert read.names == ("2.5", "9", "10")
    assert read.codes.tolist() == [2, 1, 1, 0]


def test_truth_values_are_classes():
    assert read_classes([True, False, None, np.True_]).codes.tolist() == [1, 0, -1, 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([None, "", float("nan")], "none of 3 scans has a value"),
        ([], "none of 0 scans"),
        (["CT", None, "CT"], "all 2 labelled scans have the value 'CT'"),
        ([0.1 * n for n in range(60)] * 3, "60 distinct numbers in 180 scans look continuous"),
        ([31.0, 45.0, 52.0, 61.0, 44.0, 70.0, 28.0, 39.0, 83.0, 66.0, 57.0, 44.0], "11 distinct numbers in 12 scans"),
        ([f"remark {n}" for n in range(201)], "201 distinct values; expected at most 200 classes"),
    ],
)
def test_a_label_that_has_no_classes_is_refused_in_one_sentence(values, message):
    with pytest.raises(QueryError, match=message) as caught:
        read_classes(values, name="diagnosis")
    assert caught.value.message.startswith("label 'diagnosis': ")


def test_eleven_organ_codes_are_classes():
    assert read_classes(list(range(11)) * 5).names == tuple(map(str, range(11)))


def test_subjects_are_numbered_and_unknown_ones_stand_alone():
    codes, notes = subject_codes(["b", None, "b", None, "a"], 5)
    assert codes.tolist() == [0, 1, 0, 2, 3]
    assert notes == ("2 of 5 scans name no subject: each of them counts as a subject of its own",)


def test_without_any_subject_every_scan_is_one_and_that_is_said():
    codes, notes = subject_codes(None, 3)
    assert codes.tolist() == [0, 1, 2]
    assert notes == ("no scan names its subject: each of them counts as a subject of its own",)


def test_known_subjects_need_no_note():
    assert subject_codes(["a", "a"], 2)[1] == ()


def test_groups_of_another_length_are_refused():
    with pytest.raises(ValueError, match="2 groups for 3 scans"):
        subject_codes(["a", "b"], 3)


def test_subjects_that_share_a_scan_are_joined_through_others_too():
    vectors = np.array([[1, 1], [2, 2], [2, 2], [3, 3], [3, 3], [4, 4]], np.float16)
    codes, notes = join_duplicates(np.array([0, 0, 1, 1, 2, 3]), vectors)
    assert codes.tolist() == [0, 0, 0, 0, 0, 1]
    assert "leaves 2 subjects" in notes[0]


def test_a_subject_scanned_twice_alike_stays_one_without_a_note():
    codes, notes = join_duplicates(np.array([0, 0, 1]), np.array([[1.0], [1.0], [2.0]]))
    assert codes.tolist() == [0, 0, 1]
    assert notes == ()
