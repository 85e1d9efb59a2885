"""Vectors to search, drawn with fixed seeds: three shapes of archive, and real embeddings multiplied.

A drawn vector is a part that all share (raw embeddings have cosines of about 0.97), a place in a space of 32 directions
that kinds of scan differ in, the centre of its group, and noise. Shares of the variance after centring:

    groups     groups of 11, so that a scan has ten near ones: kinds 0.4, group 0.4, noise 0.2
    clusters   clusters of 500, whose scans differ along 16 directions of their own as well: kinds 0.4, cluster 0.3,
               within it 0.15 along those directions and 0.15 noise
    powerlaw   as clusters, of sizes that fall as a power law (Zipf, exponent 1.1), the largest a twentieth of all
    real       the embeddings of an archive of real or derived scans, each plus 0.4 of the difference of two
               others and 0.15 noise: DERIVED

Drawn once for a block of rows, whatever rows are asked for together.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float16, Float32
from numpy.typing import NDArray

__all__ = ["GENERATORS", "Drawn", "drawn", "multiplied"]

GENERATORS = ("groups", "clusters", "powerlaw", "real")

BLOCK = 2_000
KINDS, WITHIN = 32, 16
COMMON = 5.0
"""Size of what all share, in units of the rest: raw cosines of 0.96."""

SHARES = {
    "groups": (0.4, 0.4, 0.0, 0.2),
    "clusters": (0.4, 0.3, 0.15, 0.15),
    "powerlaw": (0.4, 0.3, 0.15, 0.15),
}


@dataclass(frozen=True, eq=False)
class Drawn:
    """An archive's vectors; `groups` says which belong together."""

    name: str
    groups: NDArray[np.int64]
    length: int
    source: Float32[np.ndarray, "m length"] | None = None

    def __len__(self) -> int:
        return self.groups.size

    def blocks(self) -> Iterator[tuple[int, Float16[np.ndarray, "b length"]]]:
        """Row of the first, and rows, in order."""
        for start in range(0, len(self), BLOCK):
            yield start, self._block(start)

    def _block(self, start: int) -> Float16[np.ndarray, "b length"]:
        rng = np.random.Generator(np.random.SFC64([7, start]))
        groups = self.groups[start : start + BLOCK]
        noise = rng.standard_normal((groups.size, self.length), dtype=np.float32)
        if self.source is not None:
            two, three = rng.integers(len(self.source), size=(2, groups.size))
            near, spread = self.source[groups], self.source.std(axis=0)
            derived = near + 0.4 * (self.source[two] - self.source[three]) + 0.15 * spread * noise
            halved: NDArray[np.float16] = derived.astype(np.float16)
            return halved
        kinds, group, within, own = SHARES[self.name]
        rows = COMMON * _fixed(0, 1, self.length) + np.sqrt(np.float32(own)) * noise
        members, place = np.unique(groups, return_inverse=True)
        centres = np.stack([self._centre(int(g), kinds, group) for g in members])
        rows += centres[place]
        if within:
            steps = rng.standard_normal((groups.size, WITHIN), dtype=np.float32)
            rows += np.sqrt(np.float32(within / WITHIN)) * steps @ _fixed(2, WITHIN, self.length)
        drawn_rows: NDArray[np.float16] = rows.astype(np.float16)
        return drawn_rows

    def _centre(self, number: int, kinds: float, group: float) -> Float32[np.ndarray, " length"]:
        rng = np.random.Generator(np.random.SFC64([11, number]))
        steps = rng.standard_normal(KINDS, dtype=np.float32) * np.sqrt(np.float32(kinds / KINDS))
        centre = steps @ _fixed(1, KINDS, self.length)
        placed: NDArray[np.float32] = centre + np.sqrt(np.float32(group)) * rng.standard_normal(
            self.length, dtype=np.float32
        )
        return placed


def drawn(name: str, n: int, length: int) -> Drawn:
    """An archive of n vectors of this many numbers; members of a group are scattered, as scans come in."""
    rng = np.random.default_rng(3)
    if name == "powerlaw":
        sizes = 1 / np.arange(1, n) ** 1.1
        sizes = np.maximum(2, sizes / sizes[0] * n / 20).astype(int)
        groups = np.repeat(np.arange(sizes.size), sizes)
        groups = np.resize(groups, n)
    else:
        groups = np.arange(n) // {"groups": 11, "clusters": 500}[name]
    return Drawn(name, rng.permutation(groups).astype(np.int64), length)


def multiplied(source: Float32[np.ndarray, "m length"], n: int) -> Drawn:
    """n vectors derived from real ones."""
    groups = np.random.default_rng(3).integers(len(source), size=n)
    return Drawn("real", groups, source.shape[1], source)


_FIXED: dict[tuple[int, int, int], Float32[np.ndarray, "m length"]] = {}


def _fixed(seed: int, rows: int, length: int) -> Float32[np.ndarray, "m length"]:
    key = (seed, rows, length)
    if key not in _FIXED:
        _FIXED[key] = np.random.default_rng(seed).standard_normal((rows, length), dtype=np.float32)
    return _FIXED[key]
