"""Search against other engines and against exact search: cost and recall at 10k, 100k and 1M scans.

    python benchmarks/search.py [--sizes N ...] [--components K ...] [--data NAME ...] [--engines NAME ...]
                                [--archive DIR] [--folder DIR [--keep]] [--queries N] [--seed N]
                                [--quick] [--json FILE]

Every row is a store of drawn vectors (`search_data.py`; nothing of it is a scan): the archive's own database, filled in
bulk, and the index that `publish` makes of it, with the settings that its own sweep picks. A query is a scan of the
store that is left out of its own hits; it goes through `raptor_search.search` from the raw vector to hits with metadata
and sources. Queries run twice, the second time counts: the store is warm.

    recall@10  the final answer against exact search on the FULL vectors, and its lower 95% bound
    bytes      a vector: the index in memory, centroids and ids counted. Vectors themselves stay in the database.
    CPU p95    of the CPU time that this process spends on a query, ms: what p95 is where nothing else runs
    q/CPU-s    queries per second of CPU time of this process; for pgvector the server's too
    in turn    CPU p95 and q/CPU-s of our own unfiltered queries, one asked after each query of the row: what else the
               machine does slows both alike, so that these two columns are what the row's are to be held against

Peers get the same unit sketches and only replace the index: their candidates are re-ranked on the full vectors and
looked up as ours are. Their row is the first setting whose recall is surely at least 0.99 (fewest candidates, then
narrowest search: vectors cost most to read), or their best. `filters` gives ours for filters that let 50, 10, 1 and
0.1% of the scans through: by `age`, which is drawn for each scan, and by `year`, which is drawn for each group (the
query is one of those that pass).
"""

import argparse
import json
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float16, Int64
from numpy.typing import NDArray
from search_data import GENERATORS, Drawn, drawn, multiplied
from search_peers import PEERS, Peer, is_installed
from search_store import AGES, filled, reopened, spec_of
from search_table import Row, show

from raptor_search.archive import Archive
from raptor_search.catalog import Catalog, StoredSpec
from raptor_search.filters import Comparison, Filter
from raptor_search.scoring import best, centred
from raptor_search.search import search
from raptor_search.searching.publishing import publish
from raptor_search.searching.rerank import Reranker
from raptor_search.searching.serving import IndexCache
from raptor_search.searching.sketching import centre_all, sketch_all, stored_blocks, unit_sketches
from raptor_search.searching.truth import NEIGHBOURS, exact_neighbours
from raptor_search.searching.tuning import RECALL_TARGET, RERANK_STEPS, recall_bound
from raptor_search.specs import EmbeddingSpec

SELECTIVITIES = (0.5, 0.1, 0.01, 0.001)
REAL_COMPONENTS = 10


@dataclass(frozen=True, eq=False)
class Bench:
    """A filled and published store, and what is asked of it."""

    home: Path
    catalog: Catalog
    stored: StoredSpec
    drawn: Drawn
    seed: int
    asking: Int64[np.ndarray, " q"]
    queries: Float16[np.ndarray, "q length"]
    build_seconds: float

    @property
    def mean(self) -> NDArray[np.float32]:
        """What vectors are centred by, of the version that serves."""
        serving = self.catalog.serving(self.stored.id)
        assert serving is not None, "the store is published"
        return serving[1].mean

    def truth(self, keep: NDArray[np.bool_] | None = None) -> list[Int64[np.ndarray, " k"]]:
        """The true neighbours of each query among the scans that pass: one pass over their vectors in the store."""
        mean = self.mean
        ids = np.arange(1, len(self.drawn) + 1)
        blocks = stored_blocks(self.catalog, self.stored, ids if keep is None else ids[keep])
        return exact_neighbours(blocks, self.asking, centred(self.queries, mean), mean)[1.0]


