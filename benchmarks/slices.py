"""How many slices a plane needs: fidelity, retrieval and small planted findings against the slices taken.

    python benchmarks/slices.py [--encoder NAME] [--dtype fp32|bf16] [--sessions N] [--sphere-sessions N]
        [--cache DIR] [--minutes M] [--workers N] [--quick] [--json FILE]

With `--cache` and `--minutes` no volume is begun after M minutes, and the next run goes on from there; several may run
at once. `bf16` (a CNN by autocast) is two to three times quicker on a CPU that multiplies in it natively; some of the
real volumes are embedded in fp32 too, and what that changes is printed.

Volumes: the demo's real volumes, and `--sessions` scans derived from each (`indexer/demo/derive.py`), fitted to a
cube of 224 as the presets `full` and `default` do. Every slice is encoded once and its tokens are kept, so that each
way of averaging is read off the same tokens:

    all            all 224 slices of each plane (the preset `full`)
    N              N slices, the centres of equal slabs (`default` is one of these)
    N slab means   N images, each the mean of an equal slab, averaged before they are encoded
    N + spread     beside the mean, the standard deviation of each token number over the slices (twice the length)

Columns: cosine to `all` after subtracting the mean of the real volumes' `all` (mean and least of the real volumes);
share of the ten nearest derived scans that are also the ten nearest by `all`; how often the first hit is of the same
source, and the mean average precision of that (numbers of slices alone). Then a planted bright sphere of a given
diameter in voxels of the cube, in the scans of the first sessions: area under the ROC curve of a logistic regression
(L2 chosen inside the training part) that tells the scan with the sphere from the scan without, trained on the scans of
other sources; 95% intervals resample sources.

All scans but the real volumes are derived, the spheres are drawn: the figures compare ways of averaging with each
other, and say nothing of findings in patients.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from slice_vectors import (
    COMPONENTS,
    COUNTS,
    DTYPES,
    SEED,
    SIDE,
    SPHERES,
    Case,
    compute,
    count_name,
    read_vectors,
    variants,
)

from indexer.demo.sources import SOURCES
from raptor_search.specs import PRESETS

NEAREST = 10
RESAMPLES = 2_000
CHECKED_EVERY = 6
"""One of so many real volumes is embedded in fp32 too."""
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)

Job = tuple[Case, str, Path, bool, str]
"""A volume, its encoder, the folder of its vectors, whether spheres are planted, and the dtype."""


def centred_unit(vectors: Float32[np.ndarray, "n length"], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    moved = vectors - mean
    unit: NDArray[np.float64] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return unit


def nearest(vectors: Float32[np.ndarray, "n length"]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Cosines after centring on the mean of all, and every scan's others in order of them."""
    unit = centred_unit(vectors, vectors.mean(axis=0, dtype=np.float64))
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    return cosines, np.argsort(-cosines, axis=1)[:, :-1]


def average_precision(order: NDArray[np.intp], sources: NDArray[np.str_]) -> float:
    right = sources[order] == sources[:, None]
    ranks = np.arange(1, right.shape[1] + 1)
    return float(((right.cumsum(axis=1) / ranks) * right).sum(axis=1).__truediv__(right.sum(axis=1)).mean())


@dataclass(frozen=True)
class Row:
    """What one way of averaging keeps."""

    variant: str
    encoded: int
    cosine_mean: float | None
    cosine_min: float | None
    overlap: float | None
    first_same_source: float | None
    same_source_map: float | None
    auroc: dict[int, tuple[float, float, float]]


def retrieval(variant: str, derived: Sequence[Case], folder: Path) -> tuple[float | None, float, float]:
    """Share of the ten nearest kept, how often the first is of the same source, and mean average precision of that."""
    sources = np.array([case.source.name for case in derived])
    _, best = nearest(read_vectors(derived, folder, "all"))
    _, order = nearest(read_vectors(derived, folder, variant))
    overlap = np.mean([len(set(a[:NEAREST]) & set(b[:NEAREST])) / NEAREST for a, b in zip(best, order, strict=True)])
    first = (sources[order[:, 0]] == sources).mean()
    kept = float(overlap) if len(derived) > NEAREST else None  # of fewer scans all are among the ten
    return kept, float(first), average_precision(order, sources)


