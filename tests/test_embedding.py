"""Embeddings: means over slices against a plain loop, the same bits twice, what is refused, what is stored."""

import dataclasses
import threading
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from raptor_search.embedding import Embedding, embed, token_means
from raptor_search.encoders import load_encoder, spec_for
from raptor_search.errors import ReadError, SpecError
from raptor_search.intensity import IntensityRule, choose_rule
from raptor_search.projection import gaussian_matrix
from raptor_search.slicing import slice_chunks
from raptor_search.specs import PRESETS, Recipe
from raptor_search.volume import Volume
from tests.phantoms import CELLS, Cells, volume

SMALL = dataclasses.replace(PRESETS["default"], preset="small", slices_per_plane=8)


class WithCls(Cells):
    """Cells with a CLS token of the number 7 before the grid."""

    card = dataclasses.replace(CELLS, has_cls=True)

    def encode(self, slices: Tensor) -> Tensor:
        return torch.cat([torch.full((len(slices), 1, 3), 7.0), super().encode(slices)], dim=1)


class Exploding(Cells):
    def encode(self, slices: Tensor) -> Tensor:
        return super().encode(slices) * float("inf")


@pytest.mark.parametrize("recipe", [SMALL, PRESETS["official"]], ids=["small", "native"])
def test_means_equal_a_plain_loop_over_every_slice(recipe: Recipe) -> None:
    recipe = dataclasses.replace(recipe, tokens="patches")
    scan, encoder = volume(0, (12, 16, 14)), Cells()
    means, rule = token_means(scan, encoder, recipe)
    tokens: list[list[np.ndarray]] = [[], [], []]
    for plane, images in slice_chunks(scan, rule, recipe, encoder.device):
        tokens[plane] += [encoder.encode(image[None])[0].numpy() for image in images]
    expected = np.array([np.mean(plane, axis=0, dtype=np.float64) for plane in tokens])
    assert means.dtype == np.float32
    assert means == pytest.approx(expected, abs=1e-6)


def test_an_embedding_is_the_projected_means_in_published_order() -> None:
    scan, encoder = volume(), Cells()
    spec = spec_for(encoder, SMALL, components=5)
    means, rule = token_means(scan, encoder, SMALL)
    made = embed(scan, encoder, spec)
    matrix = gaussian_matrix(3, spec)
    assert made.values.shape == spec.shape == (3, 5, 16)
    assert made.values == pytest.approx(np.einsum("ptd,dk->pkt", means, matrix), abs=1e-5)
    assert np.array_equal(made.vector.reshape(spec.shape), made.values)
    assert made.intensity_rule == rule == choose_rule(scan.voxels)


def test_patches_leave_the_cls_token_out_and_cls_patches_keep_it_first() -> None:
    scan = volume(0, (8, 9, 10))
    official = PRESETS["official"]
    kept, _ = token_means(scan, WithCls(), official)
    assert kept.shape == (3, 17, 3)
    assert (kept[:, 0] == 7).all()
    left, _ = token_means(scan, WithCls(), dataclasses.replace(official, tokens="patches"))
    assert np.array_equal(left, kept[:, 1:])


def test_slices_of_one_value_are_encoded_once_and_counted_every_time() -> None:
    voxels = np.zeros((16, 16, 16), np.float32)
    voxels[7:9, 7:9, 7:9] = 1
    encoder, seen = Cells(), []
    token_means(
        Volume(voxels=voxels, affine=np.eye(4)), encoder, PRESETS["full"], progress=lambda *done: seen.append(done)
    )
    assert seen[-1] == (672, 672)
    assert encoder.encoded < 3 * 224 / 2
    assert all(a[0] < b[0] for a, b in pairwise(seen))


def test_the_same_scan_gives_the_same_bits_twice_and_from_another_thread() -> None:
    scan, encoder = volume(), Cells()
    spec = spec_for(encoder, SMALL)
    first = embed(scan, encoder, spec)
    others: list[Embedding] = []
    thread = threading.Thread(target=lambda: others.append(embed(scan, encoder, spec)))
    thread.start()
    thread.join()
    others.append(embed(scan, encoder, spec))
    assert all(other.stored.tobytes() == first.stored.tobytes() for other in others)
    assert all(np.array_equal(other.values, first.values) for other in others)


