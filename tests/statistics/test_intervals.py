import numpy as np
import pytest
from scipy import stats
from scipy.sparse import csr_array

from raptor_search.statistics import intervals
from raptor_search.statistics.intervals import subject_intervals


def mean_of(values):
    """The mean of one number a subject, as a function of how often each subject counts."""
    return lambda weights: (weights @ values / weights.sum(axis=1))[:, None]


def test_intervals_agree_with_scipys_bca():
    values = np.random.default_rng(0).beta(5, 1.2, size=40)
    ours = subject_intervals(mean_of(values), 40, evidence=[40], resamples=20000, seed=0)[0]
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20000, method="BCa", rng=np.random.default_rng(1))
    assert ours.value == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.002)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.002)


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng, hits = np.random.default_rng(1), 0
    for draw in range(1000):
        values = rng.binomial(3, rng.beta(8, 2, size=300)) / 3
        interval = subject_intervals(mean_of(values), 300, evidence=[300], resamples=300, seed=draw)[0]
        hits += interval.low <= 0.8 <= interval.high
    assert 0.93 <= hits / 1000 <= 0.97


def test_linked_subjects_that_always_agree_count_as_one():
    values = np.repeat(np.random.default_rng(6).random(60), 2)
    pairs = csr_array(np.kron(np.eye(60), [[0.0, 1.0], [1.0, 0.0]]))
    linked = subject_intervals(mean_of(values), 120, evidence=[120], linked=pairs, resamples=5000, seed=0)[0]
    blind = subject_intervals(mean_of(values), 120, evidence=[120], resamples=5000, seed=0)[0]
    single = subject_intervals(mean_of(values[::2]), 60, evidence=[60], resamples=5000, seed=0)[0]
    assert (linked.low, linked.high) == pytest.approx((single.low, single.high), abs=0.01)
    assert linked.high - linked.low > 1.35 * (blind.high - blind.low)


def test_linked_subjects_that_contradict_each_other_narrow_nothing():
    values = np.tile([0.2, 0.9], 30)
    pairs = csr_array(np.kron(np.eye(30), [[0.0, 1.0], [1.0, 0.0]]))
    linked = subject_intervals(mean_of(values), 60, evidence=[60], linked=pairs, resamples=300, seed=0)
    assert linked == subject_intervals(mean_of(values), 60, evidence=[60], resamples=300, seed=0)


def test_one_subject_that_decides_everything_still_gets_a_finite_interval():
    values = np.array([0.0, 1.0, 1.0])
    links = csr_array(np.ones((3, 3)) - np.eye(3))
    interval = subject_intervals(mean_of(values), 3, evidence=[3], linked=links, resamples=500, seed=0)[0]
    assert 0 <= interval.low <= 2 / 3 <= interval.high <= 1


def test_scans_of_one_subject_are_no_independent_evidence():
    right = np.random.default_rng(2).integers(0, 2, 50).astype(float)
    scans, alone = np.full(50, 20.0), np.ones(50)
    many, one = (
        subject_intervals(
            lambda weights, each=each: (weights @ (right * each) / (weights @ each))[:, None],
            50,
            evidence=[50],
            resamples=500,
            seed=0,
        )[0]
        for each in (scans, alone)
    )
    assert (many.low, many.high) == pytest.approx((one.low, one.high))


@pytest.mark.parametrize(("value", "low", "high"), [(1.0, 0.025 ** (1 / 20), 1.0), (0.0, 0.0, 1 - 0.025 ** (1 / 20))])
def test_where_every_subject_agrees_the_exact_bound_stands_in(value, low, high):
    interval = subject_intervals(mean_of(np.full(20, value)), 20, evidence=[20], resamples=100, seed=0)[0]
    exact = stats.binomtest(int(20 * value), 20).proportion_ci(method="exact")
    assert (interval.low, interval.high) == pytest.approx((low, high))
    assert (interval.low, interval.high) == pytest.approx((exact.low, exact.high))


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(3).random(30)
    first = subject_intervals(mean_of(values), 30, evidence=[30], resamples=200, seed=7)
    assert subject_intervals(mean_of(values), 30, evidence=[30], resamples=200, seed=7) == first
    assert subject_intervals(mean_of(values), 30, evidence=[30], resamples=200, seed=8) != first


