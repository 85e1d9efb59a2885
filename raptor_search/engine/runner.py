"""Batches through an encoder: side by side on a CPU, compiled at one shape elsewhere, halved where memory is short."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from raptor_search.embedding import Encoder
from raptor_search.errors import UsageError
from raptor_search.slicing import IMAGE_SIDE

__all__ = ["Runner", "arithmetic", "is_out_of_memory"]

BATCH = {"cpu": 8, "cuda": 128, "mps": 32}
"""Slices encoded at once. On a CPU few: the activations of 8 slices stay nearer to its caches than those of 32."""

CORES = torch.get_num_threads()
"""What torch may use of the CPU, as it found it (or OMP_NUM_THREADS said)."""

WORKERS = min(CORES, 8)
"""Batches encoded at once on a CPU. Batches side by side, one core each, never wait for each other, where threads that
share every operation spin at its end and lose most of a busy machine; and the bits depend on no number of workers."""

THREADS = CORES // WORKERS
"""Threads of one operation: 1, but on machines with more cores than there are batches to fill them."""

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""How torch says it where it has no error class for it: on Apple's devices and on CPUs."""

REASON_LENGTH = 100


Submit = Callable[[Tensor], Callable[[], Tensor]]
"""Starts on a batch; what it returns waits for the tokens."""


class Runner:
    """An encoder, its batch size and the way it is run.

    Args:
        encoder: loaded.
        batch_size: slices at once; None takes what suits the device.
        compiled: whether `torch.compile` is used; None means on CUDA. It compiles here and now: a minute or so.
        on_notice: hears, in a sentence each, what is done otherwise than asked.

    Attributes:
        device: the encoder's.
        size: slices at once; halved each time that the memory does not suffice.
        is_static: whether every batch is filled up to `size`, which compiled code and GPUs want.

    Raises:
        UsageError: a batch size below 1, or not even one slice fits the memory.
    """

    def __init__(
        self, encoder: Encoder, *, batch_size: int | None, compiled: bool | None, on_notice: Callable[[str], None]
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise UsageError(f"batch size {batch_size}: expected at least 1")
        kind = encoder.device.type
        self.device = encoder.device
        self.size = batch_size or BATCH[kind]
        self.is_static = kind != "cpu"
        self._encode: Callable[[Tensor], Tensor] = encoder.encode
        self._on_notice = on_notice
        self._lock = threading.Lock()
        if compiled or (compiled is None and kind == "cuda"):
            self._compile()

    @property
    def ahead(self) -> int:
        """Batches that may be waited for at once: one in reserve, so that no worker waits for the slicing."""
        return WORKERS if self.device.type == "cpu" else 0

    @contextmanager
    def started(self) -> Iterator[Submit]:
        """What batches are handed to; on a CPU `WORKERS` of them are encoded side by side meanwhile."""
        if self.device.type != "cpu":
            yield self._at_once
            return
        with ThreadPoolExecutor(WORKERS, initializer=torch.set_num_threads, initargs=(THREADS,)) as pool:
            yield lambda images: pool.submit(self.tokens, images).result

    def _at_once(self, images: Float[Tensor, "b 224 224"]) -> Callable[[], Tensor]:
        tokens = self.tokens(images)  # on a GPU: queued there, and not yet computed
        return lambda: tokens

    def tokens(self, images: Float[Tensor, "b 224 224"]) -> Float[Tensor, "b t d"]:
        """Tokens of any number of slices, as the encoder gives them.

        Raises:
            UsageError: where not even one slice fits the memory.
        """
        while True:
            size = self.size
            try:
                with torch.inference_mode():
                    cuts = [images[start : start + size] for start in range(0, len(images), size)]
                    parts = [self._encode(self._filled(part, size))[: len(part)] for part in cuts]
                    return parts[0] if len(parts) == 1 else torch.cat(parts)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            self._halve(size)  # outside of `except`, whose traceback would hold on to the tensors

    def _filled(self, images: Float[Tensor, "b 224 224"], size: int) -> Float[Tensor, "size 224 224"]:
        if not self.is_static or len(images) == size:
            return images
        return torch.cat([images, images.new_zeros(size - len(images), *images.shape[1:])])

    def _halve(self, failed: int) -> None:
        with self._lock:
            if self.size < failed:  # another worker did
                return
            if failed == 1:
                raise UsageError(
                    f"{self.device} has no memory for one slice; free it, or choose a smaller --encoder or --device cpu"
                )
            self.size = failed // 2
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self._on_notice(f"out of memory on {self.device} with {failed} slices at once: going on with {self.size}")

    def _compile(self) -> None:
        plain = self._encode
        self._encode = torch.compile(plain, dynamic=False)
        try:
            with arithmetic(self.device):
                self.tokens(torch.zeros(self.size, IMAGE_SIDE, IMAGE_SIDE, device=self.device))
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            # No compiler, no Triton, an old GPU: torch has an error for each, all of these kinds.
            self._encode = plain
            reason = (str(error).splitlines() or [""])[0][:REASON_LENGTH]
            self._on_notice(f"torch.compile cannot be had here ({type(error).__name__}: {reason}): going on without it")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch, or NumPy, found too little memory: on a GPU, or on the CPU."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


@contextmanager
def arithmetic(device: torch.device) -> Iterator[None]:
    """How torch computes meanwhile: float32 as such, the same bits each time, as many threads as one batch may use.

    TF32 and autotuned kernels would move the numbers on a GPU from run to run; on a CPU they change nothing.
    """
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    torch.set_num_threads(THREADS)
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            stack.enter_context(
                torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
            )
            if device.type == "cuda":
                stack.enter_context(torch.cuda.device(device))
            yield
    finally:
        torch.set_num_threads(CORES)
        torch.set_float32_matmul_precision(precision)
