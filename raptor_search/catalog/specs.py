"""The specs of an archive, its settings and its audit log."""

import json
import time
from collections.abc import Mapping

from sqlalchemy import select

from raptor_search.catalog.database import Database
from raptor_search.catalog.leases import WriterQueries
from raptor_search.catalog.records import AuditRecord, StoredSpec
from raptor_search.catalog.tables import AuditRow, SettingRow, SpecRow
from raptor_search.errors import CatalogError
from raptor_search.keys import ArchiveKey
from raptor_search.specs import EmbeddingSpec

__all__ = ["ArchiveQueries"]


class ArchiveQueries(WriterQueries):
    """What is said of the archive as a whole."""

    def __init__(self, database: Database, key: ArchiveKey) -> None:
        super().__init__(database, key)
        self._known_specs: dict[int, StoredSpec] = {}

    def add_spec(self, spec: EmbeddingSpec, provenance: Mapping[str, str]) -> StoredSpec:
        """Store a spec, or find the one that is there; an archive's first is its default."""
        with self._committing() as session:
            row = session.scalar(select(SpecRow).where(SpecRow.fingerprint == spec.fingerprint))
            if row is None:
                row = SpecRow(
                    fingerprint=spec.fingerprint,
                    document=spec.to_json(),
                    preset=spec.recipe.preset,
                    provenance=json.dumps(dict(provenance), sort_keys=True),
                    created_at=time.time(),
                    is_default=session.scalar(select(SpecRow.id).limit(1)) is None,
                )
                session.add(row)
                session.flush()
            return _stored(row)

    def specs(self) -> list[StoredSpec]:
        """Every spec, the oldest first."""
        with self._database.read() as session:
            return [_stored(row) for row in session.scalars(select(SpecRow).order_by(SpecRow.id))]

    def spec(self, fingerprint: str) -> StoredSpec | None:
        """The spec of a fingerprint, or None."""
        return next((spec for spec in self.specs() if spec.fingerprint == fingerprint), None)

    def default_spec(self) -> StoredSpec | None:
        """The archive's default spec, or None where it has none yet."""
        return next((spec for spec in self.specs() if spec.is_default), None)

    def setting(self, name: str) -> str | None:
        """The value of a setting, or None."""
        with self._database.read() as session:
            return session.scalar(select(SettingRow.value).where(SettingRow.name == name))

    def set_setting(self, name: str, value: str) -> None:
        """Set a setting, replacing what it was."""
        with self._database.write() as session:
            session.merge(SettingRow(name=name, value=value))

    def audit(self, author: str, action: str, detail: str) -> None:
        """Write down who did what; call it before a result is shown. `detail` holds no raw identifiers."""
        with self._database.write() as session:
            session.add(AuditRow(at=time.time(), author=author, action=action, detail=detail))

    def audits(self, limit: int = 100) -> list[AuditRecord]:
        """The audit log, the latest first."""
        with self._database.read() as session:
            rows = session.scalars(select(AuditRow).order_by(AuditRow.id.desc()).limit(limit))
            return [AuditRecord(at=row.at, author=row.author, action=row.action, detail=row.detail) for row in rows]

    def _spec_of(self, spec_id: int) -> StoredSpec:
        if spec_id not in self._known_specs:  # a spec never changes, and every read of vectors asks for it
            self._known_specs = {spec.id: spec for spec in self.specs()}
        stored = self._known_specs.get(spec_id)
        if stored is None:
            raise CatalogError(f"the archive has no spec {spec_id}; `raptor status` lists what it has")
        return stored


def _stored(row: SpecRow) -> StoredSpec:
    return StoredSpec(
        id=row.id,
        spec=EmbeddingSpec.from_json(row.document),
        fingerprint=row.fingerprint,
        preset=row.preset,
        provenance=json.loads(row.provenance),
        created_at=row.created_at,
        is_default=row.is_default,
    )
