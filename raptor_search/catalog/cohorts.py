"""The nearest-neighbour graph of an index version, and what is found on a map."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int
from sqlalchemy import delete

from raptor_search.catalog.database import Queries
from raptor_search.catalog.records import Ids
from raptor_search.catalog.tables import CohortMapRow, IndexVersionRow, KnnGraphRow, MapDetailRow
from raptor_search.errors import CatalogError

__all__ = ["CohortQueries", "MapDetail", "StoredGraph"]

FLOAT32, INT32, INT64 = np.dtype("<f4"), np.dtype("<i4"), np.dtype("<i8")


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredGraph:
    """The nearest scans of each scan.

    Attributes:
        version_id: of the index version.
        volume_ids: one a row; volumes may have been replaced since.
        indices: rows of the nearest, best first; -1 where there are fewer.
        scores: centred cosines, -inf where there are fewer.
        is_exact: whether every pair was scored.
        created_at: UTC seconds.
    """

    version_id: int
    volume_ids: Ids
    indices: Int[np.ndarray, "n k"]
    scores: Float32[np.ndarray, "n k"]
    is_exact: bool
    created_at: float


@dataclass(frozen=True, kw_only=True, eq=False)
class MapDetail:
    """What was found on a map; `clusters[i]` is that of the map's volume i, -1 for none. The rest is JSON."""

    map_id: int
    version_id: int
    clusters: Int[np.ndarray, " n"]
    document: Mapping[str, Any]


class CohortQueries(Queries):
    """What is computed from an archive's scans as a whole."""

    def save_graph(
        self,
        version_id: int,
        volume_ids: Ids,
        indices: Int[np.ndarray, "n k"],
        scores: Float32[np.ndarray, "n k"],
        *,
        is_exact: bool,
    ) -> None:
        """Store the graph of an index version, in place of an earlier one.

        Raises:
            CatalogError: the version is gone.
        """
        with self._database.write() as session:
            if session.get(IndexVersionRow, version_id) is None:
                raise CatalogError(f"no index version {version_id} in the catalog any more: run the command again")
            session.execute(delete(KnnGraphRow).where(KnnGraphRow.version_id == version_id))
            session.add(
                KnnGraphRow(
                    version_id=version_id,
                    neighbours=indices.shape[1],
                    is_exact=is_exact,
                    volume_ids=np.asarray(volume_ids, dtype=INT64).tobytes(),
                    indices=np.ascontiguousarray(indices, dtype=INT32).tobytes(),
                    scores=np.ascontiguousarray(scores, dtype=FLOAT32).tobytes(),
                    created_at=time.time(),
                )
            )

    def graph(self, version_id: int) -> StoredGraph | None:
        """The graph of an index version, or None.

        Raises:
            CatalogError: its parts do not fit together: the catalog is damaged.
        """
        with self._database.read() as session:
            row = session.get(KnnGraphRow, version_id)
            if row is None:
                return None
            ids = np.frombuffer(row.volume_ids, dtype=INT64).astype(np.int64)
            indices = np.frombuffer(row.indices, dtype=INT32).astype(np.int64)
            scores = np.frombuffer(row.scores, dtype=FLOAT32).astype(np.float32)
            if not indices.size == scores.size == ids.size * row.neighbours:
                raise CatalogError("a stored graph is damaged: restore the catalog from a copy, or rebuild the index")
            shape = ids.size, row.neighbours
            return StoredGraph(
                version_id=version_id,
                volume_ids=ids,
                indices=indices.reshape(shape),
                scores=scores.reshape(shape),
                is_exact=row.is_exact,
                created_at=row.created_at,
            )

    def save_map_detail(
        self, map_id: int, version_id: int, clusters: Int[np.ndarray, " n"], document: Mapping[str, Any]
    ) -> None:
        """Store what was found on a map.

        Raises:
            CatalogError: the map is gone.
        """
        with self._database.write() as session:
            if session.get(CohortMapRow, map_id) is None:
                raise CatalogError(f"no map {map_id} in the catalog any more: draw it again with `raptor map`")
            session.merge(
                MapDetailRow(
                    map_id=map_id,
                    version_id=version_id,
                    clusters=np.ascontiguousarray(clusters, dtype=INT32).tobytes(),
                    document=json.dumps(dict(document), sort_keys=True),
                )
            )

    def map_detail(self, map_id: int) -> MapDetail | None:
        """What was found on a map; None for a map drawn by an earlier version of this program."""
        with self._database.read() as session:
            row = session.get(MapDetailRow, map_id)
            if row is None:
                return None
            return MapDetail(
                map_id=map_id,
                version_id=row.version_id,
                clusters=np.frombuffer(row.clusters, dtype=INT32).astype(np.int64),
                document=json.loads(row.document),
            )
