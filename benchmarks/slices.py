"""How many slices a plane needs: fidelity, retrieval and small planted findings against the slices taken.

    python benchmarks/slices.py [--encoder NAME] [--sessions N] [--sphere-sessions N] [--cache DIR] [--workers N]
        [--quick] [--json FILE]

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
import itertools
import json
import multiprocessing
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from torch import Tensor

from indexer.demo.derive import antialias, derive
from indexer.demo.sources import SOURCES, DemoSource, load
from raptor_search.encoders import Encoder, load_encoder, spec_for
from raptor_search.intensity import choose_rule, normalise
from raptor_search.planes import PLANES, slice_indices
from raptor_search.projection import gaussian_matrix, project
from raptor_search.resampling import axis_weights
from raptor_search.volume import Volume

SIDE = 224
"""Voxels of the cube, and slices a plane in all."""

COUNTS = (8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 112, SIDE)
SLABS = (16, 24, 32)
SPREADS = (24, 32, SIDE)

SPHERES = (4, 8, 16, 32)
"""Diameters in voxels of the cube."""
SPHERE_BRIGHT = 0.35
"""Added to the window [0, 1] inside a sphere."""
TISSUE = (0.15, 0.6)
"""A sphere's centre lies where the window shows tissue that it stands out from."""

COMPONENTS = 100
NEAREST = 10
RESAMPLES = 2_000
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
SEED = 0
BATCH = 4

Tokens = Float32[np.ndarray, "slice token d"]
Vector = Float32[np.ndarray, " length"]


@dataclass(frozen=True)
class Case:
    """One volume: a real one (session 0) or one derived from it."""

    source: DemoSource
    session: int

    @property
    def name(self) -> str:
        return f"{self.source.name}-{self.session:02d}"

    def volume(self) -> Volume:
        real = load(self.source)
        if self.session == 0:
            return real
        number = [s.name for s in SOURCES].index(self.source.name)
        rng = np.random.default_rng([SEED, number, self.session])
        return derive(antialias(real), rng, modality=self.source.modality)


def variants() -> list[str]:
    """The ways of averaging, by the name that the table has."""
    return (
        [_count_name(n) for n in COUNTS]
        + [f"{n} slab means" for n in SLABS]
        + [f"{_count_name(n)} + spread" for n in SPREADS]
    )


def _count_name(count: int) -> str:
    return "all" if count == SIDE else str(count)


def cube_of(volume: Volume) -> Float32[np.ndarray, "224 224 224"]:
    """The volume in [0, 1], fitted to the cube as the presets `full` and `default` fit it, axes R, A, S."""
    voxels = normalise(volume.voxels, choose_rule(volume.voxels))
    extents = [n * mm for n, mm in zip(voxels.shape, volume.spacing, strict=True)]
    for axis, extent in enumerate(extents):
        weights = axis_weights(voxels.shape[axis], SIDE, covered=max(extents) / extent).astype(np.float32)
        voxels = np.moveaxis(np.tensordot(weights, voxels, axes=([1], [axis])), 0, axis)
    return np.clip(voxels, 0, 1)


def images(cube: Float32[np.ndarray, "224 224 224"], plane: int) -> Float32[np.ndarray, "224 224 224"]:
    """All slices of one plane as images, lying as the encoder sees them."""
    cut = PLANES["ras"][plane]
    across = cube.transpose(cut.slices, cut.rows, cut.cols)
    return across[:, ::-1, ::-1] if cut.reverse else across


