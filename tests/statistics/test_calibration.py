import numpy as np
import pytest

from raptor_search.statistics.calibration import calibrate


def draw(seed, n=600, classes=3, blunt=1.0):
    """Shares whose odds are those of the truth to the power 1 / blunt."""
    rng = np.random.default_rng(seed)
    truth = rng.dirichlet(np.full(classes, 0.6), n)
    codes = np.array([rng.choice(classes, p=line) for line in truth])
    raised = truth ** (1 / blunt)
    return raised / raised.sum(axis=1, keepdims=True), codes, truth


@pytest.mark.parametrize("blunt", [0.4, 1.0, 2.5])
def test_shares_too_sure_or_not_sure_enough_are_mended(blunt):
    shares, codes, _ = draw(0, blunt=blunt)
    fitted = calibrate(shares, codes, np.arange(len(codes)))
    new, _, truth = draw(1, blunt=blunt)
    after = np.abs(fitted(new) - truth).mean()
    assert after < 0.03
    if blunt != 1:
        assert after < 0.5 * np.abs(new - truth).mean()


def test_probabilities_sum_to_one_and_nobody_is_ruled_out():
    shares, codes, _ = draw(2)
    fitted = calibrate(shares, codes, np.arange(len(codes)))
    given = fitted(np.array([[1.0, 0, 0], [0, 0, 0]]))
    np.testing.assert_allclose(given.sum(axis=1), 1)
    assert (given > 0).all()
    np.testing.assert_allclose(given[1], fitted.prior**fitted.sharpness / (fitted.prior**fitted.sharpness).sum())


def test_votes_that_say_nothing_become_the_frequencies_of_the_classes():
    rng = np.random.default_rng(3)
    codes = rng.choice(3, p=[0.7, 0.2, 0.1], size=500)
    fitted = calibrate(np.eye(3)[rng.integers(0, 3, 500)], codes, np.arange(500))
    np.testing.assert_allclose(fitted(np.eye(3)), np.tile([0.7, 0.2, 0.1], (3, 1)), atol=0.08)


def test_a_subject_of_many_scans_counts_once():
    shares, codes, _ = draw(4, n=120)
    owner = np.arange(120)
    rows = np.concatenate([np.arange(120), np.repeat(7, 200)])
    once, often = calibrate(shares, codes, owner), calibrate(shares[rows], codes[rows], owner[rows])
    assert often.sharpness == pytest.approx(once.sharpness, rel=1e-2)
    np.testing.assert_allclose(often.prior, once.prior)