def row_of(variant: str, real: Sequence[Case], derived: Sequence[Case], folder: Path, with_spheres: int) -> Row:
    planted_in = [case for case in derived if case.session <= with_spheres]
    counts = map(count_name, COUNTS)
    found = retrieval(variant, derived, folder) if derived and variant in counts else (None, None, None)
    cosine = None
    true, held = read_vectors(real, folder, "all"), read_vectors(real, folder, variant)
    if held.shape == true.shape:
        mean = true.mean(axis=0, dtype=np.float64)
        cosine = (centred_unit(true, mean) * centred_unit(held, mean)).sum(axis=1)
    count = SIDE if variant.startswith("all") else int(variant.split(maxsplit=1)[0])
    return Row(
        variant=variant,
        encoded=3 * count,
        cosine_mean=None if cosine is None else float(cosine.mean()),
        cosine_min=None if cosine is None else float(cosine.min()),
        overlap=found[0],
        first_same_source=found[1],
        same_source_map=found[2],
        auroc={d: detected(planted_in, folder, variant, d) for d in SPHERES if planted_in},
    )


def detected(cases: Sequence[Case], folder: Path, variant: str, diameter: int) -> tuple[float, float, float]:
    clean, found = read_vectors(cases, folder, variant), read_vectors(cases, folder, f"{variant}/{diameter}")
    return detection(clean, found, np.array([case.source.name for case in cases]))


