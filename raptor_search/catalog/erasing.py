"""Erasure: rows that go for good, tombstones that keep them from coming back, and a database without their bytes.

The transaction of `erase` is the promise: what it deletes is found no more, and a setting says that indexes,
means and free space still hold traces. Whoever writes next purges them (`raptor_search.erasure`) before anything else.
"""

import json
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from raptor_search.catalog.database import blocks, translated
from raptor_search.catalog.leases import WriterQueries
from raptor_search.catalog.records import Ids, NewVolume
from raptor_search.catalog.removing import delete_volumes, end_quarantine
from raptor_search.catalog.tables import (
    AuditRow,
    Base,
    CohortMapRow,
    EmbeddingRow,
    GenerationRow,
    IndexVersionRow,
    ProposalRow,
    SettingRow,
    TombstoneRow,
    VolumeRow,
)
from raptor_search.errors import ErasedError
from raptor_search.keys import ArchiveKey

__all__ = ["ErasedRows", "ErasureQueries", "keys_of", "refuse_erased", "was_erased"]

PENDING = "erasure pending"
"""The setting that names, as JSON, the specs whose indexes and means were made with what is erased."""

TABLES_HEARD = "tables "
"""Start of the settings that say which tables were joined: their names hold hashes of paths."""

UNOPENED = "unopened"
"""The setting that holds, encrypted, the paths that the latest run could not open: they may name a patient."""


@dataclass(frozen=True)
class ErasedRows:
    """What an erasure deleted.

    Attributes:
        volumes: all of them.
        duplicates: of those, the ones that were not asked for and have the same bytes as one that was.
    """

    volumes: int
    duplicates: int


class ErasureQueries(WriterQueries):
    """What leaves no trace."""

    def erase(
        self,
        ids: Sequence[int] | Ids,
        *,
        author: str,
        patient_keys: Collection[str] = (),
        source_keys: Collection[str] = (),
    ) -> ErasedRows:
        """Delete volumes, and every other volume of the same bytes, and let none of them come back.

        Args:
            ids: the volumes.
            author: who asks, for the audit log.
            patient_keys: patients of whom nothing may be indexed any more.
            source_keys: sources to be forgotten besides those of the volumes, such as quarantined ones.
        """
        with self._committing() as session:
            asked = {int(i) for i in ids}
            whole = sorted(_with_duplicates(session, sorted(asked)))
            buried = set(patient_keys) | set(source_keys)
            # All that have a mean: one may still hold a scan of the patient that was removed or replaced earlier.
            specs = {*json.loads(session.scalar(_pending()) or "[]"), *session.scalars(select(GenerationRow.spec_id))}
            own_sources: list[str] = []
            for block in blocks(whole):
                for row in session.execute(
                    select(VolumeRow.source_key, VolumeRow.content_key).where(VolumeRow.id.in_(block))
                ):
                    own_sources.append(row.source_key)
                    buried |= {row.source_key, row.content_key}
                specs |= set(
                    session.scalars(select(EmbeddingRow.spec_id).where(EmbeddingRow.volume_id.in_(block)).distinct())
                )
            delete_volumes(session, whole)
            end_quarantine(session, [*own_sources, *source_keys])
            for key in sorted(buried):
                session.merge(TombstoneRow(key=self.key.tombstone(key), erased_at=time.time()))
            session.execute(
                delete(SettingRow).where(SettingRow.name.startswith(TABLES_HEARD) | (SettingRow.name == UNOPENED))
            )
            session.execute(delete(CohortMapRow).where(CohortMapRow.spec_id.in_(specs)))
            session.execute(delete(ProposalRow))  # they name the neighbours that voted, and can be made again
            session.merge(SettingRow(name=PENDING, value=json.dumps(sorted(specs))))
            session.add(AuditRow(at=time.time(), author=author, action="erase", detail=f"{len(whole)} volumes"))
            return ErasedRows(volumes=len(whole), duplicates=len(set(whole) - asked))

    def pending_erasure(self) -> list[int] | None:
        """The specs whose index and mean still hold what was erased; None where no erasure is unfinished."""
        with self._database.read() as session:
            value = session.scalar(_pending())
        return None if value is None else list(json.loads(value))

    def forget_older_versions(self, spec_id: int) -> list[str]:
        """Delete the rows of every index version and mean of a spec but the current ones, of all where none is.

        Returns:
            The file of the current version, or nothing.
        """
        with self._committing() as session:
            versions = session.scalars(select(IndexVersionRow).where(IndexVersionRow.spec_id == spec_id)).all()
            current = [row for row in versions if row.is_current]
            files, generations = [row.file for row in current], [row.generation_id for row in current]
            session.execute(
                delete(IndexVersionRow).where(IndexVersionRow.spec_id == spec_id, ~IndexVersionRow.is_current)
            )
            if not self._embedded(session, spec_id):
                session.execute(delete(IndexVersionRow).where(IndexVersionRow.spec_id == spec_id))
                files, generations = [], []
            session.execute(
                delete(GenerationRow).where(GenerationRow.spec_id == spec_id, GenerationRow.id.not_in(generations))
            )
            return files

    def end_erasure(self) -> None:
        """Write the tables anew, so that no free page holds a deleted row, and note that nothing is left to purge.

        Raises:
            CatalogError: the database is busy, or its disk has no room for a second copy; the erasure stays pending.
        """
        with self._committing():
            pass  # only the writer may go on
        with translated(self._database.name):
            self._database.compact([table.name for table in Base.metadata.sorted_tables])
        with self._committing() as session:
            session.execute(delete(SettingRow).where(SettingRow.name == PENDING))

    def erased(self, keys: Iterable[str]) -> set[str]:
        """Which of these keyed hashes were erased."""
        with self._database.read() as session:
            return _erased(session, self.key, list(keys))

    def refuse_erased(self, *keys: str | None) -> None:
        """Refuse a scan by the keyed hashes of its source, content and patient.

        Raises:
            ErasedError: one of them was erased.
        """
        with self._database.read() as session:
            refuse_erased(session, self.key, *keys)

    @staticmethod
    def _embedded(session: Session, spec_id: int) -> bool:
        return session.scalar(select(EmbeddingRow.id).where(EmbeddingRow.spec_id == spec_id).limit(1)) is not None


