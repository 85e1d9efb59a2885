"""What an encoder computes, in FLOP, and how fast this device multiplies matrices of just those shapes."""

import math
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from raptor_search.embedding import Encoder

__all__ = ["Work", "matmul_rate", "work_of"]

SECONDS = 1.0
"""How long each shape is multiplied, at least."""


@dataclass(frozen=True)
class Work:
    """One batch through an encoder.

    Attributes:
        flop: of all matrix products, convolutions and attention.
        products: the matrix products (rows, inner, columns) of its linear layers, with how often each occurs.
        dtype: of those.
    """

    flop: int
    products: Counter[tuple[int, int, int]]
    dtype: torch.dtype


def work_of(encoder: Encoder, batch: int) -> Work:
    """What a batch of slices costs, read off the operations that really run."""
    recorder = _Recorder()
    with torch.inference_mode():
        images = torch.rand(batch, 224, 224, device=encoder.device)
        with recorder:
            encoder.encode(images)
    if not recorder.flop:
        raise RuntimeError("no matrix product was seen: this torch runs the encoder by other operations")
    return Work(recorder.flop, recorder.products, recorder.dtype)


class _Recorder(TorchDispatchMode):
    """Counts 2 FLOP for each multiplication with addition."""

    def __init__(self) -> None:
        begin: Any = super().__init__  # torch leaves it untyped
        begin()
        self.flop = 0
        self.products: Counter[tuple[int, int, int]] = Counter()
        self.dtype = torch.float32

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = str(func).split(".")[1]
        tensors = [a for a in args if isinstance(a, Tensor)]
        if name in ("linear", "mm", "addmm"):
            self._product(name, tensors)
        elif name in ("conv2d", "convolution"):
            self.flop += 2 * out.numel() * math.prod(tensors[1].shape[1:])
        elif name in ("bmm", "baddbmm", "matmul"):
            self.flop += 2 * out.numel() * tensors[-2].shape[-1]
        elif "scaled_dot_product" in name:
            query, key = tensors[0].shape, tensors[1].shape
            self.flop += 4 * math.prod(query) * key[-2]
        return out

    def _product(self, name: str, tensors: list[Tensor]) -> None:
        if name == "linear":
            rows, inner, columns = tensors[0].numel() // tensors[0].shape[-1], tensors[0].shape[-1], len(tensors[1])
        else:
            left, right = tensors[-2:]
            rows, inner, columns = left.shape[0], left.shape[1], right.shape[1]
        self.flop += 2 * rows * inner * columns
        self.products[rows, inner, columns] += 1
        self.dtype = tensors[-1].dtype


def matmul_rate(work: Work, device: torch.device, *, side_by_side: int = 1, seconds: float = SECONDS) -> float | None:
    """FLOP a second of the encoder's own matrix products, one shape after another, each as often as it occurs.

    On a CPU a second is one of a core, `side_by_side` threads multiplying at once as the engine's do; on a GPU it is
    of the device. None for an encoder without linear layers.
    """
    if not work.products:
        return None
    if device.type == "cpu":
        with ThreadPoolExecutor(side_by_side, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            timings = list(pool.map(lambda _: _seconds(work, device, seconds), range(side_by_side)))
    else:
        timings = [_seconds(work, device, seconds)]
    flop = sum(2 * rows * inner * columns * number for (rows, inner, columns), number in work.products.items())
    return flop * len(timings) / sum(timings)


def _seconds(work: Work, device: torch.device, at_least: float) -> float:
    """Of all products of a batch, once each."""
    total = 0.0
    for (rows, inner, columns), number in work.products.items():
        left = torch.randn(rows, inner, device=device, dtype=work.dtype)
        right = torch.randn(columns, inner, device=device, dtype=work.dtype)
        total += number * _once(left, right, at_least)
    return total


def _once(left: Tensor, right: Tensor, at_least: float) -> float:
    with torch.inference_mode():
        for _ in range(3):
            torch.nn.functional.linear(left, right)
        done, start = 0, _clock(left.device)
        while (spent := _clock(left.device) - start) < at_least or done == 0:
            for _ in range(50 if left.device.type != "cpu" else 1):
                torch.nn.functional.linear(left, right)
                done += 1
    return spent / done


def _clock(device: torch.device) -> float:
    if device.type == "cpu":
        return time.thread_time()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    else:
        torch.mps.synchronize()
    return time.perf_counter()
