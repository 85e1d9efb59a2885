import numpy as np
import pytest

from raptor_search.searching.drift import mean_shift, outgrown, reasons

WELL = {"mean_shift": 0.05, "imbalance": 1.1, "recall": 0.99}


def test_the_shift_is_in_units_of_the_spread():
    assert mean_shift(np.array([30.0, 40.0]), 10, np.zeros(2), 10.0) == pytest.approx(0.5)
    assert mean_shift(np.zeros(2), 10, np.zeros(2), 0.0) == 0


@pytest.mark.parametrize(
    ("change", "word"),
    [({"mean_shift": 0.11}, "mean has moved"), ({"imbalance": 1.6}, "uneven"), ({"recall": 0.97}, "latest scans")],
)
def test_each_kind_of_drift_asks_for_training(change, word):
    (reason,) = reasons(WELL | change)
    assert word in reason


def test_an_index_that_fits_is_left_alone():
    assert reasons(WELL) == []
    assert reasons({"mean_shift": 0.0, "imbalance": 1.0}) == []


@pytest.mark.parametrize(
    ("factory", "volumes", "expected"),
    [
        ("Flat", 9_999, False),
        ("Flat", 10_000, True),
        ("IVF400,SQ8", 20_000, False),
        ("IVF400,SQ8", 40_000, True),
        ("IVF1789,SQ8", 200_000, True),
        ("IVF4096,SQ8", 1_000_000, False),
        ("IVF4096,RaBitQ", 1_000_000, True),  # what an earlier version made by default
        ("IVF4096,SQ8", 2_000_000, True),
        ("IVF16384,SQ8", 5_000_000, True),
    ],
)
def test_an_archive_outgrows_its_kind_of_index(factory, volumes, expected):
    assert outgrown(factory, volumes) == expected