def refuse_erased(session: Session, key: ArchiveKey, *keys: str | None) -> None:
    """`ErasureQueries.refuse_erased` within a transaction."""
    if was_erased(session, key, *keys):
        raise ErasedError("this scan, or its patient, was erased from the archive: it is not indexed again")


def was_erased(session: Session, key: ArchiveKey, *keys: str | None) -> bool:
    """Whether one of these keyed hashes was erased."""
    return bool(_erased(session, key, [digest for digest in keys if digest is not None]))


def keys_of(new: NewVolume) -> tuple[str | None, ...]:
    """The keyed hashes by which an erased scan is known again."""
    return new.source_key, new.content_key, new.patient_key, new.subject_key


def _pending() -> Select[str]:
    return select(SettingRow.value).where(SettingRow.name == PENDING)


def _with_duplicates(session: Session, ids: Sequence[int]) -> set[int]:
    """The volumes, and all that have the same bytes as one of them."""
    found: set[int] = set()
    for block in blocks(ids):
        contents = select(VolumeRow.content_key).where(VolumeRow.id.in_(block))
        found |= set(session.scalars(select(VolumeRow.id).where(VolumeRow.content_key.in_(contents))))
    return found


def _erased(session: Session, key: ArchiveKey, digests: list[str]) -> set[str]:
    by_tombstone = {key.tombstone(digest): digest for digest in digests}
    found: set[str] = set()
    names = list(by_tombstone)
    for start in range(0, len(names), 500):
        few = names[start : start + 500]
        found |= set(session.scalars(select(TombstoneRow.key).where(TombstoneRow.key.in_(few))))
    return {by_tombstone[name] for name in found}
