"""How volumes leave the archive: their rows go in one transaction, and with them the vectors that nobody shares."""

import time
from collections.abc import Iterator, Sequence

import numpy as np
from sqlalchemy import delete, exists, or_, select
from sqlalchemy.orm import Session

from raptor_search.catalog.database import blocks
from raptor_search.catalog.leases import WriterQueries
from raptor_search.catalog.records import Ids
from raptor_search.catalog.tables import AuditRow, EmbeddingRow, QuarantineRow, VectorRow, VolumeRow

__all__ = ["RemovalQueries", "delete_volumes", "end_quarantine"]

LOCATOR_BLOCK = 5_000
"""Locators decrypted at a time."""


class RemovalQueries(WriterQueries):
    """Which volumes are meant, and their removal."""

    def remove(self, ids: Sequence[int] | Ids, source_keys: Sequence[str] = (), *, author: str) -> int:
        """Delete volumes, and the quarantine of sources, in one transaction with its row in the audit log.

        They are found no longer; indexing their sources brings them back, under new ids.

        Returns:
            How many volumes were there.
        """
        with self._committing() as session:
            gone = delete_volumes(session, ids)
            end_quarantine(session, source_keys)
            session.add(AuditRow(at=time.time(), author=author, action="remove", detail=f"{gone} volumes"))
        return gone

    def located(self) -> Iterator[tuple[int, str]]:
        """Every volume's id and where it came from, decrypted, by id."""
        after = 0
        while True:
            query = select(VolumeRow.id, VolumeRow.locator).where(VolumeRow.id > after)
            with self._database.read() as session:
                rows = session.execute(query.order_by(VolumeRow.id).limit(LOCATOR_BLOCK)).all()
            if not rows:
                return
            after = rows[-1].id
            yield from ((row.id, self.key.decrypt(row.locator)) for row in rows)

    def volumes_of(self, patient_key: str) -> Ids:
        """The volumes with this keyed hash of a patient, sorted."""
        query = select(VolumeRow.id).where(VolumeRow.patient_key == patient_key).order_by(VolumeRow.id)
        with self._database.read() as session:
            return np.array(list(session.scalars(query)), dtype=np.int64)

    def located_at(self, content_key: str) -> list[tuple[int, str]]:
        """The volumes of these bytes, by id, and where each came from, decrypted."""
        query = select(VolumeRow.id, VolumeRow.locator).where(VolumeRow.content_key == content_key)
        with self._database.read() as session:
            rows = session.execute(query.order_by(VolumeRow.id)).all()
        return [(row.id, self.key.decrypt(row.locator)) for row in rows]

    def patient_ids(self, patient: str) -> tuple[Ids, frozenset[str]]:
        """The volumes of a patient, sorted, and the keyed hashes by which the archive knows that patient.

        More than one hash means that several data sets have a participant of this name.

        Args:
            patient: the id as the files have it.
        """
        digest = self.key.digest("patient", patient.strip())
        query = select(VolumeRow.id, VolumeRow.patient_key).where(
            or_(VolumeRow.patient_key == digest, VolumeRow.subject_key == digest)
        )
        with self._database.read() as session:
            rows = session.execute(query.order_by(VolumeRow.id)).all()
        return np.array([row.id for row in rows], dtype=np.int64), frozenset(row.patient_key or digest for row in rows)


def delete_volumes(session: Session, ids: Sequence[int] | Ids) -> int:
    """Delete volumes with all that hangs on them, within a transaction; a vector goes once nobody shares it.

    Returns:
        How many were there.
    """
    gone = 0
    for block in blocks(ids):
        of_block = EmbeddingRow.volume_id.in_(block)
        vector_ids = list(session.scalars(select(EmbeddingRow.vector_id).where(of_block).distinct()))
        gone += len(session.scalars(delete(VolumeRow).where(VolumeRow.id.in_(block)).returning(VolumeRow.id)).all())
        shared = exists().where(EmbeddingRow.vector_id == VectorRow.id)
        for few in blocks(vector_ids):
            unused = delete(VectorRow).where(VectorRow.id.in_(few), ~shared)
            session.execute(unused.execution_options(synchronize_session=False))
    return gone


def end_quarantine(session: Session, source_keys: Sequence[str]) -> None:
    """Delete the quarantine rows of sources, within a transaction."""
    for source_key in source_keys:
        session.execute(delete(QuarantineRow).where(QuarantineRow.source_key == source_key))
