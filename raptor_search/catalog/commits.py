"""How volumes enter the archive: each in one transaction, with its vector, labels and preview, or not at all."""

import dataclasses
import hashlib
import math
import time
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from raptor_search.catalog.erasing import keys_of, refuse_erased, was_erased
from raptor_search.catalog.labels import give_labels, storable
from raptor_search.catalog.records import NewVolume, QuarantineRecord, StoredSpec
from raptor_search.catalog.removing import delete_volumes, end_quarantine
from raptor_search.catalog.tables import (
    AuditRow,
    EmbeddingRow,
    LabelRow,
    PrefixRow,
    PreviewRow,
    QuarantineRow,
    TokenMeansRow,
    VectorRow,
    VolumeRow,
)
from raptor_search.catalog.tokens import encode_tokens
from raptor_search.catalog.vectors import VectorQueries, encode, prefix
from raptor_search.errors import CatalogError, UsageError

__all__ = ["CommitQueries"]

_COPIED = [
    field.name
    for field in dataclasses.fields(NewVolume)
    if field.name in VolumeRow.__table__.c and field.name not in ("source_key", "locator")
]
"""What a row takes over as it is."""


class CommitQueries(VectorQueries):
    """What the indexer writes."""

    def commit_volume(self, new: NewVolume, *, moved_from: int | None = None) -> int:
        """Store an embedded scan: its row, vector, labels and preview, in one transaction. Returns its volume id.

        The same bytes at a source that is there keep their id. Changed bytes take a new one: the old
        row goes, with its vectors where nobody else shares them; what people decided on its labels
        moves along while it is still the same series of the same patient, else it goes into the audit log.
        A quarantine of the source ends.

        Args:
            new: the scan.
            moved_from: the volume that becomes this one, where the archive has none of this source: the same bytes,
                which lay elsewhere. It keeps its id, its labels, and what is known of it and not of the new place.

        Raises:
            ErasedError: the scan, or its patient, was erased.
            LockedError: another process is the writer.
            SpecError: the vector has not the length of the spec.
            ReadError: "not-finite" where the vector is.
            CatalogError: the vector is to be shared and is not there, or the database failed.
            UsageError: a label's name is no name.
        """
        stored = self._spec_of(new.spec_id)
        data = None if new.vector is None else encode(new.vector, stored.spec)
        tokens = None if new.tokens is None else encode_tokens(new.tokens)
        locator = self.key.encrypt(new.locator)
        with self._committing() as session:
            refuse_erased(session, self.key, *keys_of(new))
            old = session.scalar(select(VolumeRow).where(VolumeRow.source_key == new.source_key))
            if old is None and moved_from is not None:
                old = _moved(session, moved_from, new)
            same = old is not None and old.content_key == new.content_key
            row = old if old is not None and same else VolumeRow(source_key=new.source_key, added_at=time.time())
            if old is not None and not same:
                # One row a source: the old one gives its place up before the new one takes it.
                old.source_key = f"replaced {old.source_key}"
                session.flush()
            _fill(row, new, locator)
            session.add(row)
            session.flush()
            _embed(session, row, stored, data, new.intensity_rule, tokens)
            if old is not None and not same:
                _replace(session, old, row)
            give_labels(session, row.id, new.labels, new.cleared)
            if new.preview is not None:
                session.merge(PreviewRow(volume_id=row.id, png=new.preview))
            session.execute(delete(QuarantineRow).where(QuarantineRow.source_key == new.source_key))
            return row.id

    def add_embedding(
        self,
        volume_id: int,
        spec_id: int,
        vector: Float[np.ndarray, "..."] | None,
        intensity_rule: str | None,
    ) -> int:
        """Embed a volume that is there under another spec; None shares the vector of equal bytes. Returns its id.

        Raises:
            SpecError, ReadError, CatalogError: as `commit_volume`.
            UsageError: the volume is not there.
        """
        stored = self._spec_of(spec_id)
        data = None if vector is None else encode(vector, stored.spec)
        with self._committing() as session:
            row = session.get(VolumeRow, volume_id)
            if row is None:
                raise UsageError(f"no volume {volume_id} in the archive: it was replaced; run `raptor index` again")
            return _embed(session, row, stored, data, intensity_rule)

    def touch(self, volume_id: int, size: int, mtime_ns: int) -> None:
        """Note the new size and time of a source whose bytes are still the same."""
        with self._committing() as session:
            session.execute(update(VolumeRow).where(VolumeRow.id == volume_id).values(size=size, mtime_ns=mtime_ns))

    def quarantine(self, source_key: str, *, locator: str, size: int, mtime_ns: int, code: str, reason: str) -> None:
        """Note that a source could not be read, and count the attempt; a volume it once gave stays.

        A source that was erased leaves no row.

        Args:
            source_key: keyed hash of the source.
            locator: where it is, in clear; stored encrypted.
            size: bytes.
            mtime_ns: time of last change, in nanoseconds.
            code: one of `errors.READ_CODES`.
            reason: one sentence without paths or tag values.
        """
        now = time.time()
        with self._committing() as session:
            if was_erased(session, self.key, source_key):
                return
            row = session.scalar(select(QuarantineRow).where(QuarantineRow.source_key == source_key))
            if row is None:
                row = QuarantineRow(source_key=source_key, attempts=0, first_at=now)
                session.add(row)
            row.locator = self.key.encrypt(locator)
            row.size, row.mtime_ns, row.code, row.reason = size, mtime_ns, code, storable(reason)
            row.attempts += 1
            row.last_at = now

    def quarantined(self) -> list[QuarantineRecord]:
        """Every source that could not be read, the latest first, with its locator in clear."""
        with self._database.read() as session:
            rows = session.scalars(select(QuarantineRow).order_by(QuarantineRow.last_at.desc(), QuarantineRow.id))
            return [
                QuarantineRecord(
                    source_key=row.source_key,
                    locator=self.key.decrypt(row.locator),
                    size=row.size,
                    mtime_ns=row.mtime_ns,
                    code=row.code,
                    reason=row.reason,
                    attempts=row.attempts,
                    first_at=row.first_at,
                    last_at=row.last_at,
                )
                for row in rows
            ]

    def release(self, source_keys: Sequence[str]) -> None:
        """End the quarantine of sources, such as files that are no longer there."""
        with self._committing() as session:
            end_quarantine(session, source_keys)


