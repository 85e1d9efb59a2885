"""What fewer bits change on a CPU: DINOv2 in eight bits (`--precision int8`) and in bfloat16 beside float32.

    python benchmarks/eight_bits.py [--encoder NAME] [--slices N] [--sessions N] [--cache DIR] [--minutes M] [--quick]
        [--json FILE]

Volumes: the demo's real volumes, and `--sessions` scans derived from each. The preset is `default` but for the slices a
plane, of which it takes fewer, so that rounding averages out less than it does there: the figures are on the safe side.
K = 100.

Columns: seconds of a core a slice, everything counted; the least cosine of a real volume to its float32 embedding after
subtracting the mean of those, and raw; the share of the ten nearest derived scans that are also the ten nearest in
float32. One thread; the scans are derived, so the figures compare ways of computing and say nothing of patients.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from slice_vectors import Case
from slices import NEAREST, centred_unit, nearest

from indexer.demo.sources import SOURCES
from raptor_search.encoders import Encoder, load_encoder, spec_for
from raptor_search.engine import Engine
from raptor_search.specs import PRESETS

WAYS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
    "int8": {"precision": "int8"},
}


@dataclass(frozen=True)
class Row:
    """One way of computing."""

    way: str
    seconds: float
    centred_cosine: float
    raw_cosine: float
    overlap: float | None


def main() -> None:
    args = parsed()
    sources = SOURCES[::3] if args.quick else SOURCES
    sessions = 2 if args.quick else args.sessions
    cases = [Case(source, session) for session in range(sessions + 1) for source in sources]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = (args.cache or Path(scratch)) / f"{args.encoder}-{args.slices}"
        folder.mkdir(parents=True, exist_ok=True)
        if not embedded(cases, args, folder):
            return
        made = {way: [load(folder, case, way) for case in cases] for way in WAYS}
    rows = [row_of(way, made, real=len(sources)) for way in WAYS]
    show(rows, args, len(sources), len(cases) - len(sources))
    if args.json:
        args.json.write_text(json.dumps({"encoder": args.encoder, "rows": [asdict(row) for row in rows]}, indent=1))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="vits14-packaged")
    parser.add_argument("--slices", type=int, default=8, help="a plane")
    parser.add_argument("--sessions", type=int, default=8, help="derived scans of each real volume")
    parser.add_argument("--cache", type=Path, help="keeps the vectors of each volume")
    parser.add_argument("--minutes", type=float, help="after which no volume is begun; with --cache")
    parser.add_argument("--quick", action="store_true", help="4 sources, 2 sessions")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def embedded(cases: Sequence[Case], args: argparse.Namespace, folder: Path) -> bool:
    """Whether every volume is embedded in every way by the end."""
    until = time.monotonic() + 60 * (args.minutes or 1e9)
    todo = [case for case in cases if not (folder / f"{case.name}.npz").is_file()]
    encoders = (
        {way: load_encoder(args.encoder, device="cpu", **settings) for way, settings in WAYS.items()} if todo else {}
    )
    for done, case in enumerate(todo):
        if time.monotonic() > until:
            print(f"{len(todo) - done} volumes are left")
            return False
        found: dict[str, Any] = {}
        volume = case.volume()
        for way, encoder in encoders.items():
            vector, seconds = embed(volume, encoder, args.slices)
            found |= {way: vector, f"{way} seconds": np.float64(seconds)}
        part = folder / f"{case.name}.part"
        with part.open("wb") as out:
            np.savez(out, **found)
        part.replace(folder / f"{case.name}.npz")
    return True


def embed(volume: Any, encoder: Encoder, slices: int) -> tuple[np.ndarray[Any, Any], float]:
    """The vector, and the seconds of a core a slice that was encoded."""
    recipe = replace(PRESETS["default"], preset="custom", slices_per_plane=slices)
    engine = Engine(encoder, spec_for(encoder, recipe), compiled=False)
    encoded, encode = 0, engine._runner._encode

    def counting(images: torch.Tensor) -> torch.Tensor:
        nonlocal encoded
        encoded += len(images)
        return encode(images)

    engine._runner._encode = counting
    start = time.process_time()
    ((_, made),) = engine.embed([(None, volume, None)])
    spent = time.process_time() - start
    if isinstance(made, Exception):
        raise made
    return made.vector, spent / encoded


def load(folder: Path, case: Case, way: str) -> tuple[np.ndarray[Any, Any], float]:
    with np.load(folder / f"{case.name}.npz") as held:
        return held[way], float(held[f"{way} seconds"])


def row_of(way: str, made: dict[str, list[tuple[np.ndarray[Any, Any], float]]], *, real: int) -> Row:
    exact, mine = (np.stack([vector for vector, _ in made[name]]) for name in ("float32", way))
    mean = exact[:real].mean(axis=0, dtype=np.float64)
    centred = (centred_unit(exact[:real], mean) * centred_unit(mine[:real], mean)).sum(axis=1)
    raw = (centred_unit(exact, 0 * mean) * centred_unit(mine, 0 * mean)).sum(axis=1)
    _, best = nearest(exact[real:])
    _, order = nearest(mine[real:])
    kept = [len(set(a[:NEAREST]) & set(b[:NEAREST])) / NEAREST for a, b in zip(best, order, strict=True)]
    return Row(
        way=way,
        seconds=float(np.median([seconds for _, seconds in made[way]])),
        centred_cosine=float(centred.min()),
        raw_cosine=float(raw.min()),
        overlap=float(np.mean(kept)) if len(best) > NEAREST else None,  # of fewer scans all are among the ten
    )


def show(rows: Sequence[Row], args: argparse.Namespace, real: int, derived: int) -> None:
    print(f"{args.encoder}: {real} real volumes, {derived} derived from them, {args.slices} slices a plane")
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, one thread\n")
    print(f"{'':10}{'core s a slice':>16}{'quicker':>9}{'least centred':>15}{'least raw':>11}{'top-10':>8}")
    for row in rows:
        numbers = f"{row.seconds:>16.4f}{rows[0].seconds / row.seconds:>9.2f}{row.centred_cosine:>15.5f}"
        kept = "-" if row.overlap is None else f"{row.overlap:.4f}"
        print(f"{row.way:10}{numbers}{row.raw_cosine:>11.5f}{kept:>8}")


if __name__ == "__main__":
    main()
