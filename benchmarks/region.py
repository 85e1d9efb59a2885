"""Whether comparing a region finds what lies in it: spheres planted in one box of derived scans.

    python benchmarks/region.py [--scans N] [--diameter PART] [--encoder NAME] [--cache DIR] [--quick] [--json FILE]

Scans derived from the demo's real volumes (`indexer/demo/derive.py`); in every second one a bright sphere is planted,
its centre drawn within one box of the picture. Each scan with a sphere asks, once with the whole scan and once with
the cells that the box covers in the three planes (`raptor_search.search(region=...)`, real store). Figure: the area
under the ROC curve, that is how often a scan with a sphere is ranked above one without, among all other scans, and
among those of other sources alone. Intervals are at 95% and resample sources; the difference is paired by query.

Everything is derived and the spheres are drawn: it says that the region works, nothing of findings in patients.
"""

import argparse
import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float16
from numpy.typing import NDArray
from scipy.stats import rankdata

from indexer.demo.derive import antialias, derive
from indexer.demo.sources import SOURCES, load
from raptor_search.catalog import Catalog, NewVolume
from raptor_search.embedding import embed
from raptor_search.encoders import load_encoder, spec_for
from raptor_search.keys import ArchiveKey
from raptor_search.planes import PLANES
from raptor_search.search import search
from raptor_search.searching.publishing import publish
from raptor_search.searching.region import Region
from raptor_search.searching.serving import IndexCache
from raptor_search.specs import EmbeddingSpec
from raptor_search.volume import Volume

BOX = ((0.5, 0.82), (0.4, 0.72), (0.5, 0.82))
"""Along R, A, S, in parts of the cube that a scan is fitted to."""

BRIGHT = 0.35
"""Added inside a sphere, in parts of the range between the 0.5th and the 99.5th percentile."""

RESAMPLES = 10_000
SEED = 0


@dataclass(frozen=True)
class Scan:
    """One derived scan."""

    source: int
    session: int
    diameter: float

    @property
    def has_sphere(self) -> bool:
        return self.session % 2 == 1

    def volume(self) -> Volume:
        source = SOURCES[self.source]
        rng = np.random.default_rng([SEED, self.source, self.session])
        volume = derive(antialias(load(source)), rng, modality=source.modality)
        if not self.has_sphere:
            return volume
        return planted(volume, self.diameter, np.random.default_rng([SEED, 1, self.source, self.session]))


@dataclass(frozen=True)
class Figure:
    """A mean over queries and its 95% interval over sources."""

    among: str
    name: str
    value: float
    low: float
    high: float


def planted(volume: Volume, diameter: float, rng: np.random.Generator) -> Volume:
    """The scan with one sphere, its edge a voxel wide, wholly within the box."""
    voxels = volume.voxels.astype(np.float32)
    side = max(voxels.shape)  # the grid is isotropic: the cube is as wide as the longest axis
    radius = diameter * side / 2
    low = [(a * side - (side - n) / 2 + radius) for (a, _), n in zip(BOX, voxels.shape, strict=True)]
    high = [(b * side - (side - n) / 2 - radius) for (_, b), n in zip(BOX, voxels.shape, strict=True)]
    centre = rng.uniform(low, high)
    away = np.sqrt(sum((at - c) ** 2 for at, c in zip(np.indices(voxels.shape), centre, strict=True)))
    dark, bright = np.percentile(voxels, [0.5, 99.5])
    voxels += BRIGHT * (bright - dark) * np.clip(radius + 0.5 - away, 0, 1)
    return Volume(voxels=np.rint(voxels).astype(np.int16), affine=volume.affine, format="nifti")


def regions(grid: tuple[int, int]) -> tuple[Region, ...]:
    """The cells that the box covers in each plane."""
    found = []
    for number, plane in enumerate(PLANES["ras"]):
        spans = []
        for axis, cells in zip((plane.rows, plane.cols), grid, strict=True):
            start, end = BOX[axis]
            if plane.reverse:
                start, end = 1 - end, 1 - start
            spans.append((int(start * cells), int(np.ceil(end * cells)) - 1))
        found.append(Region(number, *spans))
    return tuple(found)


def embedded(
    scans: list[Scan], encoder_name: str, cache: Path
) -> tuple[EmbeddingSpec, Float16[np.ndarray, "n length"]]:
    encoder = load_encoder(encoder_name)
    spec = spec_for(encoder, "default")
    rows = []
    for number, scan in enumerate(scans, start=1):
        sphere = f"-{scan.diameter}" if scan.has_sphere else ""
        file = cache / f"{encoder_name}-{SOURCES[scan.source].name}-{scan.session}{sphere}.npy"
        if not file.exists():
            np.save(file, embed(scan.volume(), encoder, spec).stored)
        rows.append(np.load(file))
        print(f"\r{number} of {len(scans)} scans", end="", flush=True)
    print()
    return spec, np.stack(rows)


