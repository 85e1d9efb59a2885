"""The runner: less memory than hoped for, one shape, compiling, and torch's settings as they were."""

import functools

import pytest
import torch
from torch import Tensor, nn

from raptor_search.engine.runner import Runner, arithmetic, is_out_of_memory
from raptor_search.errors import UsageError
from tests.phantoms import Cells

CPU = torch.device("cpu")

SHORTAGES = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried ..."),
    MemoryError(),
]


class Greedy(Cells):
    """Cells that needs more memory than there is for more than `most` slices."""

    def __init__(self, most: int, shortage: Exception = SHORTAGES[0]) -> None:
        super().__init__()
        self.most = most
        self.shortage = shortage
        self.sizes: list[int] = []

    def encode(self, slices: Tensor) -> Tensor:
        self.sizes.append(len(slices))
        if len(slices) > self.most:
            raise self.shortage
        return super().encode(slices)


def images(n: int) -> Tensor:
    return torch.rand(n, 224, 224, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shortage", SHORTAGES, ids=["cuda", "mps", "cpu", "python"])
def test_too_little_memory_halves_the_batch_says_so_and_goes_on(shortage: Exception) -> None:
    notices: list[str] = []
    encoder = Greedy(3, shortage)
    runner = Runner(encoder, batch_size=16, compiled=None, on_notice=notices.append)
    assert torch.equal(runner.tokens(images(16)), Cells().encode(images(16)))
    assert runner.size == 2
    assert notices == [
        "out of memory on cpu with 16 slices at once: going on with 8",
        "out of memory on cpu with 8 slices at once: going on with 4",
        "out of memory on cpu with 4 slices at once: going on with 2",
    ]
    runner.tokens(images(16))
    assert encoder.sizes == [16, 8, 4, *[2] * 8, *[2] * 8]


def test_batches_at_once_halve_only_once() -> None:
    notices: list[str] = []
    runner = Runner(Greedy(4), batch_size=8, compiled=None, on_notice=notices.append)
    with runner.started() as submit:
        waiting = [submit(images(8)) for _ in range(6)]
        for tokens in waiting:
            assert torch.equal(tokens(), Cells().encode(images(8)))
    assert len(notices) == 1
    assert runner.size == 4


def test_no_memory_for_one_slice_is_one_sentence() -> None:
    runner = Runner(Greedy(0), batch_size=4, compiled=None, on_notice=lambda _: None)
    with pytest.raises(UsageError, match=r"^cpu has no memory for one slice; free it, or choose a smaller --encoder"):
        runner.tokens(images(4))


def test_other_failures_are_not_taken_for_a_want_of_memory() -> None:
    assert not any(is_out_of_memory(e) for e in (RuntimeError("mat1 and mat2 shapes"), ValueError("out of memory")))
    runner = Runner(Greedy(1, RuntimeError("shapes differ")), batch_size=2, compiled=None, on_notice=lambda _: None)
    with pytest.raises(RuntimeError, match="shapes differ"):
        runner.tokens(images(2))


def test_where_the_shape_is_static_every_batch_is_filled_up() -> None:
    encoder = Greedy(8)
    runner = Runner(encoder, batch_size=8, compiled=None, on_notice=lambda _: None)
    runner.is_static = True
    for number in (1, 5, 8, 13):
        assert torch.equal(runner.tokens(images(number)), Cells().encode(images(number)))
    assert set(encoder.sizes) == {8}


@pytest.mark.parametrize("size", [0, -4])
def test_a_batch_size_below_one_is_refused(size: int) -> None:
    with pytest.raises(UsageError, match=f"batch size {size}: expected at least 1"):
        Runner(Cells(), batch_size=size, compiled=None, on_notice=lambda _: None)


class Small(Cells):
    """A model with weights, so that there is something to compile."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Conv2d(1, 3, 56, stride=56), nn.GELU()).requires_grad_(False)

    def encode(self, slices: Tensor) -> Tensor:
        with torch.inference_mode():
            tokens: Tensor = self.model(slices[:, None]).flatten(2).mT
        return tokens


def test_a_compiled_encoder_is_compiled_once_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.testing import CompileCounter

    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=counter))
    notices: list[str] = []
    encoder = Small()
    runner = Runner(encoder, batch_size=4, compiled=True, on_notice=notices.append)
    assert counter.frame_count == 1
    with arithmetic(CPU):
        for _ in range(3):
            assert torch.equal(runner.tokens(images(4)), encoder.encode(images(4)))
    assert counter.frame_count == 1
    assert notices == []


def test_where_nothing_can_be_compiled_it_says_so_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("Cannot find a working triton installation.\nMore lines")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=fail))
    notices: list[str] = []
    encoder = Small()
    runner = Runner(encoder, batch_size=4, compiled=True, on_notice=notices.append)
    assert len(notices) == 1
    assert notices[0].startswith("torch.compile cannot be had here (BackendCompilerFailed: ")
    assert notices[0].endswith("): going on without it")
    assert "\n" not in notices[0]
    assert torch.equal(runner.tokens(images(4)), encoder.encode(images(4)))


def test_torchs_settings_are_as_before_also_after_a_failure() -> None:
    def settings() -> tuple[object, ...]:
        cudnn = torch.backends.cudnn
        return (
            torch.get_num_threads(),
            torch.get_float32_matmul_precision(),
            torch.is_inference_mode_enabled(),
            cudnn.allow_tf32,
            cudnn.deterministic,
        )

    def fail() -> None:
        with arithmetic(CPU):
            assert torch.get_float32_matmul_precision() == "highest"
            assert torch.is_inference_mode_enabled()
            assert not torch.backends.cudnn.allow_tf32
            raise KeyError

    torch.set_float32_matmul_precision("high")
    try:
        before = settings()
        with pytest.raises(KeyError):
            fail()
        assert settings() == before
    finally:
        torch.set_float32_matmul_precision("highest")
