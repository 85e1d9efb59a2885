import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raptor_search.errors import SpecError
from raptor_search.explain import shares
from raptor_search.scoring import centred, scores
from raptor_search.specs import PRESETS, EmbeddingSpec

NO_MEAN = np.empty(0, np.float32)


def spec(preset="default", grid=(3, 4), components=5):
    return EmbeddingSpec(
        encoder="any",
        layer="last",
        weights_sha256="0" * 64,
        recipe=PRESETS[preset],
        grid=grid,
        components_drawn=components,
        components_kept=components,
    )


def embedding(seed, of):
    return np.random.default_rng(seed).normal(2, 1, of.length).astype(np.float16)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["default", "official"]), st.booleans())
def test_shares_add_up_to_the_score(seed, preset, with_mean):
    of = spec(preset)
    query, hit = embedding(seed, of), embedding(seed + 1, of)
    mean = embedding(seed + 2, of).astype(np.float32) if with_mean else NO_MEAN
    score = scores(centred(query[None], mean)[0], hit[None], mean)[0]
    assert shares(query, hit, mean, of).score == pytest.approx(float(score), abs=1e-5)


def test_shares_of_a_full_sized_embedding_add_up_to_the_score():
    of = spec(grid=(16, 16), components=100)
    query, hit = embedding(0, of), embedding(1, of)
    hit = (0.5 * hit + 0.5 * query).astype(np.float16)
    mean = np.full(of.length, 2, np.float32)
    parts = shares(query, hit, mean, of)
    assert parts.cells.shape == (3, 16, 16)
    assert parts.score == pytest.approx(float(scores(centred(query[None], mean)[0], hit[None], mean)[0]), abs=1e-5)


def test_two_scans_that_meet_in_one_cell_get_their_whole_score_there():
    of = spec()
    query, hit = np.zeros(of.shape, np.float16), np.zeros(of.shape, np.float16)
    query[1, :, 7] = hit[1, :, 7] = [1, 2, 3, 4, 5]
    query[2, :, 0] = hit[0, :, 5] = 1
    parts = shares(query.ravel(), hit.ravel(), NO_MEAN, of)
    expected = np.zeros((3, 3, 4))
    expected[1, 1, 3] = 55 / 60
    assert parts.cells == pytest.approx(expected, abs=1e-6)
    assert parts.cls.tolist() == [0, 0, 0]


def test_the_share_of_cls_stands_apart_from_the_cells():
    of = spec("official")
    query = np.zeros(of.shape, np.float16)
    query[0, 0, 0], query[2, 0, 12] = 3, 4
    parts = shares(query.ravel(), query.ravel(), NO_MEAN, of)
    assert parts.cls == pytest.approx([9 / 25, 0, 0])
    assert parts.cells[2, 2, 3] == pytest.approx(16 / 25)
    assert parts.score == pytest.approx(1)


def test_an_embedding_of_another_length_is_refused():
    of = spec()
    with pytest.raises(SpecError, match=f"expected \\({of.length},\\)"):
        shares(embedding(0, of), embedding(1, of)[:-1], NO_MEAN, of)