def stored(home: Path, spec: EmbeddingSpec, scans: list[Scan], vectors: Float16[np.ndarray, "n length"]) -> Catalog:
    """An archive of the scans, published."""
    catalog = Catalog.open(home, ArchiveKey(home.with_name("archive.key"), bytes(range(32))), mode="write")
    known = catalog.add_spec(spec, {})
    for scan, vector in zip(scans, vectors, strict=True):
        name = f"{SOURCES[scan.source].name}-{scan.session}"
        digest = hashlib.sha256(name.encode()).hexdigest()
        catalog.commit_volume(
            NewVolume(
                source_key=digest,
                locator=name,
                size=1,
                mtime_ns=1,
                content_key=digest,
                format="nifti",
                shape=(96, 96, 96),
                spacing=(1.0, 1.0, 1.0),
                orientation="RAS",
                oriented=True,
                spec_id=known.id,
                vector=vector,
                intensity_rule="derived",
            )
        )
    publish(catalog, home, known)
    return catalog


def area(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Area under the ROC curve, ties half."""
    ranks = rankdata(scores)[truth]
    return float((ranks.sum() - truth.sum() * (truth.sum() + 1) / 2) / (truth.sum() * (~truth).sum()))


def areas(catalog: Catalog, scans: list[Scan], vectors: Float16[np.ndarray, "n length"]) -> NDArray[np.float64]:
    """[among all, among other sources] x [whole, region] for each query."""
    known, indexes = catalog.specs()[0], IndexCache(catalog.home)
    cells = regions(known.spec.grid)
    sources, truth = np.array([s.source for s in scans]), np.array([s.has_sphere for s in scans])
    found = []
    for row in np.flatnonzero(truth):
        both = []
        for region in ((), cells):
            result = search(
                catalog, indexes, known, vectors[row], k=len(scans), exclude_ids=[int(row) + 1], region=region
            )
            assert result.exact
            scores = np.full(len(scans), -np.inf)
            scores[[hit.volume_id - 1 for hit in result.hits]] = [hit.score for hit in result.hits]
            others, strangers = np.arange(len(scans)) != row, sources != sources[row]
            both.append([area(scores[among], truth[among]) for among in (others, strangers)])
        found.append(np.array(both).T)
    return np.array(found)


def figures(found: NDArray[np.float64], sources: NDArray[np.intp]) -> list[Figure]:
    rng = np.random.default_rng(SEED)
    names = np.unique(sources)
    drawn = rng.integers(names.size, size=(RESAMPLES, names.size))
    result = []
    for place, among in enumerate(("all others", "other sources")):
        whole, region = found[:, place, 0], found[:, place, 1]
        for name, values in (("whole scan", whole), ("region", region), ("region - whole", region - whole)):
            sums = np.array([values[sources == s].sum() for s in names])
            counts = np.array([(sources == s).sum() for s in names])
            means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
            low, high = np.percentile(means, (2.5, 97.5))
            result.append(Figure(among, name, float(values.mean()), float(low), float(high)))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=100)
    parser.add_argument("--diameter", type=float, default=0.3, help="of a sphere, in parts of the picture")
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--cache", type=Path, help="keeps the embedding of each scan")
    parser.add_argument("--quick", action="store_true", help="24 scans")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.manual_seed(SEED)
    count = 24 if args.quick else args.scans
    scans = [Scan(n % len(SOURCES), 1 + n // len(SOURCES), args.diameter) for n in range(count)]
    with tempfile.TemporaryDirectory() as scratch:
        cache = args.cache or Path(scratch)
        cache.mkdir(parents=True, exist_ok=True)
        spec, vectors = embedded(scans, args.encoder, cache)
        catalog = stored(Path(scratch) / "home", spec, scans, vectors)
        found = areas(catalog, scans, vectors)
        catalog.close()
    asking = np.array([s.source for s in scans if s.has_sphere])
    rows = figures(found, asking)
    cells = ", ".join(map(str, regions(spec.grid)))
    print(f"{args.encoder}: {count} derived scans of {len(set(asking))} sources")
    print(f"{asking.size} with a sphere of {args.diameter} of the picture; region: {cells}")
    print("area under the ROC curve, spheres above none; 95% intervals over sources\n")
    for row in rows:
        print(f"{row.among:<15}{row.name:<16}{row.value:>+8.3f}  [{row.low:+.3f}, {row.high:+.3f}]")
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=2))


if __name__ == "__main__":
    main()