def detection(
    clean: NDArray[np.float32], with_sphere: NDArray[np.float32], sources: NDArray[np.str_]
) -> tuple[float, float, float]:
    """AUROC and its 95% interval over sources, of telling scans with a sphere from those without, source by source."""
    both = np.concatenate([clean, with_sphere]).astype(np.float64)
    truth = np.repeat([0, 1], len(clean))
    groups = np.tile(sources, 2)
    gram = both @ both.T / np.mean((both**2).sum(axis=1))
    decided = np.zeros(len(truth))
    for train, test in GroupKFold(len(set(sources))).split(gram, truth, groups):
        penalty = _penalty(gram, truth, groups, train)
        decided[test] = _decide(gram, truth, train, test, penalty)
    # Decisions of different folds stand on different scales: AUROC source by source, then the mean.
    names = np.unique(sources)
    each = np.array([roc_auc_score(truth[groups == name], decided[groups == name]) for name in names])
    rng = np.random.default_rng(SEED)
    drawn = each[rng.integers(len(each), size=(RESAMPLES, len(each)))].mean(axis=1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(each.mean()), float(low), float(high)


def _penalty(
    gram: NDArray[np.float64], truth: NDArray[np.int_], groups: NDArray[np.str_], train: NDArray[np.intp]
) -> float:
    scores = []
    for penalty in PENALTIES:
        found = []
        for inner, held in GroupKFold(3).split(train, truth[train], groups[train]):
            decided = _decide(gram, truth, train[inner], train[held], penalty)
            found.append(roc_auc_score(truth[train[held]], decided))
        scores.append(np.mean(found))
    return PENALTIES[int(np.argmax(scores))]


def _decide(
    gram: NDArray[np.float64], truth: NDArray[np.int_], train: NDArray[np.intp], test: NDArray[np.intp], penalty: float
) -> NDArray[np.float64]:
    """Logistic regression in the span of the training scans: coordinates from their Gram matrix, no number lost."""
    near = gram[:, train].mean(axis=1)
    gram = gram - near[:, None] - near + near[train].mean()  # centred on the mean of the training scans
    values, directions = np.linalg.eigh(gram[np.ix_(train, train)])
    kept = values > values.max() * 1e-10
    axes = directions[:, kept] / np.sqrt(values[kept])
    model = LogisticRegression(C=1 / penalty, max_iter=5_000).fit(gram[np.ix_(train, train)] @ axes, truth[train])
    decided: NDArray[np.float64] = model.decision_function(gram[np.ix_(test, train)] @ axes)
    return decided


def show(rows: Sequence[Row], encoder: str, real: int, derived: int) -> None:
    print(f"{encoder}: {real} real volumes, {derived} scans derived from them, cube {SIDE}, K = {COMPONENTS}")
    print("95% intervals over sources\n")
    head = "".join(f"{name:>8}" for name in ("encoded", "cosine", "least", "top-10", "1st", "mAP"))
    print(f"{'slices a plane':<16}{head}" + "".join(f"{f'sphere {d}':>18}" for d in SPHERES if rows[0].auroc))
    for row in rows:
        kept = (row.cosine_mean, row.cosine_min, row.overlap, row.first_same_source, row.same_source_map)
        line = "".join(f"{'-' if value is None else f'{value:.4f}':>8}" for value in kept)
        spheres = "".join(f"{f'{a:.2f} [{low:.2f}, {high:.2f}]':>18}" for a, low, high in row.auroc.values())
        print(f"{row.variant:<16}{row.encoded:>8}{line}{spheres}")


def main() -> None:
    args = parsed()
    sources = SOURCES[::3] if args.quick else SOURCES
    sessions = 2 if args.quick else args.sessions
    with_spheres = 0 if args.quick else args.sphere_sessions
    real = [Case(source, 0) for source in sources]
    derived = [Case(source, session) for session in range(1, sessions + 1) for source in sources]
    checked = real[::CHECKED_EVERY] if args.dtype != "fp32" else []
    with tempfile.TemporaryDirectory() as scratch:
        root = args.cache or Path(scratch)
        folder, exact = root / f"{args.encoder}-{args.dtype}", root / f"{args.encoder}-fp32"
        jobs = [(case, args.encoder, folder, False, args.dtype) for case in real]
        jobs += [(case, args.encoder, exact, False, "fp32") for case in checked]
        jobs += [(case, args.encoder, folder, case.session <= with_spheres, args.dtype) for case in derived]
        for place in {folder, exact}:
            place.mkdir(parents=True, exist_ok=True)
        if not all_computed(jobs, args.workers, args.minutes):
            return
        rows = [row_of(name, real, derived, folder, with_spheres) for name in variants()]
        rounding = rounding_of(checked, real, folder, exact) if checked else None
    show(rows, f"{args.encoder}, {args.dtype}", len(real), len(derived))
    if rounding:
        print(f"\n{args.dtype} beside fp32, {len(checked)} real volumes: {rounding}")
    if args.json:
        args.json.write_text(json.dumps(figures(rows, args, len(real), len(derived), rounding), indent=2))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--dtype", choices=list(DTYPES), help="default: bf16 where this CPU multiplies in it")
    parser.add_argument("--sessions", type=int, default=8, help="derived scans of each real volume, from 0")
    parser.add_argument("--cache", type=Path, help="keeps the vectors of each volume")
    parser.add_argument("--minutes", type=float, help="after which no volume is begun; with --cache")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sphere-sessions", type=int, default=4, help="of these sessions spheres are planted in")
    parser.add_argument("--quick", action="store_true", help="4 sources, 2 sessions, no spheres")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    is_native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    args.dtype = args.dtype or ("bf16" if is_native else "fp32")
    return args


def all_computed(jobs: Sequence[Job], workers: int, minutes: float | None) -> bool:
    """Whether all vectors are there by the end."""
    until = None if minutes is None else time.time() + 60 * minutes
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        done = 0
        for is_there in pool.imap_unordered(_compute, [(job, until) for job in jobs]):
            done += is_there
            print(f"\r{done} of {len(jobs)} volumes", end="", flush=True)
    print()
    return done == len(jobs)


def _compute(asked: tuple[Job, float | None]) -> bool:
    job, until = asked
    if until is not None and time.time() > until:
        return False
    return compute(*job)


def rounding_of(checked: Sequence[Case], real: Sequence[Case], folder: Path, exact: Path) -> str:
    """What fewer digits change: of the vectors, and of their cosines to `all`."""
    mean = read_vectors(real, folder, "all").mean(axis=0, dtype=np.float64)
    names = [count_name(n) for n in COUNTS]
    rounded, true = (
        {name: centred_unit(read_vectors(checked, place, name), mean) for name in names} for place in (folder, exact)
    )
    same = min(float((rounded[name] * true[name]).sum(axis=1).min()) for name in names)
    shift = max(
        float(np.abs((a[name] * a["all"]).sum(axis=1) - (b[name] * b["all"]).sum(axis=1)).max())
        for name in names
        for a, b in [(rounded, true)]
    )
    return f"centred cosine of each vector at least {same:.5f}; the cosines to `all` differ by at most {shift:.5f}"


def figures(rows: Sequence[Row], args: argparse.Namespace, real: int, derived: int, rounding: str | None) -> Any:
    """For `--json`; what `embed.py --fidelity` takes is said of the preset `default`."""
    default = next(row for row in rows if row.variant == count_name(PRESETS["default"].slices_per_plane))
    return {
        "encoder": args.encoder,
        "dtype": args.dtype,
        "real": real,
        "derived": derived,
        "default_min_centred_cosine": default.cosine_min,
        "default_top10_overlap": default.overlap,
        "rounding": rounding,
        "rows": [vars(row) | {"auroc": {str(d): a for d, a in row.auroc.items()}} for row in rows],
    }


if __name__ == "__main__":
    main()
