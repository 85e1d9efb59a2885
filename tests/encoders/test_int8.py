"""Eight bits: each layer against the product written out, the model near the exact one, and where it is refused."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from raptor_search.embedding import check_belongs
from raptor_search.encoders import Encoder, load_encoder, spec_for
from raptor_search.encoders.int8 import Int8Linear
from raptor_search.errors import SpecError, UsageError
from raptor_search.intensity import choose_rule, normalise
from tests.real_slices import real_volume


@pytest.fixture(scope="module")
def exact() -> Encoder:
    return load_encoder("vits14-packaged")


@pytest.fixture(scope="module")
def rounded() -> Encoder:
    return load_encoder("vits14-packaged", precision="int8")


def real_slices(number: int) -> torch.Tensor:
    """Axial slices from the middle of a real brain (its first 224 rows), on a field of 224 x 224."""
    voxels = real_volume("icbm-nonlinear-t1")
    brain = normalise(voxels, choose_rule(voxels)).astype(np.float32)
    middle = brain.shape[2] // 2
    images = np.zeros((number, 224, 224), np.float32)
    images[:, : brain.shape[0]] = np.moveaxis(brain[:, :224, middle : middle + number], 2, 0)
    return torch.from_numpy(images)


@given(st.integers(0, 2**31), st.sampled_from([1.0, 1e-3, 1e4]), st.floats(-3, 3))
def test_a_layer_is_the_product_of_whole_numbers_written_out(seed: int, size: float, shift: float) -> None:
    torch.manual_seed(seed)
    linear = nn.Linear(24, 10)
    tokens = (torch.randn(2, 5, 24) + shift) * size
    got = Int8Linear(linear)(tokens).double().detach().numpy()
    weight, x = linear.weight.detach().double().numpy(), tokens.double().numpy()
    column = np.abs(weight).max(axis=1) / 127
    low, high = x.min(axis=-1, keepdims=True), x.max(axis=-1, keepdims=True)
    step, middle = (high - low) / 254, (high + low) / 2
    near = np.round((x - middle) / step) * step + middle
    expected = near @ (np.round(weight / column[:, None]) * column[:, None]).T + linear.bias.detach().numpy()
    # Where a number lies half way between two whole ones, float32 may take the other: one step of one input.
    assert np.abs(got - expected).max() <= 1.01 * step.max() * np.abs(weight).max() + 1e-5 * np.abs(expected).max()


def test_a_constant_token_and_a_column_of_zeros_stay_finite() -> None:
    linear = nn.Linear(4, 3)
    with torch.no_grad():
        linear.weight[1] = 0
    out = Int8Linear(linear)(torch.full((1, 4), 0.5))
    torch.testing.assert_close(out, linear(torch.full((1, 4), 0.5)), rtol=0, atol=0.01)


def test_tokens_are_near_the_exact_ones_but_others(exact: Encoder, rounded: Encoder) -> None:
    images = real_slices(4)
    a, b = exact.encode(images), rounded.encode(images)
    assert b.dtype == torch.float32
    middle = a.mean((0, 1))
    cosine = torch.nn.functional.cosine_similarity((a - middle).flatten(1), (b - middle).flatten(1))
    assert 0.995 < float(cosine.min()) < 0.99999


def test_no_number_depends_on_the_batch(rounded: Encoder) -> None:
    images = real_slices(3)
    alone = torch.cat([rounded.encode(image[None]) for image in images])
    torch.testing.assert_close(rounded.encode(images), alone, rtol=0, atol=1e-4)


def test_its_spec_is_another_and_the_two_never_meet(exact: Encoder, rounded: Encoder) -> None:
    mine, theirs = spec_for(rounded), spec_for(exact)
    assert (mine.precision, theirs.precision) == ("int8", "exact")
    assert theirs.differences(mine) == ["precision"]
    assert (mine.encoder_label, theirs.encoder_label) == ("vits14-packaged, int8", "vits14-packaged")
    assert mine.fingerprint != theirs.fingerprint
    with pytest.raises(SpecError, match="precision is exact, expected int8"):
        check_belongs(mine, exact)


def test_a_precision_that_does_not_exist_is_a_spec_error(exact: Encoder) -> None:
    with pytest.raises(SpecError, match="--precision fp8: expected one of exact, int8"):
        dataclasses.replace(spec_for(exact), precision="fp8")  # type: ignore[arg-type]


def test_a_cnn_and_a_gpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="--precision int8: efficientnet-lite0 is computed exactly only"):
        load_encoder("efficientnet-lite0", precision="int8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda place: (9, 0))
    with pytest.raises(UsageError, match="--precision int8: runs on a CPU in float32 alone, not on cuda"):
        load_encoder("vits14-packaged", precision="int8", device="cuda")
