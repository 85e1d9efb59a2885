"""Volumes as they are read: what is known of a source, which pass a filter, what a column holds."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, bindparam, func, select

from raptor_search.catalog.database import MAX_ID, blocks
from raptor_search.catalog.filtering import REJECTED, compile_filter, resolve_column
from raptor_search.catalog.labels import LabelQueries, gone_message
from raptor_search.catalog.records import TYPED_COLUMNS, ColumnType, Ids, KnownSource, Value, VolumeRecord
from raptor_search.catalog.tables import EmbeddingRow, LabelRow, PreviewRow, VolumeRow
from raptor_search.errors import UsageError
from raptor_search.filters import Filter

__all__ = ["VolumeQueries"]


class VolumeQueries(LabelQueries):
    """The volumes of an archive."""

    def known(self, source_key: str) -> KnownSource | None:
        """What the archive knows of a source, or None where it has no volume of it."""
        with self._database.read() as session:
            row = session.scalar(select(VolumeRow).where(VolumeRow.source_key == source_key))
            if row is None:
                return None
            spec_ids = session.scalars(select(EmbeddingRow.spec_id).where(EmbeddingRow.volume_id == row.id))
            return KnownSource(
                id=row.id,
                size=row.size,
                mtime_ns=row.mtime_ns,
                content_key=row.content_key,
                spec_ids=frozenset(spec_ids),
                reader=row.reader,
            )

    def count(self, spec_id: int | None = None) -> int:
        """How many volumes there are, or are embedded under a spec."""
        query = select(func.count()).select_from(VolumeRow)
        if spec_id is not None:
            query = select(func.count()).select_from(EmbeddingRow).where(EmbeddingRow.spec_id == spec_id)
        with self._database.read() as session:
            return session.scalar(query) or 0

    def volume(self, volume_id: int) -> VolumeRecord:
        """One volume.

        Raises:
            UsageError: it is not there.
        """
        records = self.volumes([volume_id])
        if not records:
            raise UsageError(gone_message(volume_id))
        return records[0]

    def volumes(self, ids: Sequence[int] | Ids) -> list[VolumeRecord]:
        """The volumes in the order given; those that are not there (any more) are left out."""
        return [record for record, _ in self._found(ids)]

    def located_volumes(self, ids: Sequence[int] | Ids) -> list[tuple[VolumeRecord, str]]:
        """The same, each with where it came from, decrypted: of one moment."""
        return [(record, self.key.decrypt(token)) for record, token in self._found(ids)]

    def _found(self, ids: Sequence[int] | Ids) -> list[tuple[VolumeRecord, bytes]]:
        by_id: dict[int, tuple[VolumeRecord, bytes]] = {}
        for block in blocks(ids):
            with self._database.reading() as connection:
                labels = _labels(connection, block)
                for row in connection.execute(_VOLUMES, {"wanted": block}):
                    by_id[row[0]] = _record(tuple(row), labels.get(row[0], {})), row[-1]
        return [by_id[i] for i in map(int, ids) if i in by_id]

    def columns(self) -> dict[str, ColumnType]:
        """The columns that filters may name: the typed ones, then the labels. A typed one hides a label of its name."""
        return TYPED_COLUMNS | {name: "label" for name in self.label_names() if name not in TYPED_COLUMNS}

    def ids(self, spec_id: int, where: Filter | None = None) -> Ids:
        """The volumes embedded under a spec that pass a filter, sorted.

        Args:
            spec_id: the spec.
            where: the filter; None passes all.

        Raises:
            QueryError: the filter names a column that is not there, or compares it with another type.
        """
        query = select(VolumeRow.id).join(EmbeddingRow, EmbeddingRow.volume_id == VolumeRow.id)
        query = query.where(EmbeddingRow.spec_id == spec_id).order_by(VolumeRow.id)
        if where is not None:
            query = query.where(compile_filter(where, self.columns(), collation=self._database.collation))
        with self._database.read() as session:
            return np.array(list(session.scalars(query)), dtype=np.int64)

    def column_values(self, name: str, ids: Sequence[int] | Ids) -> list[Value | None]:
        """What a typed column or a label holds, in the order of `ids`; None where it holds nothing.

        Raises:
            QueryError: there is no such column.
        """
        columns = self.columns()
        column = resolve_column(name, columns)
        if columns[column] != "label":
            return self._column(column, ids)
        values: dict[int, str] = {}
        for block in blocks(ids):
            query = select(LabelRow.volume_id, LabelRow.value).where(
                LabelRow.name == column, LabelRow.origin != REJECTED, LabelRow.volume_id.in_(block)
            )
            with self._database.read() as session:
                values |= dict(session.execute(query).all())
        return [values.get(int(i)) for i in ids]

    def value_counts(self, name: str, spec_id: int, *, limit: int | None = None) -> dict[Value, int]:
        """How many volumes embedded under a spec have each value of a typed column or label, the commonest first.

        The database counts: what grows with the archive stays there. Volumes without a value are not counted.

        Args:
            name: of the column or label.
            spec_id: the spec.
            limit: values at most; None means all.

        Raises:
            QueryError: there is no such column.
        """
        columns = self.columns()
        column = resolve_column(name, columns)
        number = func.count()
        if columns[column] == "label":
            value: Any = LabelRow.value
            query = select(value, number).join(EmbeddingRow, EmbeddingRow.volume_id == LabelRow.volume_id)
            query = query.where(LabelRow.name == column, LabelRow.origin != REJECTED)
        else:
            value = getattr(VolumeRow, column)
            query = select(value, number).join(EmbeddingRow, EmbeddingRow.volume_id == VolumeRow.id)
            query = query.where(value.is_not(None))
        query = (
            query.where(EmbeddingRow.spec_id == spec_id)
            .group_by(value)
            .order_by(number.desc(), func.min(EmbeddingRow.volume_id))
            .limit(limit)
        )
        with self._database.read() as session:
            return dict(session.execute(query).all())

    def count_patients(self, spec_id: int) -> int:
        """How many patients the volumes embedded under a spec name."""
        query = select(func.count(VolumeRow.patient_key.distinct()))
        query = query.join(EmbeddingRow, EmbeddingRow.volume_id == VolumeRow.id).where(EmbeddingRow.spec_id == spec_id)
        with self._database.read() as session:
            return session.scalar(query) or 0

    def content_keys(self, ids: Sequence[int] | Ids) -> list[str | None]:
        """Keyed hashes of the volumes' bytes, in the order given: equal for duplicates; None for a volume not there."""
        return self._column("content_key", ids)

    def patient_keys(self, ids: Sequence[int] | Ids) -> list[str | None]:
        """Keyed hashes of the patients, in the order given; None where the patient, or the volume, is not known."""
        return self._column("patient_key", ids)

    def preview(self, volume_id: int) -> bytes | None:
        """The picture of a volume (PNG), or None."""
        if not 1 <= volume_id <= MAX_ID:
            return None
        with self._database.read() as session:
            return session.scalar(select(PreviewRow.png).where(PreviewRow.volume_id == volume_id))

    def locator(self, volume_id: int) -> str:
        """Where a volume came from, decrypted: for whoever holds the key.

        Raises:
            UsageError: the volume is not there.
        """
        (locator,) = self.locators([volume_id])
        if locator is None:
            raise UsageError(gone_message(volume_id))
        return locator

    def locators(self, ids: Sequence[int] | Ids) -> list[str | None]:
        """Where volumes came from, decrypted, in the order given; None for a volume not there."""
        return [None if token is None else self.key.decrypt(token) for token in self._column("locator", ids)]

    def _column(self, column: str, ids: Sequence[int] | Ids) -> list:  # type: ignore[type-arg]
        values: dict[int, Value | None] = {}
        for block in blocks(ids):
            query = select(VolumeRow.id, getattr(VolumeRow, column)).where(VolumeRow.id.in_(block))
            with self._database.read() as session:
                values |= dict(session.execute(query).all())
        return [values.get(int(i)) for i in ids]


