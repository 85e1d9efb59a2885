"""The engine against a loop written out, whatever the batches, the order and the company of the volumes."""

import dataclasses
from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from raptor_search.embedding import Embedding, Encoder, embed
from raptor_search.encoders import load_encoder, spec_for
from raptor_search.engine import Engine
from raptor_search.engine.batching import Batch
from raptor_search.errors import ReadError, SpecError
from raptor_search.intensity import IntensityRule, choose_rule, normalise
from raptor_search.planes import slice_indices
from raptor_search.projection import reproject
from raptor_search.resampling import axis_weights
from raptor_search.specs import PRESETS, EmbeddingSpec
from raptor_search.volume import Volume
from tests.phantoms import Cells, volume

SMALL = dataclasses.replace(PRESETS["default"], preset="small", slices_per_plane=8)
PAPER = dataclasses.replace(PRESETS["paper"], preset="small-paper", slices_per_plane=3)
FEW = dataclasses.replace(SMALL, slices_per_plane=3)
SCANS = {f"scan {seed}": volume(seed, (12 + seed, 16, 14)) for seed in range(5)}


@pytest.fixture(scope="module")
def vits14() -> Encoder:
    return load_encoder("vits14-packaged", layer="1")


def padded() -> Volume:
    """A scan with empty slices at the ends of each axis."""
    voxels = np.zeros((20, 22, 24), np.int16)
    voxels[6:14, 7:15, 8:16] = np.random.default_rng(3).integers(1, 900, (8, 8, 8))
    return Volume(voxels=voxels, affine=np.eye(4))


def items(scans: dict[str, Volume]) -> Iterator[tuple[str, Volume, IntensityRule | None]]:
    return ((name, scan, None) for name, scan in scans.items())


def embeddings(engine: Engine, scans: dict[str, Volume]) -> dict[str, np.ndarray]:
    made = list(engine.embed(items(scans)))
    assert [name for name, _ in made] == list(scans)
    return {name: values(embedding) for name, embedding in made}


def values(made: Embedding | ReadError) -> np.ndarray:
    assert isinstance(made, Embedding)
    return made.values


def across(engine: Engine) -> Engine:
    """The engine with batches over volumes, filled up to one shape: as on a GPU."""
    engine._runner.is_static = engine._averager.spans_volumes = True
    return engine


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def written_out(scan: Volume, encoder: Encoder, spec: EmbeddingSpec) -> np.ndarray:
    """The embedding slice by slice, all but the encoder in float64."""
    recipe = spec.recipe
    data = normalise(scan.voxels, choose_rule(scan.voxels), dtype=np.float64)
    extents = np.array(data.shape) * scan.spacing
    covered = extents.max() / extents if recipe.resample == "fit" else np.ones(3)
    weights = [axis_weights(n, recipe.cube, covered=c) for n, c in zip(data.shape, covered, strict=True)]
    cube = np.einsum("ri,aj,sk,ijk->ras", *weights, data, optimize=True)
    shrink = axis_weights(recipe.cube, 224)
    matrix = np.random.RandomState(spec.seed).randn(encoder.card.dim, spec.components_drawn)
    matrix /= np.sqrt(spec.components_drawn)
    planes = []
    for stack in (cube.transpose(2, 1, 0), cube.transpose(1, 2, 0), cube.transpose(0, 2, 1)):
        total = np.zeros((spec.tokens_per_plane, encoder.card.dim))
        taken = slice_indices(recipe.cube, recipe.slices_per_plane)
        for index in taken:
            image = shrink @ stack[index, ::-1, ::-1] @ shrink.T
            tokens = encoder.encode(torch.from_numpy(image.clip(0, 1)).float()[None])[0].double().numpy()
            total += tokens[1:] if encoder.card.has_cls else tokens
        planes.append((total / len(taken) @ matrix).T)
    return np.array(planes)


