"""What an embedding costs, beside the published script's way, re-created, with the same weights in the same run.

    python benchmarks/embed.py [--device cpu|cuda] [--encoder dinov2-large] [--volumes 3] [--quick] [--json FILE]

Input: real volumes resampled to 256^3 int16 files, the same for both sides (drawn ones where none is installed: said);
`--files DIR` keeps them, or takes those that are there. Weights: the package's, `--weights FILE`, or random ones
(said), which serve for throughput. Runs with torch, transformers and jaxtyping alone; nibabel is used where it is
installed.

A second is one of a core on a CPU, whatever else runs there, and of the clock on a GPU. FLOP are those executed, with
the places that fill up a batch, divided by the seconds of everything from the files on; the rate of matrix products
beside it is measured at the model's own shapes, dtype and batch. The published way has one thread an operation on a
CPU, so that it loses nothing to threads that wait. Compiling is timed apart. With `--quick` both sides take 32 slices a
plane of 256, and `default` is compared with eight times the published way's work.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from embedding_costs import Row, Subject, ours, published, scaled
from matmul_rate import matmul_rate, work_of
from real_volumes import SIDE, write_files

from raptor_search.embedding import Embedding
from raptor_search.encoder_cards import ENCODERS
from raptor_search.engine.runner import BATCH, WORKERS
from raptor_search.specs import PRESETS, Recipe

QUICK_SLICES = 32
BATCHES = (4, 8, 16)
BATCH_SLICES = 8
FEWEST = 3
"""Volumes below which no mean can be taken for a centred cosine."""

NOT_MEASURED = "not measured"


def main(arguments: list[str]) -> None:
    args = parsed(arguments)
    device = torch.device(args.device)
    subject = Subject(args.encoder, args.weights, args.layer, device)
    if args.child is not None:
        ours(subject, [args.child], paper(args.quick))
        print(json.dumps({"host": peak_bytes(), "device": device_bytes(device)}))
        return
    with tempfile.TemporaryDirectory() as temporary:
        files, what = write_files(args.files or Path(temporary), args.volumes)
        figures = measure(subject, files, args)
    figures["input"] = what
    print_table(figures)
    if args.json is not None:
        args.json.write_text(json.dumps(figures, indent=1))


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    models = [name for name in ENCODERS if name.startswith("dinov2") or name == "vits14-packaged"]
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--encoder", choices=models, help="default: dinov2-large on a GPU, else vits14-packaged")
    parser.add_argument("--weights", type=Path, help="a checkpoint file; random weights where there is none")
    parser.add_argument("--layer", default="last", help="the block that is read, for both sides")
    parser.add_argument("--volumes", type=int, help="default: 64 on a GPU, else 3; 1 with --quick")
    parser.add_argument("--files", type=Path, help="folder to keep the input files in")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SLICES} slices a plane on both sides")
    parser.add_argument("--fidelity", type=Path, help="what slices.py --json wrote: `full` is left out then")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    on_gpu = torch.device(args.device).type == "cuda"
    args.encoder = args.encoder or ("dinov2-large" if on_gpu else "vits14-packaged")
    args.volumes = args.volumes or (1 if args.quick else 64 if on_gpu else 3)
    return args


def paper(quick: bool) -> Recipe:
    return replace(PRESETS["paper"], slices_per_plane=QUICK_SLICES if quick else 0)


def measure(subject: Subject, files: list[Path], args: argparse.Namespace) -> dict[str, Any]:
    """All figures, by the names of the JSON file."""
    device, on_gpu = subject.device, subject.device.type == "cuda"
    every = SIDE // QUICK_SLICES if args.quick else 1
    ours(subject, files[:1], replace(PRESETS["default"], slices_per_plane=1), compiled=False)  # warm
    theirs = published(subject, files[:4] if on_gpu else files, every=every)
    with_full = not args.quick and args.fidelity is None
    recipes = [paper(args.quick), PRESETS["default"], *([PRESETS["full"]] if with_full else [])]
    results = {recipe.preset: ours(subject, files, recipe) for recipe in recipes}
    row, default = results["paper"][0], results["default"][0]
    batch = BATCH[device.type]
    work = work_of(subject.encoder, batch)
    rate = matmul_rate(work, device, side_by_side=1 if on_gpu else WORKERS, seconds=0.2 if args.quick else 1.0)
    peak = child_peak(args, files[0])
    whole = scaled(theirs, every)
    cosine = centred_cosine(results["default"][1], results["full"][1]) if with_full else None
    fidelity = json.loads(args.fidelity.read_text()) if args.fidelity else {}
    return {
        "device": device_name(device),
        "encoder": f"{subject.card.name}, layer {subject.layer}, weights: {subject.weights}",
        "dtype": str(work.dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "quick": args.quick,
        "volumes": len(files),
        "flop_per_slice": work.flop / batch,
        "matmul_flop_per_second": rate,
        "matmul_share": None if rate is None else share_of_rate(row, work.flop / batch, rate, on_gpu=on_gpu),
        "default_matmul_share": None
        if rate is None
        else share_of_rate(default, work.flop / batch, rate, on_gpu=on_gpu),
        "outside_encoder_share": None if on_gpu else (row.cpu - row.encode) / row.encode,
        "gpu_idle_share": 1 - row.encode / row.wall if on_gpu else None,
        "ratio_published": cost(theirs, on_gpu) / cost(row, on_gpu),
        "default_ratio_published": cost(whole, on_gpu) / cost(default, on_gpu),
        "default_min_centred_cosine": fidelity.get("default_min_centred_cosine", cosine),
        "default_top10_overlap": fidelity.get("default_top10_overlap"),
        "peak_memory_gib": peak["host"] / 2**30,
        "peak_device_memory_gib": peak["device"] / 2**30 if on_gpu else None,
        "volumes_per_second": None if args.quick else 1 / row.wall,
        "default_volumes_per_second": 1 / default.wall,
        "compile_seconds": row.compile if on_gpu else None,
        "batches": {} if on_gpu else batches(subject, files[:1]),
        "rows": [asdict(r) for r in (theirs, *(made[0] for made in results.values()))],
    }


def cost(row: Row, on_gpu: bool) -> float:
    """Seconds a volume: of the clock on a GPU, of cores on a CPU."""
    return row.wall if on_gpu else row.cpu


def share_of_rate(row: Row, flop: float, rate: float, *, on_gpu: bool) -> float:
    """FLOP executed a second, from the files to the vectors, over the rate of the model's own matrix products."""
    return row.encoded * flop / cost(row, on_gpu) / rate


