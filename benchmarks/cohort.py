"""The cohort's graph and map beside plain seeded `umap.UMAP` on the same vectors: time, and what is kept.

    python benchmarks/cohort.py [--sizes N ...] [--quick] [--keep DIR | --again DIR] [--json FILE]

Sketches of 1,024 numbers, drawn in 40 clusters within clusters, as centred embeddings are. "ours" is the graph of 50
neighbours (every pair up to 20,000 scans, candidates of the index above) and the map made from it; "umap" is
umap-learn alone with the same neighbours, seed and cosine metric, which finds its own neighbours. Both run on one
thread of one run, after a small warm-up that compiles umap-learn. "kept" is the share of the 15 truly nearest scans
(every pair scored, 1,000 sampled scans) that are among the 15 nearest on the map; "graph" the same of the graph.
Ours is run twice: the two maps have to be equal to the last bit. At 100,000 the second run may be had apart, with
--keep and then --again.
"""

import argparse
import json
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from raptor_search.cohort import DEFAULT_MAP_NEIGHBOURS, cohort_map
from raptor_search.graph import KnnGraph, build_graph

LENGTH = 1024
SAMPLE = 1000
SEED = 0
WARM_UP = 300


@dataclass(frozen=True)
class Row:
    """One size; seconds of the clock."""

    scans: int
    graph_s: float
    map_s: float
    ours_s: float
    umap_s: float
    ratio: float
    graph_kept: float
    ours_kept: float
    umap_kept: float
    identical: bool | None
    graph: str


def draw(scans: int) -> Float32[np.ndarray, "n 1024"]:
    """Unit vectors about a mean of zero: forty groups, each of ten smaller ones, with noise of many directions."""
    rng = np.random.default_rng(SEED)
    group = rng.integers(0, 40, scans)
    small = group * 10 + rng.integers(0, 10, scans)
    vectors = rng.normal(0, 1.0, (40, LENGTH))[group] + rng.normal(0, 0.7, (400, LENGTH))[small]
    # A few directions carry what differs within a group, as in real cohorts; the rest is noise.
    own = rng.normal(0, 1, (scans, 12)) @ rng.normal(0, 0.25, (12, LENGTH))
    rows = (vectors + own + rng.normal(0, 0.25, (scans, LENGTH))).astype(np.float32)
    rows -= rows.mean(axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def ours(vectors: Float32[np.ndarray, "n d"]) -> tuple[KnnGraph, NDArray[np.float32], float, float]:
    nothing = np.zeros(vectors.shape[1], np.float32)
    begin = time.perf_counter()
    graph = build_graph(np.arange(len(vectors)), lambda rows: vectors[rows], nothing, sketches=vectors)
    between = time.perf_counter()
    drawn = cohort_map(vectors, np.arange(len(vectors)), mean=nothing, graph=graph, seed=SEED)
    return graph, drawn.coordinates, between - begin, time.perf_counter() - between


def plain_umap(vectors: Float32[np.ndarray, "n d"]) -> tuple[NDArray[np.float32], float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import umap

        begin = time.perf_counter()
        model = umap.UMAP(n_neighbors=DEFAULT_MAP_NEIGHBOURS, metric="cosine", random_state=SEED, n_jobs=1)
        return np.asarray(model.fit_transform(vectors), np.float32), time.perf_counter() - begin


def truth_of(vectors: Float32[np.ndarray, "n d"], rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    scores = vectors[rows] @ vectors.T
    scores[np.arange(len(rows)), rows] = -np.inf
    return np.argpartition(-scores, k, axis=1)[:, :k]


def kept(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    shares = [len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, truth, strict=True)]
    return float(np.mean(shares))


def on_map(coordinates: Float[np.ndarray, "n 2"], rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    found = NearestNeighbors(n_neighbors=k + 1).fit(coordinates).kneighbors(coordinates[rows], return_distance=False)
    return np.stack([line[line != row][:k] for line, row in zip(found, rows.tolist(), strict=True)])


def measure(scans: int, keep: Path | None) -> Row:
    vectors = draw(scans)
    k = DEFAULT_MAP_NEIGHBOURS
    rows = np.sort(np.random.default_rng(1).choice(scans, min(SAMPLE, scans), replace=False))
    truth = truth_of(vectors, rows, k)
    graph, coordinates, graph_s, map_s = ours(vectors)
    theirs, umap_s = plain_umap(vectors)
    identical = None
    if keep is None:
        identical = bool((ours(vectors)[1] == coordinates).all())
    else:
        np.save(keep / f"{scans}.npy", coordinates)
    return Row(
        scans=scans,
        graph_s=graph_s,
        map_s=map_s,
        ours_s=graph_s + map_s,
        umap_s=umap_s,
        ratio=(graph_s + map_s) / umap_s,
        graph_kept=kept(graph.indices[rows, :k], truth),
        ours_kept=kept(on_map(coordinates, rows, k), truth),
        umap_kept=kept(on_map(theirs, rows, k), truth),
        identical=identical,
        graph="every pair" if graph.is_exact else "index",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", help="scans (default: 10000 100000)")
    parser.add_argument("--quick", action="store_true", help="3,000 scans, unless --sizes says otherwise")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep our maps there, and leave the second runs out")
    parser.add_argument("--again", type=Path, metavar="DIR", help="the second runs alone, against the maps kept there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    arguments = parser.parse_args()
    sizes = arguments.sizes or ([3000] if arguments.quick else [10_000, 100_000])
    if arguments.again:
        for scans in sizes:
            same = (ours(draw(scans))[1] == np.load(arguments.again / f"{scans}.npy", allow_pickle=False)).all()
            print(f"{scans:8} a second run is identical to the last bit: {same}", flush=True)
        return
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
        same = "-" if row.identical is None else row.identical
        print(f"{row.ratio:7.2f}{row.graph_kept:12.3f}{row.ours_kept:11.3f}{row.umap_kept:11.3f}  {same}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in found], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
