"""The cohort's graph and map beside plain seeded `umap.UMAP` on the same vectors: time, and what is kept.

    python benchmarks/cohort.py [--sizes N ...] [--quick] [--keep DIR] [--json FILE]

Sketches of 1,024 numbers, drawn in 40 clusters within clusters, as centred embeddings are. "ours" is the graph of 50
neighbours (every pair up to 20,000 scans, candidates of the index above) and the map made from it; "umap" is
umap-learn alone with the same neighbours, seed and cosine metric, which finds its own neighbours. Both run on one
thread, after a small warm-up that compiles umap-learn; seconds are those of the processor. "kept" is the share of the
15 truly nearest scans (every pair scored, 5,000 sampled scans) that are among the 15 nearest on the map; "graph" the
same of the graph. Ours is run twice: the two maps have to be equal to the last bit. With --keep what is done is kept,
and a run that was cut short goes on from there: ours, umap, ours again.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from raptor_search.cohort import DEFAULT_MAP_NEIGHBOURS, cohort_map
from raptor_search.cohorts.graph import KnnGraph, build_graph

LENGTH = 1024
SAMPLE = 5000
"""Scans whose nearest are looked up: the difference of two shares is then known to about 0.002."""

BLOCK = 500

Arrays = dict[str, NDArray[Any]]
"""What a step gave."""

SEED = 0
WARM_UP = 300


@dataclass(frozen=True)
class Row:
    """One size; seconds of the processor."""

    scans: int
    graph_s: float
    map_s: float
    ours_s: float
    umap_s: float
    ratio: float
    graph_kept: float
    ours_kept: float
    umap_kept: float
    identical: bool
    graph: str


def draw(scans: int) -> Float32[np.ndarray, "n 1024"]:
    """Unit vectors about a mean of zero: forty groups, each of ten smaller ones, with noise of many directions."""
    rng = np.random.default_rng(SEED)
    group = rng.integers(0, 40, scans)
    small = group * 10 + rng.integers(0, 10, scans)
    vectors = rng.normal(0, 1.0, (40, LENGTH))[group] + rng.normal(0, 0.7, (400, LENGTH))[small]
    # A few directions carry what differs within a group, as in real cohorts; the rest is noise.
    own = rng.normal(0, 1, (scans, 12)) @ rng.normal(0, 0.25, (12, LENGTH))
    rows: NDArray[np.float32] = (vectors + own + rng.normal(0, 0.25, (scans, LENGTH))).astype(np.float32)
    rows -= rows.mean(axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def ours(vectors: Float32[np.ndarray, "n d"]) -> tuple[KnnGraph, NDArray[np.float32], float, float]:
    nothing = np.zeros(vectors.shape[1], np.float32)
    begin = time.process_time()
    graph = build_graph(np.arange(len(vectors)), lambda rows: vectors[rows], nothing, sketches=vectors)
    between = time.process_time()
    drawn = cohort_map(vectors, np.arange(len(vectors)), mean=nothing, graph=graph, seed=SEED)
    return graph, drawn.coordinates, between - begin, time.process_time() - between


def plain_umap(vectors: Float32[np.ndarray, "n d"]) -> tuple[NDArray[np.float32], float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import umap

        begin = time.process_time()
        model = umap.UMAP(n_neighbors=DEFAULT_MAP_NEIGHBOURS, metric="cosine", random_state=SEED, n_jobs=1)
        return np.asarray(model.fit_transform(vectors), np.float32), time.process_time() - begin


def truth_of(vectors: Float32[np.ndarray, "n d"], rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    found = []
    for part in np.split(rows, range(BLOCK, len(rows), BLOCK)):
        scores = vectors[part] @ vectors.T
        scores[np.arange(len(part)), part] = -np.inf
        found.append(np.argpartition(-scores, k, axis=1)[:, :k])
    return np.concatenate(found)


def kept(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    shares = [len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, truth, strict=True)]
    return float(np.mean(shares))


def on_map(coordinates: Float[np.ndarray, "n 2"], rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    found = NearestNeighbors(n_neighbors=k + 1).fit(coordinates).kneighbors(coordinates[rows], return_distance=False)
    return np.stack([line[line != row][:k] for line, row in zip(found, rows.tolist(), strict=True)])


def kept_or(keep: Path | None, name: str, run: Callable[[], Arrays]) -> Arrays:
    """What a step gave, or gives now."""
    file = None if keep is None else keep / f"{name}.npz"
    if file is not None and file.is_file():
        with np.load(file, allow_pickle=False) as held:
            return dict(held)
    found = run()
    if file is not None:
        named: dict[str, Any] = dict(found)  # by name, one could be the option allow_pickle
        np.savez(file.with_name("part.npz"), **named)
        file.with_name("part.npz").replace(file)
    return found


def measure(scans: int, keep: Path | None) -> Row:
    vectors = draw(scans)
    k = DEFAULT_MAP_NEIGHBOURS
    rows = np.sort(np.random.default_rng(1).choice(scans, min(SAMPLE, scans), replace=False))

    def run_ours() -> Arrays:
        graph, coordinates, graph_s, map_s = ours(vectors)
        near = graph.indices[rows, :k]
        return {
            "map": coordinates,
            "near": near,
            "seconds": np.array([graph_s, map_s]),
            "exact": np.array(graph.is_exact),
        }

    def run_umap() -> Arrays:
        coordinates, seconds = plain_umap(vectors)
        return {"map": coordinates, "seconds": np.array([seconds])}

    one = kept_or(keep, f"{scans}-ours", run_ours)
    theirs = kept_or(keep, f"{scans}-umap", run_umap)
    again = kept_or(keep, f"{scans}-again", run_ours)
    truth = truth_of(vectors, rows, k)
    graph_s, map_s = one["seconds"].tolist()
    umap_s = float(theirs["seconds"][0])
    return Row(
        scans=scans,
        graph_s=graph_s,
        map_s=map_s,
        ours_s=graph_s + map_s,
        umap_s=umap_s,
        ratio=(graph_s + map_s) / umap_s,
        graph_kept=kept(one["near"], truth),
        ours_kept=kept(on_map(one["map"], rows, k), truth),
        umap_kept=kept(on_map(theirs["map"], rows, k), truth),
        identical=bool((again["map"] == one["map"]).all()),
        graph="every pair" if one["exact"] else "index",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", help="scans (default: 10000 100000)")
    parser.add_argument("--quick", action="store_true", help="3,000 scans, unless --sizes says otherwise")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep what is done there and go on from it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    arguments = parser.parse_args()
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    sizes = arguments.sizes or ([3000] if arguments.quick else [10_000, 100_000])
    small = draw(WARM_UP)
    ours(small)
    plain_umap(small)
    print(f"{'scans':>8} {'graph':>11}{'graph s':>9}{'map s':>8}{'ours s':>8}{'umap s':>8}{'ratio':>7}", end="")
    print(f"{'graph kept':>12}{'ours kept':>11}{'umap kept':>11}  identical", flush=True)
    found = []
    for scans in sizes:
        row = measure(scans, arguments.keep)
        found.append(row)
        print(
            f"{row.scans:8} {row.graph:>11}{row.graph_s:9.1f}{row.map_s:8.1f}{row.ours_s:8.1f}{row.umap_s:8.1f}", end=""
        )
        kept_shares = f"{row.graph_kept:12.3f}{row.ours_kept:11.3f}{row.umap_kept:11.3f}"
        print(f"{row.ratio:7.2f}{kept_shares}  {row.identical}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in found], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