def opened(folder: Path, drawn_vectors: Drawn, spec: EmbeddingSpec, queries: int, seed: int = 0) -> Bench:
    """Fill a store, publish it, draw the queries; what an earlier run has left whole is not done again."""
    home = folder / f"{drawn_vectors.name}-{len(drawn_vectors)}-{spec.components_kept}"
    is_filled, is_built = (home.with_name(f"{home.name}.{stage}") for stage in ("filled", "built"))
    if is_filled.exists():
        catalog, stored = reopened(home)
    else:
        shutil.rmtree(home, ignore_errors=True)
        catalog, stored = filled(home, drawn_vectors, spec)
        is_filled.touch()
    if not is_built.exists():
        begun = time.perf_counter()
        publish(catalog, home, stored, retrain=True)
        is_built.write_text(str(time.perf_counter() - begun))
    built = float(is_built.read_text())
    asking = np.sort(np.random.default_rng([5, seed]).choice(len(drawn_vectors), queries, replace=False)) + 1
    vectors = catalog.vectors(asking, stored.id)
    return Bench(home, catalog, stored, drawn_vectors, seed, asking, vectors, built)


@dataclass(frozen=True)
class Timed:
    """What a run of all queries took."""

    p50_ms: float
    p95_ms: float
    cpu_p95_ms: float
    cpu_seconds: float
    answers: list[list[int]]
    first_ms: float
    in_turn: Sequence[float] = ()


Ask = Callable[[int], list[int]]


def timed(ask: Ask, queries: int, others: Sequence[int] = (), in_turn: Ask | None = None) -> Timed:
    """Ask everything once to warm up, then again with the clock running, and `in_turn` after each."""
    begun = time.perf_counter()
    ask(0)
    first = time.perf_counter() - begun
    for number in range(1, queries):
        ask(number)
    took, worked, besides, answers, cpu = [], [], [], [], cpu_seconds(others)
    for number in range(queries):
        begun, working = time.perf_counter(), time.process_time()
        answers.append(ask(number))
        took.append(time.perf_counter() - begun)
        worked.append(time.process_time() - working)
        if in_turn is not None:
            working = time.process_time()
            in_turn(number)
            besides.append(time.process_time() - working)
    spent = cpu_seconds(others) - cpu - sum(besides)
    p50, p95 = np.percentile(np.array(took) * 1e3, [50, 95])
    cpu_p95 = float(np.percentile(worked, 95)) * 1e3
    return Timed(float(p50), float(p95), cpu_p95, spent / queries, answers, first * 1e3, besides)


