from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from raptor_search.index import Selection, build, load
from raptor_search.scoring import centred, scores
from raptor_search.searching.truth import draw_held_out, passes
from raptor_search.searching.tuning import FEW, RECALL_TARGET, Setting, Tuning, recall_bound, shares_for, tune

NO_MEAN = np.empty(0)


def unit_rows(seed, n, dim=24):
    return centred(np.random.default_rng(seed).normal(size=(n, dim)), NO_MEAN)


def opened(rows, ids, factory):
    data = build(rows, ids, factory=factory)
    return load(data, sha256=sha256(data).hexdigest())


def neighbours(rows, ids, asking, share=1.0):
    kept = passes(ids, share)
    own = {int(i): rows[np.flatnonzero(ids == i)[0]] for i in asking}
    ranked = ([i for i in ids[kept][np.argsort(-(rows[kept] @ own[int(a)]))] if i != a] for a in asking)
    return [np.array(order[:10]) for order in ranked]


def rows_of(ids, asking):
    return np.searchsorted(ids, asking)


def recall_of(index, setting, asking, queries, truth, ids):
    selection = Selection.of(ids[passes(ids, setting.share)]) if setting.share < 1 else Selection()
    answers = index.search(queries, setting.rerank + 1, nprobe=setting.nprobe, selection=selection)
    kept = [answer[answer != own][: setting.rerank] for answer, own in zip(answers, asking, strict=True)]
    return np.mean([np.isin(t, k).mean() for t, k in zip(truth, kept, strict=True)])


@pytest.mark.parametrize("factory", ["IVF32,SQ8", "IVF32,RaBitQ"])
def test_the_settings_reach_the_target_with_confidence_for_every_share(factory):
    rows, ids = unit_rows(1, 1_500), np.arange(1, 1_501)
    index = opened(rows, ids, factory)
    asking = ids[draw_held_out(ids.size)]
    queries = rows[rows_of(ids, asking)]
    truth = {share: neighbours(rows, ids, asking, share) for share in shares_for(ids.size)}
    tuning = tune(index, asking, queries, truth, vector_bytes=1_000)
    assert [setting.share for setting in tuning.settings] == [1.0, 0.5, 0.3, FEW / 1_500]
    for setting in tuning.settings:
        if setting.rerank:
            assert setting.recall >= setting.recall_low >= RECALL_TARGET
            assert recall_of(index, setting, asking, queries, truth[setting.share], ids) == pytest.approx(
                setting.recall
            )


def clustered(seed, n, dim=32, noise=0.5):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n // 25, dim))
    return centred(np.repeat(centres, 25, axis=0) + noise * rng.normal(size=(n, dim)), NO_MEAN)


class Known:
    """An index whose answers are known: the more lists are visited, the earlier the true neighbours come."""

    lists, size, code_bytes = 16, 10_000, 100
    waiting = {4: 150, 6: 150, 8: 60, 12: 60, 16: 5}  # noqa: RUF012

    def search(self, queries, k, *, nprobe, selection):
        others = np.arange(9_000, 9_000 + self.waiting[nprobe])
        return [np.concatenate([[row], others, 100 * row + np.arange(10, 20)])[:k] for row in range(len(queries))]


@pytest.mark.parametrize(
    ("vector_bytes", "nprobe", "rerank"),
    [
        (0, 4, 200),  # reading vectors costs nothing: many candidates out of few lists
        (1_000, 8, 75),  # 200 of them cost 4 x 200 kB, 75 and four lists more 4 x 75 + 250 kB
        (100_000, 16, 15),  # it costs all: few out of many
    ],
)
def test_of_the_settings_that_reach_the_target_the_one_that_reads_least_is_taken(vector_bytes, nprobe, rerank):
    asking = np.arange(400)
    truth = {1.0: [100 * row + np.arange(10, 20) for row in range(400)]}
    (setting,) = tune(Known(), asking, np.zeros((400, 8)), truth, vector_bytes=vector_bytes).settings
    assert (setting.nprobe, setting.rerank, setting.recall) == (nprobe, rerank, 1.0)


def test_where_nothing_reaches_the_target_all_are_scored_if_they_are_few():
    rows, ids = unit_rows(3, 1_200), np.arange(1, 1_201)
    index = opened(rows, ids, "IVF16,SQ8")
    asking, queries = ids[:8], rows[:8]
    # The truth of another geometry: the farthest scans.
    truth = {1.0: [ids[np.argsort(rows @ q)[:10]] for q in queries]}
    (setting,) = tune(index, asking, queries, truth, vector_bytes=1_000).settings
    assert (setting.rerank, setting.recall) == (0, 1.0)


def test_and_else_the_widest_settings_say_what_they_reach():
    rows, ids = unit_rows(3, 2_500), np.arange(1, 2_501)
    index = opened(rows, ids, "IVF16,SQ8")
    asking, queries = ids[:8], rows[:8]
    truth = {1.0: [ids[np.argsort(rows @ q)[:10]] for q in queries]}
    (setting,) = tune(index, asking, queries, truth, vector_bytes=1_000).settings
    assert setting.rerank == 800
    assert setting.recall < 0.5
    assert setting.recall_low <= setting.recall


def test_a_flat_index_has_no_lists_to_choose():
    rows, ids = unit_rows(4, 900), np.arange(900)
    asking = ids[draw_held_out(900)]
    truth = {1.0: neighbours(rows, ids, asking)}
    (setting,) = tune(opened(rows, ids, "Flat"), asking, rows[asking], truth, vector_bytes=1_000).settings
    assert (setting.nprobe, setting.rerank, setting.recall) == (0, 12, 1.0)