def test_drawing_in_chunks_changes_nothing(monkeypatch):
    values = np.random.default_rng(3).random(30)
    whole = subject_intervals(mean_of(values), 30, evidence=[30], resamples=200, seed=7)[0]
    monkeypatch.setattr(intervals, "CHUNK", 100)
    chunked = subject_intervals(mean_of(values), 30, evidence=[30], resamples=200, seed=7)[0]
    assert (chunked.low, chunked.high) == pytest.approx((whole.low, whole.high), abs=1e-12)


def test_resamples_that_leave_a_figure_undefined_are_set_aside():
    values = np.random.default_rng(5).random(20)

    def statistic(weights):
        figure = mean_of(values)(weights)
        figure[weights[:, 0] == 0] = np.nan
        return figure

    interval = subject_intervals(statistic, 20, evidence=[20], resamples=500, seed=0)[0]
    assert 0 < interval.low < interval.value < interval.high < 1


def auroc_of(codes, scores):
    """AUROC as a function of how often each subject counts, one scan a subject."""
    order = np.argsort(scores)
    member = codes[order].astype(float)

    def statistic(weights):
        part = weights[:, order]
        inside, outside = part * member, part * (1 - member)
        lower = np.cumsum(outside, axis=1) - outside / 2
        pairs = inside.sum(axis=1) * outside.sum(axis=1)
        return ((inside * lower).sum(axis=1) / np.where(pairs > 0, pairs, np.nan))[:, None]

    return statistic


@pytest.mark.parametrize("shift", [0.0, 1.8, 3.3])
def test_intervals_of_an_auroc_cover_it_also_near_one(shift):
    truth, hits, draws = stats.norm.cdf(shift / np.sqrt(2)), 0, 1000
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        codes = rng.random(300) < 0.3
        statistic = auroc_of(codes, rng.normal(size=300) + shift * codes)
        interval = subject_intervals(
            statistic, 300, evidence=[int(codes.sum())], kinds=["auroc"], resamples=2, seed=draw
        )[0]
        hits += interval.low <= truth <= interval.high
    assert 0.93 <= hits / draws <= 0.97


def test_an_auroc_of_one_or_one_half_has_an_interval_within_its_bounds():
    codes = np.arange(60) % 2 == 0
    perfect = subject_intervals(auroc_of(codes, codes * 1.0), 60, evidence=[30], kinds=["auroc"], resamples=2, seed=0)[
        0
    ]
    assert perfect.value == perfect.high == 1
    assert 0.8 < perfect.low < 1
    chance = subject_intervals(
        auroc_of(codes, np.random.default_rng(0).random(60)), 60, evidence=[30], kinds=["auroc"], resamples=2, seed=0
    )[0]
    assert 0 < chance.low < 0.5 < chance.high < 1


def test_the_spread_of_an_auroc_is_that_of_two_normal_samples():
    for auroc in (0.02, 0.5, 0.8, 0.99):
        bound = stats.norm.ppf(auroc)
        both = stats.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]]).cdf([bound, bound])
        # Two scans of either side against one of the other (Bamber 1975), 20 against 30.
        expected = (auroc * (1 - auroc) + (19 + 29) * (both - auroc**2)) / 600
        assert intervals._binormal(np.array([auroc]), 20, 30)[0] == pytest.approx(expected, rel=1e-4)


