import numpy as np
import pytest

from raptor_search.scoring import centred
from raptor_search.searching.background import background_quantiles, percentiles


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
