"""The Gaussian matrix is the published stream of numbers, and the projection the published order of axes."""

import dataclasses

import numpy as np
import pytest

from raptor_search.projection import gaussian_matrix, project
from raptor_search.specs import PRESETS, EmbeddingSpec, Recipe


def spec(
    components: int = 100, kept: int | None = None, seed: int = 0, recipe: Recipe = PRESETS["default"]
) -> EmbeddingSpec:
    return EmbeddingSpec(
        encoder="cells",
        layer="last",
        weights_sha256="c0ffee",
        recipe=recipe,
        grid=(4, 4),
        components_drawn=components,
        components_kept=components if kept is None else kept,
        seed=seed,
    )


def test_the_first_entries_for_seed_zero_are_the_published_ones() -> None:
    matrix = gaussian_matrix(1024, spec(recipe=PRESETS["official"]))
    assert matrix.shape == (1024, 100)
    assert matrix.dtype == np.float32
    assert matrix[0, :3] == pytest.approx([1.76405235, 0.40015721, 0.97873798])


def test_the_matrix_is_the_global_legacy_stream_of_its_seed() -> None:
    state = np.random.get_state()
    np.random.seed(7)
    expected = np.random.randn(12, 5)
    np.random.set_state(state)
    assert np.array_equal(gaussian_matrix(12, spec(5, seed=7, recipe=PRESETS["official"])), expected.astype(np.float32))


def test_scale_one_over_k_keeps_squared_lengths_in_expectation() -> None:
    drawn = gaussian_matrix(64, spec(100))
    assert drawn * 10 == pytest.approx(gaussian_matrix(64, spec(100, recipe=PRESETS["official"])), rel=1e-6)
    tokens = np.random.default_rng(0).normal(size=(400, 64)).astype(np.float32)
    ratio = np.square(tokens @ drawn).sum(axis=1) / np.square(tokens).sum(axis=1)
    assert ratio.mean() == pytest.approx(1, abs=0.05)


def test_kept_components_are_the_first_of_all() -> None:
    means = np.random.default_rng(0).normal(size=(3, 6, 8)).astype(np.float32)
    whole = project(means, gaussian_matrix(8, spec(20)))
    part = project(means, gaussian_matrix(8, spec(20, kept=5)))
    assert np.array_equal(whole[:, :5], part)
    assert not np.array_equal(part, project(means, gaussian_matrix(8, spec(5))))


def test_projection_equals_a_naive_loop() -> None:
    rng = np.random.default_rng(1)
    means, matrix = rng.normal(size=(3, 4, 5)).astype(np.float32), rng.normal(size=(5, 2)).astype(np.float32)
    got = project(means, matrix)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    for plane in range(3):
        for k in range(2):
            for token in range(4):
                assert got[plane, k, token] == pytest.approx(float(means[plane, token] @ matrix[:, k]), rel=1e-5)


def test_the_cached_matrix_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        gaussian_matrix(8, spec(20))[0, 0] = 1
    other = dataclasses.replace(spec(20), seed=1)
    assert not np.array_equal(gaussian_matrix(8, other), gaussian_matrix(8, spec(20)))