_COPIED = [field.name for field in dataclasses.fields(VolumeRecord) if field.name in VolumeRow.__table__.c]
"""What a record takes over as it is, the id first."""

_JOINED = ("size_r", "size_a", "size_s", "spacing_r", "spacing_a", "spacing_s")
"""What becomes its shape and spacing."""

_VOLUMES = select(*(VolumeRow.__table__.c[name] for name in (*_COPIED, *_JOINED, "locator"))).where(
    VolumeRow.__table__.c.id.in_(bindparam("wanted", expanding=True))
)
_LABELS = (
    select(LabelRow.volume_id, LabelRow.name, LabelRow.value)
    .where(LabelRow.volume_id.in_(bindparam("wanted", expanding=True)), LabelRow.origin != REJECTED)
    .order_by(LabelRow.name)
)


def _labels(connection: Connection, ids: list[int]) -> dict[int, dict[str, str]]:
    labels: dict[int, dict[str, str]] = {}
    for volume_id, name, value in connection.execute(_LABELS, {"wanted": ids}):
        labels.setdefault(volume_id, {})[name] = value
    return labels


def _record(row: tuple[Any, ...], labels: dict[str, str]) -> VolumeRecord:
    """A record from a row of `_VOLUMES`."""
    joined = row[len(_COPIED) : -1]
    fields = dict(zip(_COPIED, row, strict=False))
    return VolumeRecord(**fields, shape=joined[:3], spacing=joined[3:], labels=labels)
