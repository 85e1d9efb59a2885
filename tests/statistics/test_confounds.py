import numpy as np
import pytest

from raptor_search.statistics.confounds import agreement, find_confounds, holm, read_column
from raptor_search.statistics.gram import Gram


def draw(seed, subjects=120, by_label=1.0, by_scanner=0.0, tied=0.5, d=30):
    """Vectors that carry label and scanner; the label is the scanner for a share `tied` of the subjects."""
    rng = np.random.default_rng(seed)
    scanner = rng.integers(0, 2, subjects)
    label = np.where(rng.random(subjects) < tied, scanner, rng.integers(0, 2, subjects))
    ways = rng.normal(size=(4, d))
    vectors = by_label * ways[label] + by_scanner * ways[2 + scanner] + rng.normal(size=(subjects, d))
    rows = np.arange(subjects)
    scores = Gram(vectors).cosines(rows, rows)
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1)[:, :10], label, scanner


def ask(indices, label, **columns):
    return find_confounds(indices, label, columns, np.arange(len(label)), permutations=199)


def test_a_label_that_is_the_scanner_is_flagged():
    indices, label, scanner = draw(0, by_label=0, by_scanner=1.5, tied=1.0)
    (found,) = ask(indices, label, scanner=[f"s{one}" for one in scanner])
    assert found.is_flagged
    assert found.association == pytest.approx(1)
    assert found.within_p == 1
    assert "may measure it, not the label" in found.verdict


def test_a_label_that_only_goes_with_the_scanner_is_flagged_as_explained_by_it():
    indices, label, scanner = draw(1, by_label=0, by_scanner=1.5, tied=0.7)
    (found,) = ask(indices, label, scanner=scanner.tolist())
    assert found.is_flagged
    assert found.within_p > 0.05
    assert found.label_agreement > 0.55


def test_a_label_that_neighbours_share_beyond_the_scanner_is_said_to():
    indices, label, scanner = draw(2, by_label=1.5, by_scanner=1.5, tied=0.5)
    (found,) = ask(indices, label, scanner=scanner.tolist())
    assert found.is_flagged
    assert found.within_p < 0.05
    assert "beyond it too" in found.verdict


def test_a_scanner_that_neighbours_share_but_the_label_does_not_follow_is_none():
    indices, label, scanner = draw(3, by_label=1.0, by_scanner=1.5, tied=0.0)
    (found,) = ask(indices, label, scanner=scanner.tolist())
    assert found.agreement_p < 0.05
    assert not found.is_flagged


def test_columns_without_signal_are_flagged_no_more_often_than_they_should_be():
    flagged = 0
    for seed in range(20):
        indices, label, _ = draw(seed, by_label=1.0)
        site = np.random.default_rng(1000 + seed).integers(0, 3, len(label))
        flagged += ask(indices, label, site=site.tolist())[0].is_flagged
    assert flagged <= 2


def test_whole_subjects_are_permuted_so_that_many_scans_are_no_evidence():
    # Eight subjects of twenty scans, neighbours across subjects at random: chance at the level of subjects.
    rng = np.random.default_rng(4)
    owner = np.repeat(np.arange(12), 20)
    site = rng.integers(0, 2, 12)[owner]
    partner = (owner // 2) * 2 + (1 - owner % 2)
    indices = (partner * 20)[:, None] + rng.integers(0, 20, (240, 5))
    (found,) = find_confounds(indices, rng.integers(0, 2, 12)[owner], {"site": site.tolist()}, owner, permutations=199)
    assert found.subjects == 12
    assert found.agreement_p > 0.02


def test_agreement_by_hand():
    indices = np.array([[1, 2], [0, 2], [0, -1]])
    assert agreement(indices, np.array([0, 0, 1])) == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert agreement(indices, np.array([0, -1, 0])) == 1


def test_p_values_are_corrected_as_holm_did():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_columns_are_read_as_codes_or_fifths():
    assert read_column(["b", None, "a", ""]).tolist() == [1, -1, 0, -1]
    fifths = read_column([float(n) for n in range(20)])
    assert np.bincount(fifths).tolist() == [4] * 5
    assert read_column([2001, 2003, None, 2001]).tolist() == [0, 1, -1, 0]


def test_a_column_of_one_value_is_not_asked():
    indices, label, _ = draw(5)
    assert ask(indices, label, site=["one"] * len(label), empty=[None] * len(label)) == ()
