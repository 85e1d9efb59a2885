"""Scans that are added to a large archive and taken from it: found at once, and never again.

    python benchmarks/search_changes.py [--size N] [--folder DIR [--keep]] [--json FILE]

A store of drawn vectors as in `search.py` (groups, K = 10). 100 more are committed as the indexer does, one transaction
each; each is then asked for, before the index is brought up to date and after it. Then 100 others are removed, and both
they and their nearest are asked for, likewise before and after.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from search import Bench, opened
from search_data import drawn
from search_store import new_volume, reopened, spec_of

from raptor_search.search import search
from raptor_search.searching.publishing import publish
from raptor_search.searching.serving import IndexCache

MANY = 100


def answers(bench: Bench, indexes: IndexCache, vectors: np.ndarray) -> list[list[int]]:
    """The hits of each query, best first."""
    found = (search(bench.catalog, indexes, bench.stored, vector) for vector in vectors)
    return [[hit.volume_id for hit in result.hits] for result in found]


def added(bench: Bench, indexes: IndexCache) -> dict[str, float]:
    """How many of the added scans are the first hit of their own vector, and what it took."""
    rng = np.random.default_rng(23)
    near = bench.catalog.vectors(rng.choice(len(bench.drawn), MANY, replace=False) + 1, bench.stored.id)
    vectors = (near + rng.normal(0, 0.3, near.shape)).astype(np.float16)
    begun = time.perf_counter()
    with bench.catalog.writing():
        ids = [
            bench.catalog.commit_volume(new_volume(f"added {n}", bench.stored, vector))
            for n, vector in enumerate(vectors)
        ]
    committed = time.perf_counter() - begun
    at_once = sum(hits[0] == own for own, hits in zip(ids, answers(bench, indexes, vectors), strict=True))
    published = timed(lambda: publish(bench.catalog, bench.home, bench.stored))
    later = sum(hits[0] == own for own, hits in zip(ids, answers(bench, indexes, vectors), strict=True))
    return {
        "added": MANY,
        "commit_seconds": committed,
        "found_at_once": at_once,
        "publish_seconds": published,
        "found_after_publishing": later,
    }


def removed(bench: Bench, indexes: IndexCache) -> dict[str, float]:
    """How often a removed scan comes back as a hit of its own vector, or of a scan of its group."""
    gone = np.sort(np.random.default_rng(29).choice(len(bench.drawn), MANY, replace=False)) + 1
    groups = bench.drawn.groups
    mates = [int(np.flatnonzero(groups == groups[volume - 1])[:2].max()) + 1 for volume in gone.tolist()]
    asking = np.concatenate([bench.catalog.vectors(ids, bench.stored.id) for ids in (gone, np.array(mates))])
    before = sum(bool(np.isin(hits, gone).any()) for hits in answers(bench, indexes, asking))
    with bench.catalog.writing():
        bench.catalog.remove(gone, author="benchmark")
    at_once = sum(int(np.isin(hits, gone).sum()) for hits in answers(bench, indexes, asking))
    published = timed(lambda: publish(bench.catalog, bench.home, bench.stored))
    later = sum(int(np.isin(hits, gone).sum()) for hits in answers(bench, indexes, asking))
    return {
        "removed": MANY,
        "queries_that_met_one_before": before,
        "returned_at_once": at_once,
        "publish_seconds": published,
        "returned_after_publishing": later,
    }


def timed(action: Callable[[], object]) -> float:
    """Seconds that it takes."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def main() -> None:
    """Fill a store, or take the one that is kept; change a copy of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where the store goes: 7 GB for 100,000")
    parser.add_argument("--keep", action="store_true", help="leave the store there, and use the one that is there")
    parser.add_argument("--quick", action="store_true", help="10,000 scans")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.keep and not options.folder:
        parser.error("--keep is for a folder that is named: give --folder as well")
    size = 10_000 if options.quick else options.size
    folder = options.folder if options.keep else Path(tempfile.mkdtemp(prefix="bench-changes-", dir=options.folder))
    spec = spec_of(10)
    try:
        bench = opened(folder, drawn("groups", size, spec.length), spec, MANY)
        bench.catalog.close()
        copied = folder / "changed"
        shutil.rmtree(copied, ignore_errors=True)
        shutil.copytree(bench.home, copied)
        catalog, stored = reopened(copied)
        changed = replace(bench, home=copied, catalog=catalog, stored=stored)
        indexes = IndexCache(copied)
        facts = {"n": size, "add": added(changed, indexes), "remove": removed(changed, indexes)}
        changed.catalog.close()
        shutil.rmtree(copied)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(facts, indent=2))
    if options.json:
        options.json.write_text(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
