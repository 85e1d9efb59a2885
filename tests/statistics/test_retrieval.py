import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score

from raptor_search.statistics.retrieval import (
    CUTS,
    FIGURES,
    class_means,
    random_lists,
    ranked_relevance,
    retrieval_figures,
)


def naive(relevant):
    """Every figure of one list, written out."""
    total = sum(relevant)
    found = {}
    precision = [sum(relevant[: i + 1]) / (i + 1) for i in range(len(relevant))]
    for k in CUTS:
        hits = sum(relevant[:k])
        found[f"P@{k}"] = hits / k
        found[f"recall@{k}"] = hits / total
        gain = sum(r / np.log2(i + 2) for i, r in enumerate(relevant[:k]))
        found[f"nDCG@{k}"] = gain / sum(1 / np.log2(i + 2) for i in range(min(k, total)))
        summed = sum(p for p, r in zip(precision[:k], relevant[:k], strict=True) if r)
        found[f"mAP@{k}"] = summed / min(k, total)
        found[f"mAP@{k} by hits"] = summed / hits if hits else 0.0
    found["mAP"] = sum(p for p, r in zip(precision, relevant, strict=True) if r) / total
    found["MRR"] = 1 / (relevant.index(True) + 1)
    return [found[name] for name in FIGURES]


def test_a_list_worked_by_hand():
    figures = dict(zip(FIGURES, retrieval_figures(np.array([[False, True, False, True]]))[0], strict=True))
    assert figures["P@1"] == 0
    assert figures["P@3"] == pytest.approx(1 / 3)
    assert figures["P@5"] == pytest.approx(2 / 5)
    assert figures["recall@3"] == 1 / 2
    assert figures["mAP"] == figures["mAP@5"] == (1 / 2 + 2 / 4) / 2
    assert figures["mAP@3"] == pytest.approx(1 / 2 / 2)
    assert figures["mAP@3 by hits"] == 1 / 2
    assert figures["MRR"] == 1 / 2


@pytest.mark.parametrize("length", [1, 4, 12, 40])
def test_figures_equal_the_ones_written_out(length):
    rng = np.random.default_rng(length)
    relevant = rng.random((30, length)) < 0.3
    relevant = relevant[relevant.any(axis=1)]
    np.testing.assert_allclose(retrieval_figures(relevant), [naive(line.tolist()) for line in relevant])


def test_average_precision_and_gain_equal_scikit_learns():
    rng = np.random.default_rng(5)
    scores = rng.normal(size=(20, 30))
    codes, query_codes = rng.integers(0, 3, 30), rng.integers(0, 3, 20)
    figures = retrieval_figures(ranked_relevance(scores, query_codes, codes)[0])
    for row in range(20):
        truth = codes == query_codes[row]
        assert figures[row, FIGURES.index("mAP")] == pytest.approx(average_precision_score(truth, scores[row]))
        for k in CUTS:
            expected = ndcg_score([truth.astype(float)], [scores[row]], k=k)
            assert figures[row, FIGURES.index(f"nDCG@{k}")] == pytest.approx(expected)


def test_barred_scans_are_neither_found_nor_missed():
    scores = np.array([[0.9, 0.8, 0.7, 0.6]])
    barred = np.array([[True, False, False, False]])
    relevant, lengths = ranked_relevance(scores, np.array([1]), np.array([1, 0, 1, 1]), barred)
    assert relevant.tolist() == [[False, True, True, False]]
    assert lengths.tolist() == [3]
    assert retrieval_figures(relevant)[0, FIGURES.index("recall@3")] == 1


def test_a_query_without_anything_relevant_does_not_count():
    assert np.isnan(retrieval_figures(np.zeros((1, 5), bool))).all()


def test_dividing_by_hits_is_never_below_the_standard():
    figures = retrieval_figures(np.random.default_rng(0).random((200, 20)) < 0.4)
    for k in CUTS:
        standard, by_hits = (figures[:, FIGURES.index(name)] for name in (f"mAP@{k}", f"mAP@{k} by hits"))
        assert (by_hits >= standard - 1e-12).all()


def test_lists_in_random_order_score_the_share_of_the_relevant():
    relevant = np.zeros((300, 20), bool)
    relevant[:, :5] = True
    found = dict(zip(FIGURES, random_lists(relevant, np.full(300, 20)).mean(axis=0), strict=True))
    assert found["P@1"] == pytest.approx(0.25, abs=0.02)
    assert found["recall@10"] == pytest.approx(0.5, abs=0.02)


def test_places_beyond_a_list_are_not_shuffled_in():
    relevant = np.array([[True, False, False, False]])
    found = dict(zip(FIGURES, random_lists(relevant, np.array([1]))[0], strict=True))
    assert found["P@1"] == 1


def test_means_by_class_pass_over_queries_that_do_not_count():
    relevant = np.array([[True, False], [False, True], [False, False]])
    means = class_means(retrieval_figures(relevant), np.array([0, 1, 1]), ["a", "b", "c"])
    assert means[:2, 0].tolist() == [1, 0]
    assert np.isnan(means[2]).all()
