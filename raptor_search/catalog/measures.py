"""What a search asks first: whether anything has changed, and what was measured on the index that serves."""

from dataclasses import dataclass

import numpy as np
from sqlalchemy import bindparam, or_, select
from sqlalchemy.orm import Session

from raptor_search.catalog.database import REVISION, blocks
from raptor_search.catalog.published import IndexMeasures
from raptor_search.catalog.records import Ids
from raptor_search.catalog.tables import (
    EmbeddingRow,
    IndexMeasuresRow,
    IndexVersionRow,
    SettingRow,
    VolumeRow,
)
from raptor_search.catalog.vectors import VectorQueries

__all__ = ["MeasureQueries", "Moment"]

FLOAT32 = np.dtype("<f4")

# Made once, as what every search asks is: it takes longer to put a statement together than to answer it.
_MOMENT = select(
    select(SettingRow.value).where(SettingRow.name == REVISION).scalar_subquery(),
    select(IndexVersionRow.id)
    .where(IndexVersionRow.spec_id == bindparam("spec"), IndexVersionRow.is_current)
    .scalar_subquery(),
)
_EMBEDDED = select(EmbeddingRow.volume_id).where(EmbeddingRow.spec_id == bindparam("spec"))
_IS_EMBEDDED = _EMBEDDED.where(EmbeddingRow.volume_id == bindparam("volume"))
_ARE_EMBEDDED = _EMBEDDED.where(EmbeddingRow.volume_id.in_(bindparam("wanted", expanding=True)))

ONE_BY_ONE = 4
"""Volumes that are asked for singly."""


@dataclass(frozen=True)
class Moment:
    """The state of the catalog as far as searches go: equal moments give equal answers.

    Attributes:
        revision: grows with every commit that changes volumes, embeddings or labels.
        version_id: the index version that serves a spec, or None.
    """

    revision: int
    version_id: int | None


class MeasureQueries(VectorQueries):
    """Cheap questions, asked by every search."""

    def moment(self, spec_id: int) -> Moment:
        """The present moment of a spec: two rows, however large the archive is."""
        ((revision, version_id),) = self._database.ask(_MOMENT, {"spec": spec_id})
        return Moment(int(revision or 0), version_id)

    def measures(self, version_id: int) -> IndexMeasures | None:
        """What was measured on an index version; None where nothing was, or the version is gone."""
        with self._database.read() as session:
            row = session.get(IndexMeasuresRow, version_id)
            if row is None:
                return None
            background = np.frombuffer(row.background, dtype=FLOAT32).astype(np.float32)
            return IndexMeasures(document=row.document, background=background)

    def embedded(self, ids: Ids, spec_id: int) -> Ids:
        """Those of the ids that are embedded under a spec, sorted."""
        found: list[int] = []
        for block in blocks(ids):
            if len(block) <= ONE_BY_ONE:
                for volume_id in block:
                    found += [i for (i,) in self._database.ask(_IS_EMBEDDED, {"spec": spec_id, "volume": volume_id})]
                continue
            with self._database.reading() as connection:
                found.extend(connection.scalars(_ARE_EMBEDDED, {"spec": spec_id, "wanted": block}))
        return np.array(sorted(found), dtype=np.int64)

    def patient_volumes(self, spec_id: int, patient_key: str) -> Ids:
        """The volumes of one patient that are embedded under a spec, sorted.

        The key of a name without a data set stands for the patients of this name in all of them.
        """
        query = select(VolumeRow.id).join(EmbeddingRow, EmbeddingRow.volume_id == VolumeRow.id)
        is_theirs = or_(VolumeRow.patient_key == patient_key, VolumeRow.subject_key == patient_key)
        query = query.where(EmbeddingRow.spec_id == spec_id, is_theirs)
        with self._database.read() as session:
            return np.array(sorted(session.scalars(query)), dtype=np.int64)

    def patients_called(self, pseudonym: str) -> list[str]:
        """The keyed hashes of the patients that a pseudonym stands for, sorted; rarely more than one.

        Args:
            pseudonym: the first digits of a hash, as `VolumeRecord.subject` gives them.
        """
        query = select(VolumeRow.patient_key).where(VolumeRow.patient_key.startswith(pseudonym, autoescape=True))
        with self._database.read() as session:
            return sorted({key for key in session.scalars(query) if key is not None})


def add_measures(session: Session, version_id: int, measures: IndexMeasures) -> None:
    """Store what was measured on an index version, within the transaction that publishes it."""
    background = np.ascontiguousarray(measures.background, dtype=FLOAT32).tobytes()
    session.add(IndexMeasuresRow(version_id=version_id, document=measures.document, background=background))