def _moved(session: Session, volume_id: int, new: NewVolume) -> VolumeRow | None:
    """The volume that a scan was, at its new place; None where it went, or has other bytes now."""
    row = session.get(VolumeRow, volume_id)
    if row is None or row.content_key != new.content_key:
        return None
    row.source_key = new.source_key
    return row


def _fill(row: VolumeRow, new: NewVolume, locator: bytes) -> None:
    for name in _COPIED:
        value = getattr(new, name)
        if isinstance(value, str):
            value = storable(value)
        elif isinstance(value, float) and not math.isfinite(value):
            value = None
        # The same bytes read again without the table that told more: what is known stays.
        if value is not None or getattr(row, name, None) is None:
            setattr(row, name, value)
    row.locator = locator
    row.size_r, row.size_a, row.size_s = new.shape
    row.spacing_r, row.spacing_a, row.spacing_s = new.spacing


def _embed(
    session: Session,
    row: VolumeRow,
    stored: StoredSpec,
    data: bytes | None,
    rule: str | None,
    tokens: bytes | None = None,
) -> int:
    """Give a volume its vector under a spec, the one of equal bytes where there is one; returns the embedding's id."""
    spec_id = stored.id
    vector_id = session.scalar(
        select(VectorRow.id).where(VectorRow.content_key == row.content_key, VectorRow.spec_id == spec_id)
    )
    if vector_id is None:
        if data is None:
            raise CatalogError("the vector to be shared is not there any more: run `raptor index` again")
        vector = VectorRow(
            spec_id=spec_id, content_key=row.content_key, sha256=hashlib.sha256(data).hexdigest(), data=data
        )
        session.add(vector)
        session.flush()
        vector_id = vector.id
        session.add(PrefixRow(vector_id=vector_id, data=prefix(data, stored.spec)))
        if tokens is not None:
            session.add(TokenMeansRow(vector_id=vector_id, data=tokens))
    there = session.scalar(
        select(EmbeddingRow.id).where(EmbeddingRow.volume_id == row.id, EmbeddingRow.spec_id == spec_id)
    )
    if there is not None:
        return there
    if rule is None:
        rule = session.scalar(select(EmbeddingRow.intensity_rule).where(EmbeddingRow.vector_id == vector_id).limit(1))
        if rule is None:
            raise CatalogError("no embedding says by which intensity rule the shared vector was made: give the rule")
    embedding = EmbeddingRow(volume_id=row.id, spec_id=spec_id, vector_id=vector_id, intensity_rule=rule)
    session.add(embedding)
    session.flush()
    return embedding.id


def _replace(session: Session, old: VolumeRow, row: VolumeRow) -> None:
    """Delete a volume whose source has other bytes now, keeping what people decided on its labels."""
    same_series = (old.patient_key, old.study_key, old.series_key) == (row.patient_key, row.study_key, row.series_key)
    decisions = session.scalars(select(LabelRow).where(LabelRow.volume_id == old.id, LabelRow.origin != "given"))
    for decision in decisions.all():
        if same_series:
            decision.volume_id = row.id
        else:
            detail = f"volume {old.id} became {row.id}, another series: {decision.origin} {decision.name} was dropped"
            session.add(AuditRow(at=time.time(), author="raptor", action="label dropped", detail=detail))
    session.flush()
    delete_volumes(session, [old.id])
