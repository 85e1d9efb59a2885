"""The reference means shipped for the packaged encoders: found by recipe, projected by the spec."""

import dataclasses

import numpy as np
import pytest

from raptor_search.encoders import ENCODERS
from raptor_search.projection import gaussian_matrix, project
from raptor_search.reference import pack_reference, reference_mean
from raptor_search.specs import PRESETS, EmbeddingSpec

PACKAGED = ["efficientnet-lite0", "vits14-packaged"]


def spec_of(name: str) -> EmbeddingSpec:
    card = ENCODERS[name]
    return EmbeddingSpec(
        encoder=name, layer=card.default_layer, weights_sha256=str(card.weights_sha256), grid=card.grid
    )


@pytest.mark.parametrize("name", PACKAGED)
def test_a_packaged_encoder_has_a_mean_for_every_k_and_seed(name: str) -> None:
    spec = spec_of(name)
    mean = reference_mean(spec)
    assert mean is not None
    assert mean.shape == (spec.length,)
    assert mean.dtype == np.float32
    assert np.isfinite(mean).all()
    assert mean.std() > 0
    small = dataclasses.replace(spec, components_drawn=10, components_kept=10, seed=3)
    other = reference_mean(small)
    assert other is not None
    assert other.shape == (small.length,)
    first = reference_mean(dataclasses.replace(spec, components_kept=10))
    assert np.array_equal(first, mean.reshape(spec.shape)[:, :10].ravel())


@pytest.mark.parametrize(
    "change",
    [{"layer": "3"}, {"weights_sha256": "beef"}, {"recipe": PRESETS["full"]}, {"encoder": "dinov2-large"}],
    ids=lambda change: next(iter(change)),
)
def test_anything_else_that_differs_means_no_reference(change: dict[str, object]) -> None:
    assert reference_mean(dataclasses.replace(spec_of("vits14-packaged"), **change)) is None


def test_the_cached_mean_cannot_be_written_to() -> None:
    mean = reference_mean(spec_of("vits14-packaged"))
    assert mean is not None
    with pytest.raises(ValueError, match="read-only"):
        mean[0] = 1


def test_a_packed_mean_reads_back(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path)) / "encoders" / "reference_means"
    folder.mkdir(parents=True)
    spec = dataclasses.replace(spec_of("vits14-packaged"), encoder="mine", seed=5)
    means = np.random.default_rng(0).normal(size=(3, 256, 12)).astype(np.float16).astype(np.float32)
    (folder / "mine.npz").write_bytes(pack_reference(means, spec, ["a", "b"]))
    monkeypatch.setattr("raptor_search.reference.files", lambda _: folder.parents[1])
    read = reference_mean(spec)
    assert np.array_equal(read, project(means, gaussian_matrix(12, spec)).ravel())