def cpu_seconds(others: Sequence[int]) -> float:
    """CPU time of this process and of some others."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    spent = own.ru_utime + own.ru_stime
    for number in others:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        spent += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent


def unfiltered(bench: Bench) -> Ask:
    """Our own search without a filter, warm; its queries start over where a row has more of them."""
    indexes, asking = IndexCache(bench.home), bench.asking.tolist()

    def ask(number: int) -> list[int]:
        row = number % len(asking)
        own = [asking[row]]
        return [
            hit.volume_id
            for hit in search(bench.catalog, indexes, bench.stored, bench.queries[row], exclude_ids=own).hits
        ]

    for number in range(len(asking)):
        ask(number)
    return ask


def ours(
    bench: Bench,
    where: Filter | None,
    named: str,
    truth: Sequence[Int64[np.ndarray, " k"]],
    in_turn: Ask | None = None,
) -> Row:
    """Our own row."""
    indexes = IndexCache(bench.home)
    asking = bench.asking.tolist()
    candidates: list[int] = []

    def ask(number: int) -> list[int]:
        result = search(
            bench.catalog, indexes, bench.stored, bench.queries[number], where=where, exclude_ids=[asking[number]]
        )
        candidates.append(result.candidates)
        return [hit.volume_id for hit in result.hits]

    run = timed(ask, len(asking), (), in_turn)
    version = bench.catalog.current_index(bench.stored.id)
    assert version is not None, "the store is published"
    file = bench.home / "indexes" / version.file
    serving = indexes.serving(bench.catalog, bench.stored)
    passing = indexes.passing(bench.catalog, bench.stored, where, serving.moment).count
    setting = serving.tuning.at(min(1.0, (passing - 1) / version.volumes))
    visits = f"nprobe {setting.nprobe}" if setting else "all"
    settings = f"{version.factory} {visits} R {int(np.median(candidates))}"
    database = (bench.home / "catalog.db").stat().st_size
    return _row("raptor", bench, named, settings, run, truth, file.stat().st_size, file.stat().st_size + database)


def _row(
    engine: str,
    bench: Bench,
    named: str,
    settings: str,
    run: Timed,
    truth: Sequence[Int64[np.ndarray, " k"]],
    in_memory: int,
    on_disk: int,
    build_seconds: float | None = None,
) -> Row:
    pairs = zip(truth, run.answers, strict=True)
    recalls = [float(np.isin(true[:NEIGHBOURS], answer).mean()) for true, answer in pairs if true.size]
    n = len(bench.drawn)
    return Row(
        engine=engine,
        data=bench.drawn.name,
        components=bench.stored.spec.components_kept,
        n=n,
        where=named,
        settings=settings,
        recall_at_10=float(np.mean(recalls)),
        recall_low=recall_bound(recalls, n),
        bytes_per_vector=in_memory / n,
        disk_bytes_per_vector=on_disk / n,
        p50_ms=run.p50_ms,
        p95_ms=run.p95_ms,
        cpu_p95_ms=run.cpu_p95_ms,
        queries_per_cpu_second=1 / run.cpu_seconds,
        build_seconds=bench.build_seconds if build_seconds is None else build_seconds,
        cold_ms=run.first_ms,
        in_turn_cpu_p95_ms=float(np.percentile(run.in_turn, 95)) * 1e3 if run.in_turn else None,
        in_turn_queries_per_cpu_second=1 / float(np.mean(run.in_turn)) if run.in_turn else None,
    )


def peer_row(name: str, bench: Bench, truth: Sequence[Int64[np.ndarray, " k"]]) -> Row:
    """A peer's row: its cheapest setting that reaches the recall, or its best."""
    mean = bench.mean
    ids, sketches, _ = sketch_all(bench.catalog, bench.stored, bench.catalog.ids(bench.stored.id))
    centre_all(sketches, mean)
    begun = time.perf_counter()
    peer = PEERS[name](sketches, ids)
    built = time.perf_counter() - begun
    del sketches
    rows, in_turn = [], unfiltered(bench)
    try:
        for rerank in (step for step in RERANK_STEPS if step <= 200):
            for width in peer.widths:
                run = timed(_through(peer, bench, mean, rerank, width), len(bench.asking), peer.processes, in_turn)
                rows.append(
                    _row(name, bench, "", f"width {width} R {rerank}", run, truth, peer.bytes, peer.bytes, built)
                )
                if rows[-1].recall_low >= RECALL_TARGET:
                    return rows[-1]
    finally:
        peer.close()
    return max(rows, key=lambda row: row.recall_at_10)


def _through(peer: Peer, bench: Bench, mean: NDArray[np.float32], rerank: int, width: int) -> Ask:
    asking, catalog, stored = bench.asking.tolist(), bench.catalog, bench.stored

    def ask(number: int) -> list[int]:
        query = bench.queries[number]
        found = peer.search(unit_sketches(query[np.newaxis], mean)[0], rerank + 1, width)
        candidates = np.unique(found[(found > 0) & (found != asking[number])])
        ids, values = Reranker(catalog, stored, query, mean).full(candidates)
        hits: list[int] = ids[best(ids, values, NEIGHBOURS)].tolist()
        catalog.located_volumes(hits)
        return hits

    return ask


def filter_rows(bench: Bench) -> Iterator[Row]:
    """Filters of every selectivity, drawn for each scan and for each group; queries are scans that pass."""
    n, in_turn = len(bench.drawn), unfiltered(bench)
    ages = np.random.default_rng(17).uniform(0, AGES, n)
    years = np.random.default_rng(19).integers(0, int(AGES), int(bench.drawn.groups.max()) + 1)[bench.drawn.groups]
    for column, values in (("age", ages), ("year", years)):
        for share in SELECTIVITIES:
            keep = values < share * AGES
            passing = np.flatnonzero(keep) + 1
            if passing.size <= NEIGHBOURS:
                continue
            asking = np.sort(
                np.random.default_rng([6, bench.seed]).choice(
                    passing, min(len(bench.asking), passing.size), replace=False
                )
            )
            queries = bench.catalog.vectors(asking, bench.stored.id)
            part = replace(bench, asking=asking, queries=queries)
            named = f"{column} < {share * AGES:g}"
            yield ours(part, Comparison(column, "<", share * AGES), named, part.truth(keep), in_turn)