def test_a_mean_that_few_subjects_carry_is_covered_as_often_as_it_should():
    draws, hits = 1000, {"mean": 0, "rate": 0}
    for draw in range(draws):
        values = np.random.default_rng(draw).beta(0.1, 4.9, 300)
        for kind in hits:
            found = subject_intervals(mean_of(values), 300, evidence=[300], kinds=[kind], resamples=2, seed=0)[0]
            hits[kind] += found.low <= 0.02 <= found.high
    assert 0.93 <= hits["mean"] / draws <= 0.97
    assert hits["rate"] < hits["mean"]


def test_a_mean_has_students_t_with_the_freedom_that_its_spread_has():
    values = np.array([0.1, 0.2, 0.9, 0.3, 0.15, 0.25, 0.4, 0.05])
    found = subject_intervals(mean_of(values), 8, evidence=[8], kinds=["mean"], resamples=2, seed=0)[0]
    off = values - values.mean()
    freedom = 2 / ((off**4).sum() / (off**2).sum() ** 2 - 1 / 8)
    assert freedom > 4
    # Leaving one of n out moves a mean by its distance / (n - 1); p (1 - p) takes that to log odds.
    p = values.mean()
    reach = stats.t.ppf(0.975, freedom) * np.sqrt((off**2).sum()) / 7 / (p * (1 - p))
    odds = np.log(np.array([found.low, found.high]) / (1 - np.array([found.low, found.high])))
    assert odds == pytest.approx(np.log(p / (1 - p)) + np.array([-reach, reach]))
    one = subject_intervals(mean_of(np.eye(300)[0]), 300, evidence=[300], kinds=["mean"], resamples=2, seed=0)[0]
    assert 0 < one.low < 1 / 300 < one.high < 0.1


def test_a_number_that_nothing_bounds_gets_no_exact_bound():
    same = subject_intervals(mean_of(np.zeros(20)), 20, evidence=[20], kinds=["free"], resamples=50, seed=0)[0]
    assert (same.low, same.high) == (0, 0)
    values = np.random.default_rng(4).normal(-3, 2, 50)
    ours = subject_intervals(mean_of(values), 50, evidence=[50], kinds=["free"], resamples=5000, seed=0)[0]
    theirs = stats.bootstrap((values,), np.mean, n_resamples=5000, method="BCa", rng=np.random.default_rng(1))
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.05)


def test_the_interval_of_a_difference_is_the_wider_of_two_on_each_side():
    rng = np.random.default_rng(4)
    sides = np.zeros(2)
    for _ in range(20):
        values = rng.exponential(size=40) - 0.8

        def statistic(weights, values=values):
            return (weights @ values / weights.sum(axis=1))[:, None]

        both = [
            subject_intervals(statistic, 40, evidence=[40], kinds=[kind], resamples=500, seed=0)[0]
            for kind in ("free", "difference")
        ]
        plain, wider = both
        # The jackknife's standard error of a mean is the textbook's, but for what leaves n for n - 1.
        reach = 1.959964 * np.sqrt(((values - values.mean()) ** 2).sum()) / 39
        assert wider.low == pytest.approx(min(plain.low, values.mean() - reach), abs=1e-6)
        assert wider.high == pytest.approx(max(plain.high, values.mean() + reach), abs=1e-6)
        sides += wider.low < plain.low, wider.high > plain.high
    assert sides.all()


def test_many_subjects_are_left_out_in_blocks(monkeypatch):
    rng = np.random.default_rng(8)
    codes = rng.random(500) < 0.4
    statistic = auroc_of(codes, rng.normal(size=500) + codes)
    single = subject_intervals(statistic, 500, evidence=[200], kinds=["auroc"], resamples=2, seed=0)[0]
    monkeypatch.setattr(intervals, "JACKKNIFE_BLOCKS", 150)
    blocks = subject_intervals(statistic, 500, evidence=[200], kinds=["auroc"], resamples=2, seed=0)[0]
    assert blocks.low == pytest.approx(single.low, abs=0.015)
    assert blocks != single
