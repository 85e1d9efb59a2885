"""The sketch: linear, seeded, and true to distances."""

import subprocess
import sys

import numpy as np
import pytest

from raptor_search.sketch import SKETCH_LENGTH, sketch

FIRST_PLACES = [44, 175, 373, 448, 579, 763, 835, 999]
FIRST_SIGNS = [1, -1, 1, 1, -1, 1, 1, -1]


def draw(n: int, length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, length)).astype(np.float32)


def test_a_sketch_has_1024_float32_numbers() -> None:
    out = sketch(draw(3, 500))
    assert out.shape == (3, SKETCH_LENGTH) == (3, 1024)
    assert out.dtype == np.float32
    assert sketch(draw(0, 500)).shape == (0, 1024)


def test_one_coordinate_touches_eight_entries_with_equal_weight() -> None:
    unit = np.eye(20, dtype=np.float32)
    for row in sketch(unit):
        assert np.count_nonzero(row) == 8
        assert np.abs(row[row != 0]) == pytest.approx(1 / np.sqrt(8))


def test_the_sketch_is_linear() -> None:
    a, b = draw(5, 2000), draw(5, 2000, seed=1)
    assert sketch(2 * a - b) == pytest.approx(2 * sketch(a) - sketch(b), abs=1e-3)


def test_distances_and_angles_are_kept_to_the_expected_error() -> None:
    vectors = draw(60, 7680)
    sketches = sketch(vectors)
    i, j = np.triu_indices(60, 1)
    ratio = np.square(sketches[i] - sketches[j]).sum(axis=1) / np.square(vectors[i] - vectors[j]).sum(axis=1)
    assert ratio.mean() == pytest.approx(1, abs=0.02)
    assert ratio.std() == pytest.approx(np.sqrt(2 / 1024), rel=0.25)


def test_seed_and_dtype_and_block_size() -> None:
    vectors = draw(300, 640)
    assert np.array_equal(sketch(vectors), sketch(vectors))
    assert np.array_equal(sketch(vectors)[299:], sketch(vectors[299:]))
    assert not np.allclose(sketch(vectors, seed=1), sketch(vectors))
    half = vectors.astype(np.float16)
    assert np.array_equal(sketch(half), sketch(half.astype(np.float32)))


def test_the_stream_of_numbers_is_frozen() -> None:
    """An index published yesterday must still fit: these entries may never change."""
    row = sketch(np.eye(4, dtype=np.float32))[0]
    assert np.flatnonzero(row).tolist() == FIRST_PLACES
    assert np.sign(row[np.flatnonzero(row)]).tolist() == FIRST_SIGNS


def test_search_can_sketch_without_torch() -> None:
    code = "import sys; import raptor_search.sketch, raptor_search.reference; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