def real_vectors(archive: Path) -> tuple[NDArray[np.float32], EmbeddingSpec]:
    """The embeddings of an archive, their first components alone."""
    with Archive.open(archive) as opened_archive:
        stored = opened_archive.spec()
        vectors = opened_archive.catalog.prefixes(opened_archive.catalog.ids(stored.id), stored.id)
        return vectors.astype(np.float32), spec_of(min(REAL_COMPONENTS, stored.spec.components_kept), stored.spec.grid)


def made_archive(folder: Path) -> Path:
    """The demo's archive of derived scans, made anew: a few minutes of embedding."""
    from indexer.demo import build_demo
    from indexer.pipeline import index
    from indexer.recipe import Options

    built = build_demo(folder / "demo", seed=0)
    index([built.folder], home=folder / "real", options=Options(encoder="efficientnet-lite0"))
    return folder / "real"


def main() -> None:
    """Run what is asked for, one store after the other; each is deleted when it is done, unless kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--components", type=int, nargs="+", default=[10])
    parser.add_argument("--data", nargs="+", choices=GENERATORS, default=["groups", "clusters", "powerlaw", "real"])
    parser.add_argument("--engines", nargs="*", choices=["raptor", *PEERS], default=["raptor", *PEERS])
    parser.add_argument("--peers-up-to", type=int, default=100_000, help="their graphs take hours above it")
    parser.add_argument("--filters-at", type=int, default=100_000)
    parser.add_argument("--archive", type=Path, help="an archive whose embeddings `real` multiplies; made anew without")
    parser.add_argument("--folder", type=Path, help="where the stores go: 35 GB for a million")
    parser.add_argument("--keep", action="store_true", help="leave the stores there, and use those that are there")
    parser.add_argument("--queries", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0, help="of which scans ask")
    parser.add_argument("--quick", action="store_true", help="10k and 100k, K = 10, groups, no peers, no filters")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.components, options.data = [10_000, 100_000], [10], ["groups"]
        options.engines, options.filters_at = ["raptor"], 0
    if options.keep and not options.folder:
        parser.error("--keep is for a folder that is named: give --folder as well")
    folder = options.folder if options.keep else Path(tempfile.mkdtemp(prefix="bench-search-", dir=options.folder))
    rows: list[Row] = []
    try:
        for row in run(options, folder):
            rows.append(row)
            show(rows[-1:])
            if options.json:
                options.json.write_text(json.dumps([asdict(r) for r in rows], indent=2))
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    show(rows)


def run(options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """Every row, as it is measured."""
    absent = [name for name in options.engines if name != "raptor" and not is_installed(name)]
    if absent:
        print(f"not installed, left out: {', '.join(absent)} (pip install 'raptor-search[bench]')")
    real = real_vectors(options.archive or made_archive(folder)) if "real" in options.data else None
    for name in options.data:
        for n in options.sizes:
            for components in options.components:
                if name == "real" and real is not None:
                    vectors, spec = multiplied(real[0], n), real[1]
                else:
                    spec = spec_of(components)
                    vectors = drawn(name, n, spec.length)
                bench = opened(folder, vectors, spec, min(options.queries, n), options.seed)
                truth = bench.truth()
                if "raptor" in options.engines:
                    yield ours(bench, None, "", truth)
                    if n == options.filters_at and components == 10:
                        yield from filter_rows(bench)
                if n <= options.peers_up_to:
                    for peer in (e for e in options.engines if e in PEERS and is_installed(e)):
                        yield peer_row(peer, bench, truth)
                bench.catalog.close()
                if not options.keep:
                    shutil.rmtree(bench.home)


if __name__ == "__main__":
    main()
