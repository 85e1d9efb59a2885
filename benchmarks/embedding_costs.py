"""What one way of embedding costs: ours through the engine, and the published way, on the same weights and files."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from published_path import published_embedding
from real_volumes import read
from torch import Tensor

from raptor_search.embedding import Embedding
from raptor_search.encoder_cards import ENCODERS
from raptor_search.encoders import spec_for
from raptor_search.encoders.dinov2 import Dinov2, _build
from raptor_search.engine import Engine
from raptor_search.intensity import IntensityRule, choose_rule
from raptor_search.slicing import slice_chunks
from raptor_search.specs import Recipe
from raptor_search.volume import Volume

__all__ = ["Row", "Subject", "ours", "published", "scaled"]

READERS = 8
"""Threads that read ahead of a GPU; beside a CPU encoder one."""


@dataclass(frozen=True)
class Row:
    """What one way costs a volume.

    Attributes:
        name: preset, or "published".
        slices: taken of each volume.
        encoded: slices that went through the encoder a volume, filled-up places counted.
        wall: seconds of the clock.
        cpu: seconds of all cores.
        read: of those, seconds of cores for reading and choosing the window.
        encode: seconds in the encoder: of cores on a CPU, of the device on a GPU.
        prepare: seconds for window and slices, measured alone: of cores on a CPU, of the clock on a GPU.
        leaving: bytes that leave the device.
        compile: seconds, once.
    """

    name: str
    slices: int
    encoded: float
    wall: float
    cpu: float
    read: float
    encode: float
    prepare: float
    leaving: int
    compile: float = 0.0


class Probe:
    """Stands between an engine and its encoder: counts slices and seconds."""

    def __init__(self, engine: Engine) -> None:
        runner = engine._runner
        self._encode = runner._encode
        self._on_gpu = runner.device.type == "cuda"
        self._lock = threading.Lock()
        self._events: list[tuple[Any, Any]] = []
        self._seconds = 0.0
        self.slices = 0
        runner._encode = self.encode

    def encode(self, images: Tensor) -> Tensor:
        if self._on_gpu:
            make: Any = torch.cuda.Event  # torch leaves it untyped
            events = make(enable_timing=True), make(enable_timing=True)
            events[0].record()
            tokens = self._encode(images)
            events[1].record()
            self._events.append(events)
            self.slices += len(images)
            return tokens
        start = time.thread_time()
        tokens = self._encode(images)
        with self._lock:
            self._seconds += time.thread_time() - start
            self.slices += len(images)
        return tokens

    @property
    def seconds(self) -> float:
        milliseconds: float = sum(a.elapsed_time(b) for a, b in self._events)
        return self._seconds + milliseconds / 1000


class Reader:
    """Reads files ahead, a bounded number, and counts the seconds of its cores."""

    def __init__(self, files: list[Path], threads: int) -> None:
        self._files = files
        self._threads = threads
        self._lock = threading.Lock()
        self.seconds = 0.0

    def __iter__(self) -> Iterator[tuple[str, Volume, IntensityRule]]:
        with ThreadPoolExecutor(self._threads) as pool:
            ahead: deque[Future[tuple[str, Volume, IntensityRule]]] = deque()
            for path in self._files:
                ahead.append(pool.submit(self._read, path))
                if len(ahead) > self._threads:
                    yield ahead.popleft().result()
            for future in ahead:
                yield future.result()

    def _read(self, path: Path) -> tuple[str, Volume, IntensityRule]:
        start = time.thread_time()
        volume = read(path)
        rule = choose_rule(volume.voxels)
        with self._lock:
            self.seconds += time.thread_time() - start
        return path.name, volume, rule


class Subject:
    """An encoder for ours and the same model for the published way."""

    def __init__(self, name: str, weights: Path | None, layer: str, device: torch.device) -> None:
        self.card = ENCODERS[name]
        self.device = device
        self.layer = layer
        self._tensors, self.weights = _tensors(name, weights)
        on_gpu = device.type == "cuda"
        settings: dict[str, Any] = {"layer": layer, "weights_sha256": self.weights, "device": device}
        self.encoder = Dinov2(self.card, self._tensors, dtype=torch.bfloat16 if on_gpu else torch.float32, **settings)

    @cached_property
    def _model(self) -> Any:
        model = _build(self.card, self._tensors)
        if self.layer != "last":
            model.encoder.layer = model.encoder.layer[: int(self.layer)]
        return model.to(self.device).eval()

    def published(self, images: Tensor) -> Tensor:
        """Tokens of colour images, as transformers' own model gives them."""
        with torch.inference_mode():
            tokens: Tensor = self._model(pixel_values=images).last_hidden_state
        return tokens