def slab_bounds(count: int) -> list[tuple[int, int]]:
    """First and last slice (exclusive) of `count` slabs, equal to within a slice."""
    edges = [i * SIDE // count for i in range(count + 1)]
    return list(itertools.pairwise(edges))


def slab_means(stack: Float32[np.ndarray, "224 224 224"], count: int) -> Float32[np.ndarray, "count 224 224"]:
    return np.stack([stack[a:b].mean(axis=0) for a, b in slab_bounds(count)])


class Sight:
    """An encoder's tokens of stacks of images; equal images of one value are encoded once."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.skip = int(encoder.card.has_cls)
        self.flat: dict[float, NDArray[np.float32]] = {}

    def tokens(self, stack: Float32[np.ndarray, "n 224 224"]) -> Tokens:
        low, high = stack.min(axis=(1, 2)), stack.max(axis=(1, 2))
        out: list[NDArray[np.float32] | None] = [
            self.flat.get(float(a)) if a == b else None for a, b in zip(low, high, strict=True)
        ]
        todo = [i for i, known in enumerate(out) if known is None]
        for start in range(0, len(todo), BATCH):
            chosen = todo[start : start + BATCH]
            with torch.inference_mode():
                batch: Tensor = self.encoder.encode(torch.from_numpy(np.ascontiguousarray(stack[chosen])))
            for i, one in zip(chosen, batch[:, self.skip :].float().numpy(), strict=True):
                out[i] = one
                if low[i] == high[i]:
                    self.flat[float(low[i])] = one
        return np.stack([one for one in out if one is not None])


@dataclass
class Looks:
    """The tokens of all slices of one plane, and of its slab means."""

    slices: Tokens
    slabs: dict[int, Tokens]

    def touched(
        self, sight: Sight, before: Float32[np.ndarray, "n h w"], after: Float32[np.ndarray, "n h w"]
    ) -> "Looks":
        """The same after a change of some slices: only those are encoded again."""
        slabs = {}
        for count, tokens in self.slabs.items():
            slabs[count] = _renewed(sight, tokens, slab_means(before, count), slab_means(after, count))
        return Looks(_renewed(sight, self.slices, before, after), slabs)

    def averages(self) -> dict[str, Float32[np.ndarray, "parts token d"]]:
        """Mean (and spread, where asked for) of each variant."""
        result = {}
        for count in COUNTS:
            taken = self.slices[slice_indices(SIDE, count)]
            mean = taken.mean(axis=0, dtype=np.float64)
            result[_count_name(count)] = mean[None]
            if count in SPREADS:
                result[f"{_count_name(count)} + spread"] = np.stack([mean, taken.std(axis=0, dtype=np.float64)])
        for count, tokens in self.slabs.items():
            result[f"{count} slab means"] = tokens.mean(axis=0, dtype=np.float64)[None]
        return {name: parts.astype(np.float32) for name, parts in result.items()}


def _renewed(sight: Sight, tokens: Tokens, before: NDArray[np.float32], after: NDArray[np.float32]) -> Tokens:
    changed = np.flatnonzero((before != after).any(axis=(1, 2)))
    new = tokens.copy()
    if len(changed):
        new[changed] = sight.tokens(after[changed])
    return new


def planted(
    cube: Float32[np.ndarray, "224 224 224"], diameter: int, rng: np.random.Generator
) -> Float32[np.ndarray, "224 224 224"]:
    """The cube with one bright sphere, its edge a voxel wide, its centre in tissue away from the border."""
    inside = (cube > TISSUE[0]) & (cube < TISSUE[1])
    margin = max(SPHERES)
    inside[:margin] = inside[-margin:] = inside[:, :margin] = inside[:, -margin:] = False
    inside[:, :, :margin] = inside[:, :, -margin:] = False
    places = np.argwhere(inside)
    centre = places[rng.integers(len(places))]
    reach = diameter // 2 + 1
    box = tuple(slice(c - reach, c + reach + 1) for c in centre)
    offsets = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"))
    depth = np.clip(diameter / 2 + 0.5 - np.sqrt((offsets**2).sum(axis=0)), 0, 1).astype(np.float32)
    result = cube.copy()
    result[box] = np.clip(result[box] + SPHERE_BRIGHT * depth, 0, 1)
    return result


def vectors_of(case: Case, encoder: Encoder, *, spheres: bool) -> dict[str, Vector]:
    """Vectors by "variant" and, with spheres, by "variant/diameter"."""
    sight = Sight(encoder)
    matrix = gaussian_matrix(encoder.card.dim, spec_for(encoder, "full", components=COMPONENTS))
    cube = cube_of(case.volume())
    stacks = [images(cube, plane) for plane in range(3)]
    slabs = SLABS if spheres or case.session == 0 else ()
    looks = [Looks(sight.tokens(s), {n: sight.tokens(slab_means(s, n)) for n in slabs}) for s in stacks]
    result = dict(_projected(looks, matrix))
    if spheres:
        number = [s.name for s in SOURCES].index(case.source.name)
        for diameter in SPHERES:
            changed = planted(cube, diameter, np.random.default_rng([SEED, 1, number, case.session, diameter]))
            seen = [
                look.touched(sight, s, images(changed, p))
                for p, (look, s) in enumerate(zip(looks, stacks, strict=True))
            ]
            result |= {f"{name}/{diameter}": vector for name, vector in _projected(seen, matrix)}
    return result


def _projected(looks: Sequence[Looks], matrix: Float[np.ndarray, "d k"]) -> Iterator[tuple[str, Vector]]:
    averages = [look.averages() for look in looks]
    for name in averages[0]:
        parts = np.stack([one[name] for one in averages], axis=1)  # part, plane, token, d
        yield name, np.concatenate([project(part, matrix).ravel() for part in parts])


def compute(case: Case, encoder_name: str, cache: Path, spheres: bool) -> None:
    """The vectors of one case, into the cache unless they are there."""
    file = cache / f"{case.name}.npz"
    if file.exists():
        return
    torch.set_num_threads(1)
    vectors = vectors_of(case, load_encoder(encoder_name), spheres=spheres)
    part = file.with_suffix(".part")
    with part.open("wb") as out:
        np.savez(out, **{name.replace("/", "@"): vector for name, vector in vectors.items()})  # type: ignore[arg-type]
    part.replace(file)


def read_vectors(cases: Sequence[Case], cache: Path, name: str) -> Float32[np.ndarray, "n length"]:
    rows = []
    for case in cases:
        with np.load(cache / f"{case.name}.npz") as held:
            rows.append(held[name.replace("/", "@")])
    return np.stack(rows)


def centred_unit(vectors: Float32[np.ndarray, "n length"], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    moved = vectors - mean
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


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


def retrieval(variant: str, derived: Sequence[Case], cache: Path) -> tuple[float, float, float]:
    """Share of the ten nearest kept, how often the first is of the same source, and mean average precision of that."""
    sources = np.array([case.source.name for case in derived])
    _, best = nearest(read_vectors(derived, cache, "all"))
    _, order = nearest(read_vectors(derived, cache, variant))
    overlap = np.mean([len(set(a[:NEAREST]) & set(b[:NEAREST])) / NEAREST for a, b in zip(best, order, strict=True)])
    first = (sources[order[:, 0]] == sources).mean()
    return float(overlap), float(first), average_precision(order, sources)


def row_of(variant: str, real: Sequence[Case], derived: Sequence[Case], cache: Path, with_spheres: int) -> Row:
    planted_in = [case for case in derived if case.session <= with_spheres]
    found = retrieval(variant, derived, cache) if variant in map(_count_name, COUNTS) else (None, None, None)
    cosine = None
    true, held = read_vectors(real, cache, "all"), read_vectors(real, cache, variant)
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
        auroc={d: detected(planted_in, cache, variant, d) for d in SPHERES if planted_in},
    )


def detected(cases: Sequence[Case], cache: Path, variant: str, diameter: int) -> tuple[float, float, float]:
    clean, found = read_vectors(cases, cache, variant), read_vectors(cases, cache, f"{variant}/{diameter}")
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--sessions", type=int, default=8, help="derived scans of each real volume")
    parser.add_argument("--cache", type=Path, help="keeps the vectors of each volume")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sphere-sessions", type=int, default=4, help="of these sessions spheres are planted in")
    parser.add_argument("--quick", action="store_true", help="4 sources, 2 sessions, no spheres")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sources = SOURCES[::3] if args.quick else SOURCES
    sessions = 2 if args.quick else args.sessions
    with_spheres = 0 if args.quick else args.sphere_sessions
    real = [Case(source, 0) for source in sources]
    derived = [Case(source, session) for session in range(1, sessions + 1) for source in sources]
    with tempfile.TemporaryDirectory() as scratch:
        cache = (args.cache or Path(scratch)) / args.encoder
        cache.mkdir(parents=True, exist_ok=True)
        jobs = [(case, args.encoder, cache, 0 < case.session <= with_spheres) for case in real + derived]
        with multiprocessing.get_context("spawn").Pool(args.workers, maxtasksperchild=20) as pool:
            for done, _ in enumerate(pool.imap_unordered(_compute, jobs), start=1):
                print(f"\r{done} of {len(jobs)} volumes", end="", flush=True)
        print()
        rows = [row_of(name, real, derived, cache, with_spheres) for name in variants()]
    show(rows, args.encoder, len(real), len(derived))
    if args.json:
        chosen = [vars(row) | {"auroc": {str(d): a for d, a in row.auroc.items()}} for row in rows]
        args.json.write_text(
            json.dumps({"encoder": args.encoder, "real": len(real), "derived": len(derived), "rows": chosen}, indent=2)
        )


def _compute(job: tuple[Case, str, Path, bool]) -> None:
    compute(*job)


if __name__ == "__main__":
    main()
