"""Several devices, one process each: volumes go to whichever asks next, embeddings come back as they are done.

A process holds one engine and nothing else of the program: the parent reads, looks up and commits. Voxels are
handed over as shared memory. Which device embedded a volume changes nothing beyond the tolerance of its dtype.
"""

import multiprocessing
import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from raptor_search.embedding import Embedding
from raptor_search.encoders import Dtype, load_encoder
from raptor_search.engine import Engine
from raptor_search.errors import RaptorError, ReadError, UsageError
from raptor_search.intensity import IntensityRule
from raptor_search.specs import EmbeddingSpec
from raptor_search.volume import Format, Volume

__all__ = ["Devices", "Order"]

K = TypeVar("K")

IN_FLIGHT = 4
"""Volumes a device that are handed over and not yet back; each is held in memory."""

LULL = 0.2
"""Seconds without a new volume after which a process finishes those it has: a batch may be waiting for more slices."""

LOOK = 1.0
"""Seconds between two looks whether every process is alive."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What each process is to load and make.

    Attributes:
        spec: of the embeddings; names encoder and layer.
        weights: a local checkpoint; None for the encoder's own.
        keep_tokens: whether the mean tokens come back too.
        dtype: what a transformer computes in; None takes what suits each device.
    """

    spec: EmbeddingSpec
    weights: Path | None = None
    keep_tokens: bool = False
    dtype: Dtype | None = None


@dataclass(frozen=True)
class _Job:
    """A volume without its voxels, and where these lie."""

    number: int
    memory: str
    dtype: str
    shape: tuple[int, ...]
    affine: bytes
    stored_axes: tuple[tuple[int, int], ...]
    format: Format
    oriented: bool
    rule: IntensityRule | None


class Devices:
    """Embeds on several devices; use it in a `with` statement.

    Args:
        order: what they make.
        devices: as torch names them, one process each; a device may be named twice.
        on_notice: hears, in a sentence each, what a process does otherwise than asked.

    Raises:
        UsageError: where no device is named.
    """

    def __init__(self, order: Order, devices: Sequence[str], *, on_notice: Callable[[str], None] | None = None) -> None:
        if not devices:
            raise UsageError("--devices: expected at least one, such as cuda:0,cuda:1")
        context = multiprocessing.get_context("spawn")
        self._devices = tuple(devices)
        self._on_notice = on_notice
        self._requests: Queue[_Job] = context.Queue()
        self._answers: Queue[tuple[str, Any, Any]] = context.Queue()
        self._processes: list[BaseProcess] = [
            context.Process(
                target=_work, args=(order, device, self._requests, self._answers), name=f"raptor {device}", daemon=True
            )
            for device in devices
        ]

    def __enter__(self) -> Self:
        for process in self._processes:
            process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()
        for channel in (self._requests, self._answers):
            channel.close()
            channel.cancel_join_thread()

    def embed(
        self, items: Iterable[tuple[K, Volume, IntensityRule | None]], /
    ) -> Iterator[tuple[K, Embedding | ReadError]]:
        """The embedding of each volume, or why it has none, as they are done: in no fixed order.

        Raises:
            RaptorError: a process ended, or its device cannot be used.
        """
        away: dict[int, tuple[K, SharedMemory]] = {}
        try:
            for number, (key, volume, rule) in enumerate(items):
                while len(away) >= IN_FLIGHT * len(self._devices):
                    yield self._next(away)
                memory, job = _handed_over(number, volume, rule)
                away[number] = key, memory
                self._requests.put(job)
            while away:
                yield self._next(away)
        finally:
            for _, memory in away.values():
                _free(memory)

    def _next(self, away: dict[int, tuple[K, SharedMemory]]) -> tuple[K, Embedding | ReadError]:
        while True:
            try:
                what, number, outcome = self._answers.get(timeout=LOOK)
            except queue.Empty:
                self._look()
                continue
            if what == "failed":
                raise RaptorError(outcome)
            if what == "notice":
                if self._on_notice is not None:
                    self._on_notice(outcome)
                continue
            key, memory = away.pop(number)
            _free(memory)
            return key, outcome

    def _look(self) -> None:
        for device, process in zip(self._devices, self._processes, strict=True):
            if not process.is_alive():
                raise RaptorError(
                    f"the process of {device} ended (exit status {process.exitcode}): what is committed stays; run the "
                    "command again, with fewer --devices if it ends again"
                )


def _handed_over(number: int, volume: Volume, rule: IntensityRule | None) -> tuple[SharedMemory, _Job]:
    voxels = volume.voxels
    memory = SharedMemory(create=True, size=voxels.nbytes)
    np.ndarray(voxels.shape, voxels.dtype, memory.buf)[...] = voxels
    job = _Job(
        number=number,
        memory=memory.name,
        dtype=voxels.dtype.str,
        shape=voxels.shape,
        affine=volume.affine.astype(np.float64).tobytes(),
        stored_axes=volume.stored_axes,
        format=volume.format,
        oriented=volume.oriented,
        rule=rule,
    )
    return memory, job


def _free(memory: SharedMemory) -> None:
    memory.close()
    memory.unlink()


def _work(order: Order, device: str, requests: "Queue[_Job]", answers: "Queue[tuple[str, Any, Any]]") -> None:
    """What a process does: one engine, one stream of volumes after another, until it is ended."""
    try:
        spec = order.spec
        encoder = load_encoder(
            spec.encoder,
            layer=spec.layer,
            weights=order.weights,
            device=device,
            dtype=order.dtype,
            precision=spec.precision,
        )
        engine = Engine(
            encoder,
            spec,
            keep_tokens=order.keep_tokens,
            on_notice=lambda notice: answers.put(("notice", None, f"{device}: {notice}")),
        )
        while True:
            for number, outcome in engine.embed(_burst(requests)):
                answers.put(("done", number, outcome))
    except RaptorError as error:
        answers.put(("failed", None, f"{device}: {error.message}"))
    except KeyboardInterrupt:
        return


def _burst(requests: "Queue[_Job]") -> Iterator[tuple[int, Volume, IntensityRule | None]]:
    """Volumes as they come, until none comes for a while."""
    job = requests.get()
    while True:
        yield job.number, _taken(job), job.rule
        try:
            job = requests.get(timeout=LULL)
        except queue.Empty:
            return


def _taken(job: _Job) -> Volume:
    """The volume with voxels of its own: shared memory must not be unmapped under an array that is still in use."""
    memory = SharedMemory(job.memory)
    voxels: np.ndarray[Any, np.dtype[Any]] = np.ndarray(job.shape, job.dtype, memory.buf).copy()
    memory.close()
    return Volume(
        voxels=voxels,
        affine=np.frombuffer(job.affine).reshape(4, 4),
        stored_axes=job.stored_axes,
        format=job.format,
        oriented=job.oriented,
    )