@pytest.mark.parametrize("name", ["efficientnet-lite0", "vits14-packaged"])
def test_real_encoders_give_the_same_bits_twice_and_with_any_number_of_workers(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load_encoder(name)
    spec = spec_for(encoder, dataclasses.replace(SMALL, slices_per_plane=3))
    first, again = embed(volume(), encoder, spec), embed(volume(), encoder, spec)
    monkeypatch.setattr("raptor_search.engine.runner.WORKERS", 3)
    other = embed(volume(), encoder, spec)
    assert first.stored.tobytes() == again.stored.tobytes() == other.stored.tobytes()
    assert first.values.std() > 0


def test_torch_keeps_its_threads_also_after_a_failure() -> None:
    before = torch.get_num_threads()
    embed(volume(), Cells(), spec_for(Cells(), SMALL))
    with pytest.raises(ReadError):
        embed(volume(), Exploding(), spec_for(Exploding(), SMALL))
    assert torch.get_num_threads() == before


def test_the_scans_voxels_are_not_touched() -> None:
    scan = volume()
    before = scan.voxels.copy()
    scan.voxels.setflags(write=False)
    embed(scan, Cells(), spec_for(Cells(), SMALL))
    assert np.array_equal(scan.voxels, before)


def test_mirrored_scans_have_mirrored_cells() -> None:
    scan = volume(2)
    mirrored = dataclasses.replace(scan, voxels=scan.voxels[::-1].copy())
    means, _ = token_means(scan, Cells(), PRESETS["default"])  # 32 slices of 224: slabs of 7 have a middle
    other, _ = token_means(mirrored, Cells(), PRESETS["default"])
    cells, other_cells = means.reshape(3, 4, 4, 3), other.reshape(3, 4, 4, 3)
    assert other_cells[0] == pytest.approx(cells[0][:, ::-1], abs=1e-5)
    assert other_cells[1] == pytest.approx(cells[1][:, ::-1], abs=1e-5)
    assert other_cells[2] == pytest.approx(cells[2], abs=1e-5)
    assert np.abs(other_cells[0] - cells[0]).max() > 0.01


def test_a_spec_of_another_encoder_is_refused_by_field() -> None:
    spec = dataclasses.replace(spec_for(Cells(), SMALL), encoder="other", weights_sha256="beef")
    with pytest.raises(SpecError, match="encoder is cells, expected other; weights_sha256 is c0ffee, expected beef;"):
        embed(volume(), Cells(), spec)


def test_a_preset_that_keeps_cls_is_refused_where_there_is_none() -> None:
    with pytest.raises(SpecError, match="cells has no CLS token"):
        spec_for(Cells(), "official")
    with pytest.raises(SpecError, match="cells has no CLS token"):
        token_means(volume(), Cells(), PRESETS["official"])


@pytest.mark.parametrize("fmt", ["dicom", "nrrd"])
def test_the_official_preset_refuses_formats_that_the_script_has_no_rule_for(fmt: str) -> None:
    scan = dataclasses.replace(volume(), format=fmt)
    with pytest.raises(SpecError, match=f"no intensity rule for {fmt}"):
        embed(scan, WithCls(), spec_for(WithCls(), "official"))


def test_tokens_that_are_not_finite_are_a_read_error() -> None:
    with pytest.raises(ReadError, match="not finite") as caught:
        embed(volume(), Exploding(), spec_for(Exploding(), SMALL))
    assert caught.value.code == "not-finite"


def test_a_stored_vector_is_little_endian_float16_or_refused() -> None:
    spec = spec_for(Cells(), SMALL, components=2)
    values = np.random.default_rng(0).normal(size=spec.shape).astype(np.float32)
    rule = IntensityRule("hu", -1000, 1000)
    stored = Embedding(spec, values, rule).stored
    assert stored.dtype == np.dtype("<f2")
    assert stored == pytest.approx(values.ravel(), rel=1e-3, abs=1e-6)
    values[1, 0, 3] = 7e4
    with pytest.raises(ReadError, match="reaches 7e\\+04; expected at most 65504") as caught:
        _ = Embedding(spec, values, rule).stored
    assert caught.value.code == "not-finite"
    values[1, 0, 3] = np.nan
    with pytest.raises(ReadError):
        _ = Embedding(spec, values, rule).stored