def _tensors(name: str, weights: Path | None) -> tuple[dict[str, Tensor], str]:
    card = ENCODERS[name]
    if name == "vits14-packaged":
        from raptor_search.encoders.checkpoint import package_file
        from raptor_search.encoders.vits14_packaged import _read_onnx

        return _read_onnx(card, weights or package_file(card)), "the package's"
    if weights is not None:
        from raptor_search.encoders.checkpoint import read_tensors
        from raptor_search.encoders.meta_names import from_meta_names, has_meta_names

        tensors = read_tensors(card, weights)
        return (from_meta_names(tensors) if has_meta_names(tensors) else tensors), weights.name
    from raptor_search.encoders.dinov2 import HEAD_DIM, SWIGLU, TRAINED_SIDE, _classes

    model_class, config_class = _classes(card)
    config = config_class(
        hidden_size=card.dim,
        num_hidden_layers=card.layers,
        num_attention_heads=card.dim // HEAD_DIM,
        image_size=TRAINED_SIDE,
        patch_size=card.patch,
        use_swiglu_ffn=card.name in SWIGLU,
    )
    torch.manual_seed(0)
    return model_class(config).state_dict(), "random"


def ours(subject: Subject, files: list[Path], recipe: Recipe, **settings: Any) -> tuple[Row, dict[str, Embedding]]:
    """The engine over the files."""
    on_gpu = subject.device.type == "cuda"
    start = time.perf_counter()
    engine = Engine(subject.encoder, spec_for(subject.encoder, recipe), on_notice=print, **settings)
    compiling = time.perf_counter() - start
    probe, reader = Probe(engine), Reader(files, READERS if on_gpu else 1)
    wall, cpu = time.perf_counter(), time.process_time()
    made = dict(engine.embed(reader))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if errors := [e for e in made.values() if not isinstance(e, Embedding)]:
        raise RuntimeError(f"{len(errors)} volumes failed: {errors[0]}")
    slices = 3 * (recipe.slices_per_plane or recipe.cube)
    n = len(files)
    row = Row(
        name=recipe.preset,
        slices=slices,
        encoded=probe.slices / n,
        wall=wall / n,
        cpu=cpu / n,
        read=reader.seconds / n,
        encode=probe.seconds / n,
        prepare=_prepare_seconds(read(files[0]), recipe, subject.device),
        leaving=4 * engine.spec.length + slices,  # the values, and whether each slice is constant
        compile=compiling if on_gpu else 0.0,
    )
    return row, {name: e for name, e in made.items() if isinstance(e, Embedding)}


def _prepare_seconds(volume: Volume, recipe: Recipe, device: torch.device) -> float:
    rule, spent = choose_rule(volume.voxels), []
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if device.type == "cpu" else threads)
    for _ in range(2):
        start = _clock(device)
        for _, images in slice_chunks(volume, rule, recipe, device):
            images.amin((1, 2)), images.amax((1, 2))
        spent.append(_clock(device) - start)
    torch.set_num_threads(threads)
    return min(spent)


def _clock(device: torch.device) -> float:
    if device.type == "cpu":
        return time.thread_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def published(subject: Subject, files: list[Path], *, every: int) -> Row:
    """The re-created published way over the files, one thread an operation on a CPU."""
    threads = torch.get_num_threads()
    if subject.device.type == "cpu":
        torch.set_num_threads(1)
    subject.published(torch.zeros(1, 3, 224, 224, device=subject.device))  # loads the model
    wall, cpu, reading, slices, copied = time.perf_counter(), time.process_time(), 0.0, 0, 0
    for file in files:
        start = time.thread_time()
        voxels = read(file).voxels
        reading += time.thread_time() - start
        _, some, size = published_embedding(voxels, subject.published, subject.device, every=every)
        slices, copied = slices + some, copied + size
    wall, cpu, n = time.perf_counter() - wall, time.process_time() - cpu, len(files)
    torch.set_num_threads(threads)
    return Row("published", slices // n, slices / n, wall / n, cpu / n, reading / n, 0.0, 0.0, copied // n)


def scaled(row: Row, times: int) -> Row:
    """The row as it would be with so many times the slices; a volume is read once all the same."""

    def more(whole: float, once: float) -> float:
        return once + (whole - once) * times

    return replace(
        row,
        slices=row.slices * times,
        encoded=row.encoded * times,
        wall=more(row.wall, row.read),
        cpu=more(row.cpu, row.read),
        leaving=row.leaving * times,
        encode=row.encode * times,
    )
