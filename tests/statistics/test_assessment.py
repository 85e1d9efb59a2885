import json

import numpy as np
import pytest

from raptor_search.errors import QueryError
from raptor_search.statistics import leaks
from raptor_search.statistics.assessment import evaluate_classes, evaluate_numbers
from raptor_search.statistics.retrieval import FIGURES


def draw_cohort(seed, subjects=60, classes=2, signal=1.0, d=24):
    """Two float16 scans a subject; every subject has one class."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(subjects), 2)
    codes = rng.permutation(np.arange(subjects) % classes)[owner]
    vectors = signal * rng.normal(size=(classes, d))[codes] + rng.normal(size=(subjects, d))[owner]
    vectors += 0.3 * rng.normal(size=vectors.shape) + 4
    return vectors.astype(np.float16), [f"c{code}" for code in codes], [f"s{one}" for one in owner]


def evaluate(vectors, labels, groups=None, **settings):
    settings = {"with_curve": False, "resamples": 60, **settings}
    return evaluate_classes({"own": vectors}, labels, groups, **settings)


def test_a_label_that_the_vectors_carry_is_told_above_both_baselines():
    found = evaluate(*draw_cohort(0, subjects=120, classes=3), with_curve=True)
    assert (found.scans, found.subjects, found.notes) == (240, 120, ())
    for method in found.methods:
        for figure in method.figures[:4]:
            assert figure.low <= figure.value <= figure.high
            assert figure.low > max(figure.majority, figure.random)
        assert method.confusion.sum() == 240
        assert [point.subjects for point in method.curve] == [10, 30, 96]
        assert method.curve[-1].auroc > method.curve[0].auroc
    retrieval = {one.name: one for one in found.vectors[0].retrieval}
    assert list(retrieval) == list(FIGURES)
    assert retrieval["P@1"].low > retrieval["P@1"].random
    assert found.vectors[0].by_class.shape == (3, len(FIGURES))
    assert json.loads(json.dumps(found.to_dict()))["classes"] == ["c0", "c1", "c2"]


def test_shuffled_labels_give_chance_with_every_setting_chosen_by_cross_validation():
    values, held = {"knn": [], "logistic": []}, {"knn": 0, "logistic": 0}
    for seed in range(16):
        vectors, _, groups = draw_cohort(seed)
        _, labels, _ = draw_cohort(1000 + seed)
        for method in evaluate(vectors, labels, groups, resamples=2).methods:
            auroc = method.figure("AUROC")
            values[method.method].append(auroc.value)
            held[method.method] += auroc.low <= 0.5 <= auroc.high
    for method, found in values.items():
        assert abs(np.mean(found) - 0.5) < 3 * np.std(found) / np.sqrt(16)
        assert held[method] >= 13


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_same_scans_filed_under_other_subjects_do_not_raise_the_figures(noise, monkeypatch):
    vectors, _, groups = draw_cohort(5)
    _, labels, _ = draw_cohort(77)
    rng = np.random.default_rng(0)
    again = (vectors + noise * rng.normal(size=vectors.shape)).astype(np.float16)
    both = np.concatenate([vectors, again])
    found = evaluate(both, labels * 2, groups + [f"{group}-again" for group in groups])
    for method in found.methods:
        auroc = method.figure("AUROC")
        assert auroc.low <= 0.5 <= auroc.high
    assert any("identical" in note or "near-duplicates" in note for note in found.notes)
    # Where they are not recognised, each is told by its own copy.
    monkeypatch.setattr(leaks, "FLOOR", 2)
    blind = evaluate((both + 0.01 * rng.normal(size=both.shape)).astype(np.float16), labels * 2, None, methods=["knn"])
    assert blind.methods[0].figure("AUROC").low > 0.7


def test_a_given_split_is_obeyed_and_training_alone_decides():
    vectors, labels, groups = draw_cohort(1, subjects=100)
    splits = [("train", "train", "train", "val", "test")[int(group[1:]) % 5] for group in groups]
    found = evaluate(vectors, labels, groups, splits=splits)
    assert found.protocol == "the given split: 120 training, 40 validation and 40 test scans"
    assert {splits[row] for row in found.tested} == {"test"}
    # The answers do not change when the labels of the test part do.
    lied = [
        ("c1" if label == "c0" else "c0") if part == "test" else label
        for label, part in zip(labels, splits, strict=True)
    ]
    other = evaluate(vectors, lied, groups, splits=splits)
    for one, two in zip(found.methods, other.methods, strict=True):
        assert one.settings == two.settings
        assert (one.confusion == two.confusion[::-1]).all()


def test_a_patient_on_two_sides_of_the_split_is_tested_and_not_trained_on():
    vectors, labels, groups = draw_cohort(2, subjects=100)
    splits = [("train", "train", "train", "val", "test")[int(group[1:]) % 5] for group in groups]
    splits[groups.index("s4")] = "train"
    found = evaluate(vectors, labels, groups, splits=splits)
    assert found.protocol.startswith("the given split: 120 training")
    assert found.leaks.straddling == 1
    assert any(note.startswith("1 scans were left out of training") for note in found.notes)


def test_two_sets_of_vectors_are_compared_on_the_same_scans():
    vectors, labels, groups = draw_cohort(3, subjects=120)
    noise = np.random.default_rng(0).normal(size=vectors.shape)
    found = evaluate_classes(
        {"own": vectors, "noise": noise}, labels, groups, with_curve=False, resamples=60, methods=["knn"]
    )
    better = next(one for one in found.differences if one.figure == "AUROC")
    assert (better.first, better.second) == ("own, knn", "noise, knn")
    assert better.is_clear
    assert better.value > 0.3
    own, other = (method.figure("AUROC").value for method in found.methods)
    assert better.value == pytest.approx(own - other)
    lists = [one for one in found.differences if one.figure == "mAP"]
    assert [(one.first, one.second) for one in lists] == [("own", "noise")]


def test_a_method_compared_with_itself_differs_by_nothing():
    vectors, labels, groups = draw_cohort(4)
    found = evaluate_classes(
        {"a": vectors, "b": vectors}, labels, groups, with_curve=False, resamples=60, methods=["logistic"]
    )
    assert all((one.value, one.low, one.high) == (0, 0, 0) for one in found.differences)
    assert not any(one.is_clear for one in found.differences)


def test_a_planted_confound_is_flagged_and_an_idle_column_is_not():
    vectors, labels, groups = draw_cohort(6, subjects=80)
    columns = {"scanner": [f"x{label}" for label in labels], "site": [f"y{int(g[1:]) % 3}" for g in groups]}
    found = {one.column: one for one in evaluate(vectors, labels, groups, columns=columns).confounds}
    assert found["scanner"].is_flagged
    assert not found["site"].is_flagged


def test_without_patient_ids_each_scan_is_its_own_patient_and_a_note_says_so():
    vectors, labels, _ = draw_cohort(7)
    notes = evaluate(vectors[::2], labels[::2]).notes
    assert any("no scan names its subject: each of them counts as a subject of its own" in note for note in notes)
    assert any("60 subjects were tested: below 100 the 95% intervals are rough" in note for note in notes)


def test_scans_without_a_value_take_no_part():
    vectors, labels, groups = draw_cohort(8)
    plain = evaluate(vectors, labels, groups)
    strangers = np.full((20, vectors.shape[1]), 90, np.float16)
    mixed = evaluate(np.concatenate([strangers, vectors]), [None] * 20 + labels, ["x"] * 20 + groups)
    assert [m.figures for m in mixed.methods] == [m.figures for m in plain.methods]
    assert (mixed.tested == plain.tested + 20).all()


def test_a_number_is_told_with_intervals_that_hold_it():
    vectors, _, groups = draw_cohort(9, subjects=150)
    values = vectors[:, :3].astype(float).sum(axis=1) + np.random.default_rng(0).normal(0, 0.3, len(vectors))
    found = evaluate_numbers({"own": vectors}, values.tolist(), groups, resamples=60)
    linear = next(one for one in found.methods if one.method == "logistic")
    assert linear.figure("r2").low > 0.5
    assert linear.figure("MAE").value < linear.figure("MAE").majority
    for level in linear.coverage:
        assert abs(level.covered - level.level) < 0.08
    clear = next(one for one in found.differences if one.figure == "r2")
    assert clear.first == "own, knn"


@pytest.mark.parametrize(
    ("labels", "groups", "message"),
    [
        ([None] * 12, None, "none of 12 scans has a value"),
        (["a"] * 12, None, "all 12 labelled scans have the value 'a'"),
        ([f"{n}.5" for n in range(30)], None, "look continuous"),
        (["a"] * 10 + ["b"] * 2, [f"s{n}" for n in range(10)] + ["x", "x"], "'b' has one subject only"),
        ([1] * 9 + [2, 3], None, "'2', '3' have one subject only.* or evaluate it with --number"),
        (["a", "b"] * 2, None, "4 subjects are labelled; expected at least 5"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_one_sentence(labels, groups, message):
    vectors = np.random.default_rng(0).normal(size=(len(labels), 5))
    with pytest.raises(QueryError, match=message) as refused:
        evaluate(vectors, labels, groups, name="finding")
    assert "finding" in refused.value.message


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([None] * 9, "none of 9 scans has a value; expected numbers"),
        (["1", "2", "large"] * 4, "4 of 12 values are no numbers, such as 'large'"),
        ([3.0] * 9, "all 9 labelled scans have the value 3"),
    ],
)
def test_what_is_no_number_is_refused_in_one_sentence(labels, message):
    with pytest.raises(QueryError, match=message):
        evaluate_numbers({"own": np.random.default_rng(0).normal(size=(len(labels), 5))}, labels, name="volume")


def test_a_split_whose_training_part_has_one_class_is_refused():
    vectors, labels, groups = draw_cohort(10)
    splits = ["train" if label == "c0" else "test" for label in labels]
    with pytest.raises(QueryError, match="the training part of the given split has the class 'c0' only"):
        evaluate(vectors, labels, groups, splits=splits)


def test_sets_of_another_length_are_refused():
    with pytest.raises(ValueError, match="3 vectors of 'own' for 2 labels"):
        evaluate(np.zeros((3, 2)), ["a", "b"])


def test_a_split_that_tests_one_subject_is_refused():
    vectors, labels, groups = draw_cohort(11)
    labels = [*labels[:-1], "c0" if labels[-1] == "c1" else "c1"]  # of the last subject both classes
    splits = ["train"] * 90 + ["val"] * 28 + ["test"] * 2
    with pytest.raises(QueryError, match="the test part of the given split has one subject only; expected two"):
        evaluate(vectors, labels, groups, splits=splits)
    numbers = np.arange(120.0).tolist()
    with pytest.raises(QueryError, match="'volume': the test part of the given split has one subject only"):
        evaluate_numbers({"own": vectors}, numbers, groups, splits=splits, name="volume")


def test_where_one_tested_subject_alone_has_anything_to_find_the_figures_are_its_own():
    vectors, labels, groups = draw_cohort(12)
    last, before = groups[-1], groups[-3]
    labels = [
        "c0" if one == before else "c2" if one in (last, groups[0]) else label
        for one, label in zip(groups, labels, strict=True)
    ]
    splits = ["test" if one in (last, before) else None if one == groups[0] else "train" for one in groups]
    found = evaluate(vectors, labels, groups, splits=splits)
    (precision,) = (one for one in found.vectors[0].retrieval if one.name == "P@1")
    assert 0 <= precision.low <= precision.value <= precision.high <= 1
    assert np.isnan(found.vectors[0].by_class[2]).all()  # nothing to find in training


def test_where_joined_near_duplicates_leave_too_few_it_is_refused():
    rng = np.random.default_rng(13)
    one = rng.normal(size=(2, 24))
    vectors = one[np.arange(40) % 2] + 1e-4 * rng.normal(size=(40, 24))  # two scans, each under twenty names
    labels = [f"c{n % 2}" for n in range(40)]
    with pytest.raises(QueryError, match="joining these leaves 2; expected at least 5"):
        evaluate(vectors, labels)
    with pytest.raises(QueryError, match="joining these leaves 2; expected at least 5"):
        evaluate_numbers({"own": vectors}, np.arange(40.0).tolist())
    others = rng.normal(size=(30, 24))
    both = np.concatenate([others, vectors[::2]])
    with pytest.raises(QueryError, match="'b' has one subject only"):
        evaluate(both, ["a"] * 30 + ["b"] * 20)


def test_a_method_whose_vectors_are_all_the_same_is_at_chance():
    vectors, labels, groups = draw_cohort(14)
    found = evaluate_classes(
        {"own": vectors, "flat": np.ones((120, 3))}, labels, groups, with_curve=False, resamples=60
    )
    for method in found.methods:
        auroc = method.figure("AUROC")
        assert (auroc.value == 0.5) == (method.vectors == "flat")