def batches(subject: Subject, files: list[Path]) -> dict[str, float]:
    """Seconds of cores in the encoder a slice, by slices at once; the better of two rounds, as other work disturbs."""
    recipe = replace(PRESETS["default"], slices_per_plane=BATCH_SLICES)
    rounds = []
    for _ in range(2):
        rows = [ours(subject, files, recipe, batch_size=size)[0] for size in BATCHES]
        rounds.append([row.encode / row.encoded for row in rows])
    return {str(size): min(seconds) for size, seconds in zip(BATCHES, zip(*rounds, strict=True), strict=True)}


def centred_cosine(some: dict[str, Embedding], whole: dict[str, Embedding]) -> float | None:
    """The lowest cosine of a volume's two embeddings, both after the mean of all `whole` was taken away."""
    if len(whole) < FEWEST:
        return None
    mean = np.mean([made.vector for made in whole.values()], axis=0, dtype=np.float64)
    pairs = [(some[name].vector - mean, whole[name].vector - mean) for name in whole]
    return min(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in pairs)


def child_peak(args: argparse.Namespace, file: Path) -> dict[str, int]:
    """Most memory that a process of its own takes to embed one volume, imports and weights and all."""
    command = [sys.executable, __file__, "--device", args.device, "--encoder", args.encoder, "--layer", args.layer]
    command += ["--weights", str(args.weights)] if args.weights else []
    done = subprocess.run(
        [*command, *(["--quick"] if args.quick else []), "--child", str(file)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])},
    )
    peak: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return peak


def peak_bytes() -> int:
    """Of this process. On Linux not from getrusage, which also counts what its parent had."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def device_bytes(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {torch.get_num_threads()} cores, {torch.backends.cpu.get_cpu_capability()}"


def print_table(figures: dict[str, Any]) -> None:
    on_gpu = figures["gpu_idle_share"] is not None
    print(
        f"{figures['input']}; {figures['encoder']}, {figures['dtype']}; {figures['device']}; torch {figures['torch']}"
    )
    if figures["quick"]:
        print(
            f"quick: published and paper take {QUICK_SLICES} of {SIDE} slices a plane; their ratio is of equal slices"
        )
    names = f"{'slices':>6} {'encoded':>8} {'wall s':>8} {'core s':>8} {'slices/s':>9}"
    print(f"\n{'a volume':10} {names} {'read':>6} {'prepare':>8} {'encode':>7} {'rest':>6} {'bytes out':>12}")
    for row in (Row(**fields) for fields in figures["rows"]):
        seconds = cost(row, on_gpu)
        # On a GPU reading and preparing run beside the encoder: only on a CPU do the shares add up.
        rest = "" if on_gpu or not row.encode else percent((row.cpu - row.read - row.prepare - row.encode) / seconds)
        shares = [percent(part / seconds) if part else "" for part in (row.read, row.prepare, row.encode)]
        numbers = f"{row.slices:6} {row.encoded:8.0f} {row.wall:8.2f} {row.cpu:8.2f} {row.slices / seconds:9.2f}"
        print(f"{row.name:10} {numbers} {shares[0]:>6} {shares[1]:>8} {shares[2]:>7} {rest:>6} {row.leaving:12,}")
    unit = "wall seconds, slices/s a second of the clock" if on_gpu else "core seconds, slices/s a second of a core"
    print(f"\nshares are of {unit}")
    for name, unit in TABLE.items():
        value = figures[name]
        print(f"{name:28} {NOT_MEASURED if value is None else unit.format(value)}")
    for size, seconds in figures["batches"].items():
        print(f"batch of {size:>2}, side by side       {seconds:.4f} core s in the encoder a slice")


TABLE = {
    "flop_per_slice": "{:.4g}",
    "matmul_flop_per_second": "{:.4g}",
    "matmul_share": "{:.3f}",
    "default_matmul_share": "{:.3f}",
    "outside_encoder_share": "{:.3f}",
    "gpu_idle_share": "{:.3f}",
    "ratio_published": "{:.2f}",
    "default_ratio_published": "{:.2f}",
    "default_min_centred_cosine": "{:.4f}",
    "default_top10_overlap": "{:.3f}",
    "peak_memory_gib": "{:.2f}",
    "peak_device_memory_gib": "{:.2f}",
    "volumes_per_second": "{:.4f}",
    "default_volumes_per_second": "{:.4f}",
    "compile_seconds": "{:.1f}",
}
"""The figures printed below the table, with their format."""


def percent(share: float) -> str:
    return f"{100 * share:.1f}%"


if __name__ == "__main__":
    main(sys.argv[1:])
