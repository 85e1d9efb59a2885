import numpy as np
import pytest

from raptor_search.scoring import centred
from raptor_search.searching.background import (
    background_quantiles,
    least_percentile,
    not_standing_out,
    percentiles,
)


def units(seed, n):
    return centred(np.random.default_rng(seed).normal(size=(n, 12)), np.empty(0))


def test_quantiles_are_those_of_pairs_of_different_patients_and_bytes():
    rows = units(0, 40)
    owners = [None if n % 7 == 0 else f"p{n // 2}" for n in range(40)]
    contents = [f"c{n // 3}" for n in range(40)]
    pairs = [
        rows[i] @ rows[j]
        for i in range(40)
        for j in range(i)
        if (owners[i] is None or owners[i] != owners[j]) and contents[i] != contents[j]
    ]
    expected = np.quantile(pairs, np.linspace(0, 1, 1001))
    assert background_quantiles(rows, owners, contents) == pytest.approx(expected, abs=1e-6)


def test_too_few_pairs_make_no_background():
    assert background_quantiles(units(1, 14), [None] * 14, [None] * 14).size == 0
    assert background_quantiles(units(1, 40), ["one"] * 40, [None] * 40).size == 0
    assert percentiles([0.5, 0.1], np.empty(0)) == [None, None]


def test_a_percentile_is_the_share_of_pairs_below():
    quantiles = np.linspace(-0.5, 0.5, 1001)
    assert percentiles([-0.9, -0.5, 0.0, 0.25, 0.9], quantiles) == pytest.approx([0, 0, 50, 75, 100])


def test_of_few_scans_less_is_asked():
    assert least_percentile(1) == pytest.approx(5)
    assert least_percentile(3) ** 3 == pytest.approx(0.05 * 100**3)
    assert least_percentile(59) == least_percentile(100_000) == 95
    assert least_percentile(0) == 5


def test_an_ordinary_scan_of_a_small_archive_of_one_kind_is_rarely_said_to_be_like_nothing():
    rng = np.random.default_rng(0)
    scales = np.geomspace(1, 0.05, 60)
    said = 0
    for _ in range(200):
        drawn = rng.normal(size=(16, 60)) * scales
        rows = centred(drawn, drawn[:15].mean(axis=0))
        quantiles = background_quantiles(rows[:15].astype(np.float32), [None] * 15, [None] * 15)
        best = float((rows[:15] @ rows[15]).max())
        said += not_standing_out(best, percentiles([best], quantiles)[0], 15) is not None
    assert said <= 10


def test_what_is_not_known_is_not_remarked_on():
    assert not_standing_out(0.1, None, 100) is None
    assert not_standing_out(0.9, 96.0, 100) is None
    assert not_standing_out(0.87, 87.0, 15) is None
    assert "13% of the pairs" in str(not_standing_out(0.87, 87.0, 100))
