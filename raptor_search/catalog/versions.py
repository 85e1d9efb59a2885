"""Generations, index versions and cohort maps: what is computed from the vectors and published."""

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from sqlalchemy import delete, select, update

from raptor_search.catalog.leases import WriterQueries
from raptor_search.catalog.measures import add_measures
from raptor_search.catalog.published import (
    Centring,
    Generation,
    IndexMeasures,
    IndexVersion,
    NewIndexVersion,
    StoredMap,
)
from raptor_search.catalog.records import Ids
from raptor_search.catalog.tables import CohortMapRow, GenerationRow, IndexVersionRow
from raptor_search.errors import CatalogError

__all__ = ["VersionQueries"]

FLOAT32, INT64 = np.dtype("<f4"), np.dtype("<i8")

KEPT_MAPS = 5
"""Versions of a spec's map that are kept, the one that is shown included."""

_VERSION = [field.name for field in dataclasses.fields(NewIndexVersion)]
"""What row and record have in common."""


class VersionQueries(WriterQueries):
    """The caches of an archive and the means they were made with."""

    def add_generation(
        self, spec_id: int, *, centring: Centring, mean: Float[np.ndarray, " length"], volumes: int
    ) -> Generation:
        """Store a mean (float32; empty where `centring` is "none") and the number of volumes it is of."""
        with self._committing() as session:
            row = GenerationRow(
                spec_id=spec_id,
                centring=centring,
                mean=np.ascontiguousarray(mean, dtype=FLOAT32).tobytes(),
                volumes=volumes,
                created_at=time.time(),
            )
            session.add(row)
            session.flush()
            return _generation(row)

    def generation(self, generation_id: int) -> Generation:
        """One generation.

        Raises:
            CatalogError: it is not there.
        """
        with self._database.read() as session:
            row = session.get(GenerationRow, generation_id)
            if row is None:
                raise CatalogError(f"no generation {generation_id} in the catalog: run `raptor index` again")
            return _generation(row)

    def latest_generation(self, spec_id: int) -> Generation | None:
        """The latest generation of a spec, or None."""
        query = select(GenerationRow).where(GenerationRow.spec_id == spec_id).order_by(GenerationRow.id.desc())
        with self._database.read() as session:
            row = session.scalar(query.limit(1))
            return None if row is None else _generation(row)

    def publish_index(self, version: NewIndexVersion, measures: IndexMeasures | None = None) -> IndexVersion:
        """Make an index version the current one of its spec, in one transaction. Its file must be there already."""
        with self._committing() as session:
            session.execute(
                update(IndexVersionRow).where(IndexVersionRow.spec_id == version.spec_id).values(is_current=False)
            )
            row = IndexVersionRow(
                **{name: getattr(version, name) for name in _VERSION}, is_current=True, created_at=time.time()
            )
            session.add(row)
            session.flush()
            if measures is not None:
                add_measures(session, row.id, measures)
            return _version(row)

    def current_index(self, spec_id: int) -> IndexVersion | None:
        """The current index version of a spec, or None where none was published."""
        return next((version for version in self.index_versions(spec_id) if version.is_current), None)

    def index_versions(self, spec_id: int) -> list[IndexVersion]:
        """Every index version of a spec, the latest first; files of the older ones may be gone."""
        query = select(IndexVersionRow).where(IndexVersionRow.spec_id == spec_id).order_by(IndexVersionRow.id.desc())
        with self._database.read() as session:
            return [_version(row) for row in session.scalars(query)]

    def serving(self, spec_id: int) -> tuple[IndexVersion, Generation] | None:
        """The current index version of a spec and its mean, of one moment; None where none was published."""
        query = (
            select(IndexVersionRow, GenerationRow)
            .join(GenerationRow, GenerationRow.id == IndexVersionRow.generation_id)
            .where(IndexVersionRow.spec_id == spec_id, IndexVersionRow.is_current)
        )
        with self._database.read() as session:
            row = session.execute(query).first()
            return None if row is None else (_version(row[0]), _generation(row[1]))

    def latest_files(self, spec_id: int, count: int) -> list[str]:
        """The files of a spec's latest index versions, for the writer who is to delete the others.

        Raises:
            LockedError: another process is the writer.
        """
        query = select(IndexVersionRow.file).where(IndexVersionRow.spec_id == spec_id)
        with self._committing() as session:
            return list(session.scalars(query.order_by(IndexVersionRow.id.desc()).limit(count)))

    def save_map(
        self,
        spec_id: int,
        volume_ids: Sequence[int] | Ids,
        coordinates: Float[np.ndarray, "n 2"],
        parameters: Mapping[str, str | int | float],
    ) -> StoredMap:
        """Store a cohort map of a spec (float32) as its latest version; of the earlier ones the last few stay."""
        with self._database.write() as session:
            older = select(CohortMapRow.id).where(CohortMapRow.spec_id == spec_id).order_by(CohortMapRow.id.desc())
            for map_id in session.scalars(older.offset(KEPT_MAPS - 1)).all():
                session.execute(delete(CohortMapRow).where(CohortMapRow.id == map_id))
            row = CohortMapRow(
                spec_id=spec_id,
                parameters=json.dumps(dict(parameters), sort_keys=True),
                volume_ids=np.asarray(volume_ids, dtype=INT64).tobytes(),
                coordinates=np.ascontiguousarray(coordinates, dtype=FLOAT32).tobytes(),
                created_at=time.time(),
            )
            session.add(row)
            session.flush()
            return _map(row)

    def latest_map(self, spec_id: int) -> StoredMap | None:
        """The latest cohort map of a spec, or None. Its volumes may have been replaced since."""
        with self._database.read() as session:
            row = session.scalar(
                select(CohortMapRow).where(CohortMapRow.spec_id == spec_id).order_by(CohortMapRow.id.desc()).limit(1)
            )
            return None if row is None else _map(row)


def _generation(row: GenerationRow) -> Generation:
    return Generation(
        id=row.id,
        spec_id=row.spec_id,
        centring=row.centring,  # type: ignore[arg-type]
        mean=np.frombuffer(row.mean, dtype=FLOAT32).astype(np.float32),
        volumes=row.volumes,
        created_at=row.created_at,
    )


def _version(row: IndexVersionRow) -> IndexVersion:
    return IndexVersion(
        id=row.id,
        is_current=row.is_current,
        created_at=row.created_at,
        **{name: getattr(row, name) for name in _VERSION},
    )


def _map(row: CohortMapRow) -> StoredMap:
    return StoredMap(
        id=row.id,
        spec_id=row.spec_id,
        parameters=json.loads(row.parameters),
        volume_ids=np.frombuffer(row.volume_ids, dtype=INT64).astype(np.int64),
        coordinates=np.frombuffer(row.coordinates, dtype=FLOAT32).astype(np.float32).reshape(-1, 2),
        created_at=row.created_at,
    )
