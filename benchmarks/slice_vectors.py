"""Vectors of the comparison of slices: real and derived volumes, every way of averaging read off the same tokens.

Each slice of a cube of 224 is encoded once and its tokens are kept while its volume is at work; a volume with a
planted sphere differs in few slices, and only those are encoded again.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy.typing import NDArray
from torch import Tensor

from indexer.demo.derive import antialias, derive
from indexer.demo.sources import SOURCES, DemoSource, load
from raptor_search.encoders import Dtype, Encoder, encoder_card, load_encoder, spec_for
from raptor_search.intensity import choose_rule, normalise
from raptor_search.planes import PLANES, slice_indices
from raptor_search.projection import gaussian_matrix, project
from raptor_search.resampling import axis_weights
from raptor_search.volume import Volume

__all__ = [
    "COMPONENTS",
    "COUNTS",
    "DTYPES",
    "SEED",
    "SIDE",
    "SPHERES",
    "Case",
    "compute",
    "count_name",
    "read_vectors",
    "variants",
]

SIDE = 224
"""Voxels of the cube, and slices a plane in all."""

COUNTS = (8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 112, SIDE)
SLABS = (16, 32)
SPREADS = (24, 32, SIDE)

SPHERES = (4, 8, 16, 32)
"""Diameters in voxels of the cube."""
SPHERE_BRIGHT = 0.35
"""Added to the window [0, 1] inside a sphere."""
TISSUE = (0.15, 0.6)
"""A sphere's centre lies where the window shows tissue that it stands out from."""

COMPONENTS = 100
STALE = 600.0
"""Seconds after which a run that began a case counts as ended without it."""

SEED = 0
BATCH = 4

DTYPES: dict[str, Dtype] = {"fp32": "float32", "bf16": "bfloat16"}

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
        [count_name(n) for n in COUNTS]
        + [f"{n} slab means" for n in SLABS]
        + [f"{count_name(n)} + spread" for n in SPREADS]
    )


def count_name(count: int) -> str:
    return "all" if count == SIDE else str(count)


def cube_of(volume: Volume) -> Float32[np.ndarray, "224 224 224"]:
    """The volume in [0, 1], fitted to the cube as the presets `full` and `default` fit it, axes R, A, S."""
    voxels = normalise(volume.voxels, choose_rule(volume.voxels))
    extents = [n * mm for n, mm in zip(voxels.shape, volume.spacing, strict=True)]
    for axis, extent in enumerate(extents):
        weights = axis_weights(voxels.shape[axis], SIDE, covered=max(extents) / extent).astype(np.float32)
        voxels = np.moveaxis(np.tensordot(weights, voxels, axes=([1], [axis])), 0, axis)
    cube: NDArray[np.float32] = np.clip(voxels, 0, 1)
    return cube


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

    def __init__(self, encoder: Encoder, *, autocast: bool) -> None:
        self.encoder = encoder
        self.autocast = autocast
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
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
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
        flat = self.slices.reshape(SIDE, -1)
        middle = flat.mean(axis=0)
        moved = flat - middle  # so that float32 loses nothing in the squares
        means = _SHARES @ moved
        counts = [COUNTS.index(n) for n in SPREADS]
        squares = _SHARES[counts] @ np.square(moved) - np.square(means[counts])
        spreads = dict(zip(SPREADS, np.sqrt(np.maximum(squares, 0)), strict=True))
        shape = self.slices.shape[1:]
        result = {}
        for count, mean in zip(COUNTS, means + middle, strict=True):
            result[count_name(count)] = mean.reshape(1, *shape)
            if count in SPREADS:
                result[f"{count_name(count)} + spread"] = np.stack([mean, spreads[count]]).reshape(2, *shape)
        for count, tokens in self.slabs.items():
            result[f"{count} slab means"] = tokens.mean(axis=0)[None]
        return result


def _shares() -> Float32[np.ndarray, "count 224"]:
    """What each slice weighs in the mean of so many."""
    shares = np.zeros((len(COUNTS), SIDE), np.float32)
    for row, count in zip(shares, COUNTS, strict=True):
        row[slice_indices(SIDE, count)] = 1 / count
    return shares


_SHARES = _shares()


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


def vectors_of(case: Case, encoder: Encoder, *, spheres: bool, autocast: bool = False) -> dict[str, Vector]:
    """Vectors by "variant" and, with spheres, by "variant/diameter"."""
    sight = Sight(encoder, autocast=autocast)
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


def compute(case: Case, encoder_name: str, folder: Path, spheres: bool, dtype: str) -> bool:
    """The vectors of one case, into the folder unless they are there; False where another run is at work on them."""
    if _is_there(case, folder, spheres):
        return True
    file = folder / f"{case.name}.npz"
    claim = file.with_suffix(".claim")
    try:
        claim.touch(exist_ok=False)
    except FileExistsError:
        if time.time() - claim.stat().st_mtime < STALE:
            return False
        claim.touch()
    encoder = _encoder(encoder_name, dtype)
    autocast = dtype == "bf16" and encoder.card.layers == 0  # a CNN's weights stay in float32
    vectors = vectors_of(case, encoder, spheres=spheres, autocast=autocast)
    part = file.with_suffix(".part")
    with part.open("wb") as out:
        np.savez(out, **{name.replace("/", "@"): vector for name, vector in vectors.items()})  # type: ignore[arg-type]
    part.replace(file)
    claim.unlink(missing_ok=True)
    return True


def _is_there(case: Case, folder: Path, spheres: bool) -> bool:
    file = folder / f"{case.name}.npz"
    if not file.is_file():
        return False
    with np.load(file) as held:
        return not spheres or f"all@{SPHERES[0]}" in held.files


@cache
def _encoder(name: str, dtype: str) -> Encoder:
    """One a process, on one thread: the processes share the cores."""
    torch.set_num_threads(1)
    is_cnn = encoder_card(name).layers == 0
    encoder = load_encoder(name, device="cpu", dtype=None if is_cnn else DTYPES[dtype])
    if dtype == "bf16" and encoder.card.layers:
        model: Any = encoder
        model._model.set_attn_implementation("eager")  # on a CPU a fifth quicker than torch's fused attention
    return encoder


def read_vectors(cases: Sequence[Case], folder: Path, name: str) -> Float32[np.ndarray, "n length"]:
    rows = []
    for case in cases:
        with np.load(folder / f"{case.name}.npz") as held:
            rows.append(held[name.replace("/", "@")])
    return np.stack(rows)
