import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix

from raptor_search.errors import QueryError
from raptor_search.evaluation import leave_one_out


def draw_cohort(seed, subjects=60, classes=3, signal=1.0, noise=0.3, d=40):
    """Two float16 scans a subject, subjects unlike each other, a class shift of the given size, a far mean."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(rng.integers(0, classes, subjects), 2)
    owner = np.repeat(np.arange(subjects), 2)
    vectors = signal * rng.normal(size=(classes, d))[codes] + rng.normal(size=(subjects, d))[owner]
    vectors += noise * rng.normal(size=vectors.shape) + 4
    return vectors.astype(np.float16), [f"c{code}" for code in codes], [f"s{subject}" for subject in owner]


def naive_answers(vectors, labels, groups, k, temperature):
    """The vote on each scan, its subject left out of the voters and of the mean."""
    vectors, groups, names = np.asarray(vectors, np.float64), np.array(groups), sorted(set(labels))
    answers = []
    for row in range(len(vectors)):
        rest = np.flatnonzero(groups != groups[row])
        mean = vectors[rest].mean(axis=0)
        scored = []
        for other in rest:
            a, b = vectors[row] - mean, vectors[other] - mean
            scored.append((a @ b / np.linalg.norm(a) / np.linalg.norm(b), other))
        votes = dict.fromkeys(names, 0.0)
        for score, other in sorted(scored, reverse=True)[:k]:
            votes[labels[other]] += np.exp(score / temperature)
        answers.append(max(votes, key=votes.get))
    return answers


def shuffled_by_subject(labels, groups, seed):
    """Labels dealt anew to whole subjects."""
    subjects = sorted(set(groups))
    first = [labels[groups.index(subject)] for subject in subjects]
    dealt = dict(zip(subjects, np.random.default_rng(seed).permutation(first).tolist(), strict=True))
    return [dealt[group] for group in groups]


def test_answers_equal_a_written_out_vote_and_figures_equal_scikit_learns():
    vectors, labels, groups = draw_cohort(0, signal=0.4)
    result = leave_one_out(vectors, labels, groups, k=4, temperature=0.1, resamples=50)
    answers = naive_answers(vectors, labels, groups, 4, 0.1)
    assert [result.classes[answer] for answer in result.answers] == answers
    assert result.rows.tolist() == list(range(120))
    assert result.accuracy.value == pytest.approx(accuracy_score(labels, answers))
    assert result.balanced_accuracy.value == pytest.approx(balanced_accuracy_score(labels, answers))
    assert (result.confusion == confusion_matrix(labels, answers, labels=result.classes)).all()
    assert result.auroc.value == pytest.approx(np.mean(result.class_auroc))
    assert (result.votes.argmax(axis=1) == result.answers).all()


def test_the_majority_baseline_is_scikit_learns_dummy():
    vectors, labels, groups = draw_cohort(1)
    result = leave_one_out(vectors, labels, groups, resamples=20)
    dummy = DummyClassifier(strategy="most_frequent").fit(vectors, labels).predict(vectors)
    assert result.majority_class == dummy[0]
    assert result.accuracy.majority == pytest.approx(accuracy_score(labels, dummy))
    assert result.balanced_accuracy.majority == pytest.approx(balanced_accuracy_score(labels, dummy))
    assert result.auroc.majority == 0.5


def test_a_label_that_the_vectors_carry_is_told_well_above_the_baseline():
    result = leave_one_out(*draw_cohort(2), resamples=200)
    for figure in result.figures:
        assert figure.majority < figure.low <= figure.value <= figure.high <= 1
    assert result.scans, result.subjects == (120, 60)


def test_shuffled_labels_give_chance():
    values, held = [], 0
    for seed in range(40):
        vectors, labels, groups = draw_cohort(seed)
        auroc = leave_one_out(vectors, shuffled_by_subject(labels, groups, seed), groups, resamples=300).auroc
        values.append(auroc.value)
        held += auroc.low <= 0.5 <= auroc.high
    assert abs(np.mean(values) - 0.5) < 3 * np.std(values) / np.sqrt(40)
    assert held >= 35


def test_a_subject_scanned_many_times_does_not_answer_for_itself():
    vectors, labels, groups = draw_cohort(3)
    labels = shuffled_by_subject(labels, groups, 3)
    copies = np.concatenate([vectors, vectors + np.float16(0.01), vectors - np.float16(0.01)])
    grouped = leave_one_out(copies, labels * 3, groups * 3, resamples=400)
    assert grouped.auroc.low <= 0.5 <= grouped.auroc.high
    leaking = leave_one_out(copies, labels * 3, None, resamples=50)
    assert leaking.auroc.value > 0.95
    assert leaking.accuracy.value > 0.95


def test_the_same_scans_filed_under_other_subjects_are_joined_and_do_not_raise_the_figures():
    vectors, labels, groups = draw_cohort(4)
    labels = shuffled_by_subject(labels, groups, 4)
    honest = leave_one_out(vectors, labels, groups, resamples=400)
    other_names = [f"{group}-again" for group in groups]
    planted = leave_one_out(np.concatenate([vectors] * 2), labels * 2, groups + other_names, resamples=400)
    assert planted.subjects == honest.subjects
    assert planted.auroc.low <= 0.5 <= planted.auroc.high
    assert planted.accuracy.value < honest.accuracy.high
    assert any("joined" in note for note in planted.notes)


def test_unlabelled_scans_take_no_part_not_even_in_the_mean():
    vectors, labels, groups = draw_cohort(5, signal=0.4)
    plain = leave_one_out(vectors, labels, groups, resamples=20)
    strangers = np.full((30, vectors.shape[1]), 50, np.float16)
    mixed = leave_one_out(np.concatenate([strangers, vectors]), [None] * 30 + labels, ["x"] * 30 + groups, resamples=20)
    assert mixed.figures == plain.figures
    assert (mixed.rows == plain.rows + 30).all()


def test_the_same_seed_gives_the_same_result_and_another_only_other_ends():
    cohort = draw_cohort(6, signal=0.4)
    first, again, other = (leave_one_out(*cohort, resamples=100, seed=seed) for seed in (1, 1, 2))
    assert first.figures == again.figures
    assert (first.votes == again.votes).all()
    assert [figure.value for figure in first.figures] == [figure.value for figure in other.figures]
    assert first.figures != other.figures


def test_a_class_of_one_subject_is_named_and_left_out():
    vectors, labels, groups = draw_cohort(7)
    labels[:2] = ["rare", "rare"]
    result = leave_one_out(vectors, labels, groups, resamples=20)
    assert result.left_out == ("rare",)
    assert result.classes == ("c0", "c1", "c2")
    assert result.scans == 118
    assert "left out, because one subject alone has it: rare" in result.notes


def test_notes_warn_of_few_subjects_unknown_ones_and_small_classes():
    vectors, labels, _ = draw_cohort(8, subjects=20)
    labels[:3] = ["few"] * 3
    notes = leave_one_out(vectors, labels, None, resamples=20).notes
    assert any("40 subjects: below 100 the 95% intervals are rough" in note for note in notes)
    assert any("no scan names its subject" in note for note in notes)
    assert any("class 'few' has 3 subjects" in note for note in notes)


def test_a_hundred_subjects_need_no_warning():
    assert leave_one_out(*draw_cohort(9, subjects=120, signal=0.3), resamples=20).notes == ()


def test_an_auroc_just_below_one_has_an_interval_that_reaches_further_down_than_up():
    auroc = leave_one_out(*draw_cohort(11, subjects=120, signal=0.7), resamples=20).auroc
    assert 0.99 < auroc.value < 1
    assert auroc.low < auroc.value < auroc.high < 1
    assert auroc.value - auroc.low > 1.5 * (auroc.high - auroc.value)


def test_everything_right_does_not_mean_certainty():
    result = leave_one_out(*draw_cohort(10, subjects=20, classes=2, signal=20), resamples=50)
    assert result.accuracy.value == result.auroc.value == 1
    assert result.accuracy.low == pytest.approx(0.025 ** (1 / 20))
    assert result.auroc.low < 0.95 < result.auroc.high == 1


@pytest.mark.parametrize(
    ("labels", "groups", "k", "message"),
    [
        ([None] * 6, None, 1, "none of 6 scans has a value"),
        (["a"] * 6, None, 1, "all 6 labelled scans have the value 'a'"),
        ([f"{n}.5" for n in range(24)], None, 1, "look continuous"),
        (["a", "a", "b", "b"], [1, 1, 2, 2], 1, "0 of 2 classes have scans of two subjects"),
        (["a", "b", "a", "b", "c"], [1, 1, 2, 2, 3], 1, "2 subjects are labelled; expected at least 3"),
        (["a", "b", "a", "b", "a"], [1, 1, 1, 1, 1], 1, "0 of 2 classes"),
        (["a", "b", "a", "b", "c", None], None, 4, "4 neighbours asked of 4 labelled scans; choose at most 3"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_one_sentence(labels, groups, k, message):
    vectors = np.random.default_rng(0).normal(size=(len(labels), 5))
    with pytest.raises(QueryError, match=message):
        leave_one_out(vectors, labels, groups, name="finding", k=k)


def test_labels_of_another_length_are_refused():
    with pytest.raises(ValueError, match="2 labels for 3 vectors"):
        leave_one_out(np.zeros((3, 2)), ["a", "b"])