@pytest.mark.parametrize("sees", [True, False])
def test_a_cascade_is_taken_where_it_reads_less_and_loses_nothing(sees):
    rows, ids = clustered(5, 1_000), np.arange(1_000)
    blurred = centred(rows + 0.15 * np.random.default_rng(6).normal(size=rows.shape), NO_MEAN)
    index, asking = opened(blurred, ids, "Flat"), ids[draw_held_out(ids.size)]
    truth = {1.0: neighbours(rows, ids, asking)}

    def by_prefix(row, found):
        return scores(rows[asking[row]], rows[found], NO_MEAN) if sees else np.zeros(found.size, np.float32)

    settings = {"vector_bytes": 1_000, "prefix_bytes": 100}
    (plain,) = tune(index, asking, blurred[asking], truth, **settings).settings
    (found,) = tune(index, asking, blurred[asking], truth, prefix_scores=by_prefix, **settings).settings
    assert plain.rerank == found.rerank > 20
    assert found.recall_low >= RECALL_TARGET
    assert (0 < found.shortlist < found.rerank) == sees


def test_the_shares_go_down_to_a_few_scans():
    assert shares_for(300) == (1.0,)
    assert shares_for(100_000) == (1.0, 0.5, 0.3, 0.1, 0.03, 0.01, 0.002)


def test_the_share_of_settings_is_one_measured_for_at_most_as_many():
    tuning = Tuning(tuple(Setting(share, 1, 1, 0, 1.0, 1.0) for share in (1.0, 0.1, 0.01)))
    chosen = [tuning.at(share).share for share in (1.0, 0.99, 0.5, 0.1, 0.05, 0.001)]
    assert chosen == [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    assert Tuning().at(0.5) is None


def test_settings_for_a_filter_are_as_wide_as_its_share_of_all_and_its_share_nearby_need():
    """A filter that goes with likeness lets all through that is near a query: it needs what no filter needs."""
    tuning = Tuning(
        (
            Setting(1.0, 16, 50, 30, 0.995, 0.994),
            Setting(0.3, 64, 30, 20, 0.993, 0.991),
            Setting(0.1, 8, 20, 15, 0.997, 0.996),
            Setting(0.03, 4, 100, 0, 0.999, 0.998),
            Setting(0.01, 0, 0, 0, 1.0, 1.0),
        )
    )
    assert tuning.at(1.0) == tuning.unfiltered
    # As a filter drawn at random: what was measured for it, or for the two shares that it lies between.
    assert tuning.at(0.1, nearby=0.1) == tuning.settings[2]
    assert tuning.at(0.2, nearby=0.2) == Setting(0.1, 64, 30, 20, 0.993, 0.991)
    assert tuning.at(0.5, nearby=0.4) == Setting(0.3, 64, 50, 30, 0.993, 0.991)
    # With likeness: what was measured for the share nearby as well, or for the next larger one.
    assert tuning.at(0.1) == Setting(0.1, 16, 50, 30, 0.995, 0.994)
    assert tuning.at(0.1, nearby=0.25) == Setting(0.1, 64, 30, 20, 0.993, 0.991)
    assert tuning.at(0.03, nearby=0.09) == Setting(0.03, 8, 100, 0, 0.997, 0.996)
    assert tuning.at(0.01) == tuning.settings[-1]
    assert Tuning((Setting(1.0, 0, 0, 0, 1.0, 1.0), Setting(0.1, 4, 20, 0, 1.0, 1.0))).at(0.1).rerank == 0


@given(st.floats(0.9, 1), st.integers(100, 500), st.integers(0, 2**31))
def test_the_bound_lies_below_the_mean_and_rises_with_the_queries(rate, queries, seed):
    recalls = np.random.default_rng(seed).binomial(10, rate, queries) / 10
    low = recall_bound(recalls, 10**6)
    assert low <= recalls.mean()
    assert low <= recall_bound(np.tile(recalls, 4), 10**6) + 1e-9
    assert recall_bound(recalls, queries) == recalls.mean()  # everyone was asked


def test_all_found_is_as_sure_as_that_many_queries():
    assert recall_bound(np.ones(400), 10**9) == pytest.approx(400 / (400 + 1.645**2), abs=1e-6)


@pytest.mark.parametrize("clumped", [False, True])
def test_the_bound_holds_the_truth_about_as_often_as_it_says(clumped):
    rng, rate, held = np.random.default_rng(0), 0.985, 0
    for _ in range(600):
        recalls = rng.binomial(1, rate, 400) if clumped else rng.binomial(10, rate, 400) / 10
        held += recall_bound(recalls, 10**9) <= rate
    assert binom.sf(held, 600, 0.93) < 0.9999  # not far above 95%, or the bound would be worthless ...
    assert held / 600 > 0.92  # ... and hardly below


@pytest.mark.parametrize(("share", "is_widest"), [(1.0, True), (0.5, True), (0.4, True), (0.1, False), (0.01, True)])
def test_where_likeness_cannot_matter_the_settings_are_the_same_whatever_is_near(share, is_widest):
    of = [(1.0, 4, 12), (0.5, 512, 40), (0.1, 768, 30), (0.01, 1_024, 60)]
    tuning = Tuning(tuple(Setting(part, nprobe, rerank, 0, 0.999, 0.995) for part, nprobe, rerank in of))
    asked = {(at.nprobe, at.rerank) for near in np.linspace(share, 1, 50) if (at := tuning.at(share, near))}
    assert tuning.is_widest(share) == is_widest
    assert len(asked) == 1 or not is_widest