@pytest.mark.parametrize("recipe", [FEW, PAPER], ids=["fit", "stretch"])
@pytest.mark.parametrize("is_gpu_like", [False, True])
def test_the_engine_equals_a_loop_written_out(vits14: Encoder, recipe, is_gpu_like: bool) -> None:
    spec = spec_for(vits14, recipe)
    engine = Engine(vits14, spec, batch_size=5 if is_gpu_like else None)
    scans = {"one": volume(1), "padded": padded()}
    made = embeddings(across(engine) if is_gpu_like else engine, scans)
    for name, scan in scans.items():
        want = written_out(scan, vits14, spec)
        assert made[name].shape == want.shape == spec.shape
        assert cosine(made[name], want) >= 0.999999
        assert np.abs(made[name] - want).max() <= 1e-4 * np.abs(want).max()


@pytest.mark.parametrize("is_gpu_like", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_the_batch_size_changes_nothing(vits14: Encoder, batch_size: int, is_gpu_like: bool) -> None:
    spec = spec_for(vits14, FEW)
    scans = {"one": volume(1), "padded": padded()}
    want = embeddings(Engine(vits14, spec), scans)
    engine = Engine(vits14, spec, batch_size=batch_size)
    made = embeddings(across(engine) if is_gpu_like else engine, scans)
    for name in scans:
        assert np.abs(made[name] - want[name]).max() <= 1e-5 * np.abs(want[name]).max()


@pytest.mark.parametrize("is_gpu_like", [False, True])
def test_order_and_split_of_the_volumes_change_nothing(is_gpu_like: bool) -> None:
    spec = spec_for(Cells(), SMALL)

    def engine() -> Engine:
        made = Engine(Cells(), spec, batch_size=10)
        return across(made) if is_gpu_like else made

    want = embeddings(engine(), SCANS)
    turned = embeddings(engine(), dict(reversed(SCANS.items())))
    split = [dict(list(SCANS.items())[some]) for some in (slice(0, 2), slice(2, 3), slice(3, 5))]
    parts = {name: found for part in split for name, found in embeddings(engine(), part).items()}
    for name, scan in SCANS.items():
        alone = embed(scan, Cells(), spec).values
        for other in (turned[name], parts[name], alone):
            assert cosine(other, want[name]) >= 0.999999
            assert np.abs(other - want[name]).max() <= 1e-5 * np.abs(want[name]).max()
            assert is_gpu_like or other is alone or np.array_equal(other, want[name])


def test_batches_of_one_shape_run_over_the_border_of_volumes() -> None:
    encoder = Counting()
    engine = across(Engine(encoder, spec_for(encoder, SMALL), batch_size=20))
    assert len(embeddings(engine, SCANS)) == 5
    kept = encoder.kept
    assert set(encoder.sizes) == {20}
    assert len(encoder.sizes) == -(-kept // 20) + encoder.flat_batches


class Counting(Cells):
    """Cells that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.kept = self.flat_batches = 0
        self.flat: list[float] = []

    def encode(self, slices: Tensor) -> Tensor:
        self.sizes.append(len(slices))
        if slices[0].min() == slices[0].max():
            self.flat_batches += 1
            self.flat.append(float(slices[0, 0, 0]))
        else:
            self.kept += int((slices.amax((1, 2)) > slices.amin((1, 2))).sum())
        return super().encode(slices)


def test_constant_slices_are_encoded_once_for_all_volumes() -> None:
    encoder = Counting()
    spec = spec_for(encoder, SMALL)
    engine = Engine(encoder, spec)
    made = embeddings(engine, {"first": padded(), "second": padded(), "third": padded()})
    assert encoder.flat == [0.0]
    assert np.array_equal(made["first"], made["third"])
    assert cosine(made["first"], written_out(padded(), Cells(), spec)) >= 0.999999
    embeddings(engine, {"fourth": padded()})
    assert encoder.flat == [0.0]


def test_a_ramp_has_constant_slices_of_many_values_of_which_some_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raptor_search.engine.averaging.FLAT_KEPT", 8)
    ramp = np.broadcast_to(np.arange(96, dtype=np.float32), (8, 8, 96)).copy()
    scan = Volume(voxels=ramp, affine=np.eye(4))
    encoder = Counting()
    recipe = dataclasses.replace(PAPER, slices_per_plane=0)
    spec = spec_for(encoder, recipe)
    engine = Engine(encoder, spec)
    made = embeddings(engine, {"ramp": scan})
    assert len(engine._averager._flat) == 8
    assert len(set(encoder.flat)) == len(encoder.flat) > 20
    assert cosine(made["ramp"], written_out(scan, Cells(), spec)) >= 0.999999


class Exploding(Cells):
    """Cells whose tokens are infinite where a slice is brighter than 0.999 somewhere."""

    def encode(self, slices: Tensor) -> Tensor:
        tokens = super().encode(slices)
        tokens[slices.amax((1, 2)) > 0.999] = float("inf")
        return tokens


@pytest.mark.parametrize("is_gpu_like", [False, True])
def test_a_volume_that_fails_is_one_error_among_the_others(is_gpu_like: bool) -> None:
    dim = IntensityRule("percentile", 0.0, 2000.0)  # of voxels up to 900
    engine = Engine(Exploding(), spec_for(Exploding(), SMALL), batch_size=10)
    engine = across(engine) if is_gpu_like else engine
    first, bad, last = engine.embed([("first", volume(0), dim), ("bad", volume(1), None), ("last", volume(2), dim)])
    assert (first[0], bad[0], last[0]) == ("first", "bad", "last")
    assert isinstance(bad[1], ReadError)
    assert (bad[1].code, bad[1].message[:38]) == ("not-finite", "the encoder's tokens are not finite; e")
    assert np.isfinite(values(first[1])).all()
    assert np.isfinite(values(last[1])).all()


def test_a_volume_too_large_for_the_device_is_one_error_among_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    from raptor_search import slicing

    def staged(voxels, rule, device):
        if voxels.shape[0] == 20:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return whole(voxels, rule, device)

    whole = slicing.staged
    monkeypatch.setattr(slicing, "staged", staged)
    engine = Engine(Cells(), spec_for(Cells(), SMALL))
    scans = {"one": volume(0, (12, 14, 16)), "large": volume(0, (20, 14, 16)), "two": volume(1, (12, 14, 16))}
    made = dict(engine.embed(items(scans)))
    assert isinstance(made["large"], ReadError)
    assert (made["large"].code, made["large"].message) == ("too-large", "its voxels do not fit the memory of cpu")
    assert np.array_equal(values(made["two"]), embed(scans["two"], Cells(), engine.spec).values)
    assert np.array_equal(values(made["one"]), embed(scans["one"], Cells(), engine.spec).values)


def test_no_memory_for_a_batch_costs_the_volumes_in_it_and_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_for(Cells(), SMALL)
    want = embeddings(across(Engine(Cells(), spec, batch_size=20)), SCANS)
    engine, whole, calls = across(Engine(Cells(), spec, batch_size=20)), Batch.images, []

    def short(batch: Batch[object]) -> Tensor:
        calls.append([getattr(owner, "key", None) for owner, _, _ in batch.owners])
        if len(calls) == 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        images: Tensor = whole.__get__(batch)
        return images

    monkeypatch.setattr(Batch, "images", property(short))
    made = dict(engine.embed(items(SCANS)))
    assert list(made) == list(SCANS)
    lost = set(calls[2])
    assert 0 < len(lost) < len(SCANS)
    for name, found in made.items():
        if name in lost:
            assert isinstance(found, ReadError)
            assert (found.code, found.message) == ("too-large", "its slices do not fit the memory of cpu")
        else:
            assert np.array_equal(values(found), want[name])


def test_a_given_window_is_taken_but_for_the_published_recipe() -> None:
    given = IntensityRule("hu", 100.0, 300.0)
    engine = Engine(Cells(), spec_for(Cells(), SMALL))
    ((_, made),) = engine.embed([("a", volume(), given)])
    assert isinstance(made, Embedding)
    assert made.intensity_rule == given
    assert not np.array_equal(made.values, embed(volume(), Cells(), engine.spec).values)
    official = dataclasses.replace(PRESETS["official"], tokens="patches")
    engine = Engine(Cells(), spec_for(Cells(), official))
    ((_, made),) = engine.embed([("a", volume(0, (6, 7, 8)), given)])
    assert isinstance(made, Embedding)
    assert made.intensity_rule == IntensityRule("published-nifti", 0.0, 1280.0)


def test_kept_tokens_give_any_components_seed_and_scale_without_embedding_again() -> None:
    spec = spec_for(Cells(), SMALL, components=7)
    ((_, made),) = Engine(Cells(), spec, keep_tokens=True).embed([("a", volume(), None)])
    assert isinstance(made, Embedding)
    assert made.tokens is not None
    assert made.tokens.dtype == np.float32
    assert made.tokens.shape == (3, 16, 3)
    other = dataclasses.replace(
        spec, components_drawn=20, components_kept=10, seed=5, recipe=dataclasses.replace(SMALL, scale="1")
    )
    for wanted in (spec, other):
        again = reproject(made.tokens, wanted)
        assert again.shape == wanted.shape
        want = embed(volume(), Cells(), wanted).values
        assert np.abs(again - want).max() <= 1e-6 * np.abs(want).max()
    assert embed(volume(), Cells(), spec).tokens is None
    with pytest.raises(SpecError, match="tokens are 3 planes of 16, the spec's 3 of 25; embed the scans again"):
        reproject(made.tokens, dataclasses.replace(spec, grid=(5, 5)))


class Half(Cells):
    """Cells that answers in bfloat16, as encoders on a GPU do."""

    def encode(self, slices: Tensor) -> Tensor:
        return super().encode(slices).to(torch.bfloat16)


def test_tokens_of_half_precision_are_summed_in_float32() -> None:
    spec = spec_for(Cells(), dataclasses.replace(SMALL, slices_per_plane=64))
    ((_, made),) = Engine(Half(), spec, batch_size=64).embed([("a", volume(), None)])
    want = written_out(volume(), Half(), spec)
    assert cosine(values(made), want) >= 0.9999999  # summed in bfloat16 it is .99999986
    assert np.abs(values(made) - want).max() <= 1e-5 * np.abs(want).max()


def test_volumes_are_asked_for_one_by_one_and_none_is_held_back_long() -> None:
    asked: list[int] = []

    def endless() -> Iterable[tuple[int, Volume, None]]:
        for number in range(10**9):
            asked.append(number)
            yield number, volume(number % 3, (8, 9, 10)), None

    stream = Engine(Cells(), spec_for(Cells(), SMALL)).embed(endless())
    for number, (key, _) in zip(range(6), stream, strict=False):
        assert key == number
        assert len(asked) <= number + 2


def test_between_two_results_torch_is_as_the_caller_left_it_and_a_stream_may_be_left() -> None:
    before = torch.get_num_threads()
    engine = Engine(Cells(), spec_for(Cells(), SMALL))
    stream = engine.embed(items(SCANS))
    first = next(stream)
    assert not torch.is_inference_mode_enabled()
    assert torch.get_num_threads() == before
    stream.close()
    again = next(engine.embed(items(SCANS)))
    assert np.array_equal(values(first[1]), values(again[1]))


def test_progress_is_told_per_volume_up_to_its_slices() -> None:
    heard: dict[str, list[tuple[int, int]]] = {}
    engine = Engine(Cells(), spec_for(Cells(), SMALL))
    list(engine.embed(items(SCANS), on_slices=lambda key, *done: heard.setdefault(key, []).append(done)))
    assert list(heard) == list(SCANS)
    for told in heard.values():
        assert told[-1] == (24, 24)
        assert all(a[0] < b[0] for a, b in pairwise(told))


def test_halved_batches_give_the_same_and_are_said_as_a_warning() -> None:
    class Greedy(Cells):
        def encode(self, slices: Tensor) -> Tensor:
            if len(slices) > 2:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return super().encode(slices)

    spec = spec_for(Cells(), SMALL)
    engine = Engine(Greedy(), spec, batch_size=4)
    with pytest.warns(RuntimeWarning, match="out of memory on cpu with 4 slices at once: going on with 2"):
        made = embeddings(engine, SCANS)
    assert engine.batch_size == 2
    for name, scan in SCANS.items():
        want = embed(scan, Cells(), spec).values
        assert np.abs(made[name] - want).max() <= 1e-5 * np.abs(want).max()


def test_a_spec_of_another_encoder_is_refused_at_once() -> None:
    with pytest.raises(SpecError, match="encoder is cells, expected other"):
        Engine(Cells(), dataclasses.replace(spec_for(Cells(), SMALL), encoder="other"))
    with pytest.raises(SpecError, match="takes no slices"):
        list(Engine(Cells(), spec_for(Cells(), dataclasses.replace(SMALL, slices_per_plane=-1))).embed(items(SCANS)))
