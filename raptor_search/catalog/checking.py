"""Whether the catalog is whole: every hash, every reference, every row that speaks of another."""

import hashlib
from collections.abc import Iterator

import numpy as np
from sqlalchemy import Row, and_, exists, func, select
from sqlalchemy.orm import Session

from raptor_search.catalog.erasing import ErasureQueries
from raptor_search.catalog.records import Problem
from raptor_search.catalog.tables import (
    Base,
    CohortMapRow,
    EmbeddingRow,
    GenerationRow,
    IndexVersionRow,
    PrefixRow,
    SpecRow,
    VectorRow,
    VolumeRow,
)
from raptor_search.catalog.vectors import FLOAT16, prefix
from raptor_search.errors import KeyMismatchError, SpecError
from raptor_search.specs import EmbeddingSpec

__all__ = ["CheckQueries"]

BLOCK = 128
"""Vectors read at a time: 20 MB."""

LOCATED = 2_000
"""Volumes looked at a time."""


class CheckQueries(ErasureQueries):
    """What `raptor verify` asks of the database. Each block is a short transaction."""

    def check_database(self) -> list[Problem]:
        """What is wrong with the database as a whole: its file, its references, its specs and means."""
        problems = [Problem("database", f"{self._database.name}: {line}") for line in self._database.damage()]
        with self._database.read() as session:
            problems += _dangling(session)
            specs, broken = _specs(session)
            problems += broken
            problems += _generations(session, specs)
            problems += _maps(session)
        if self.pending_erasure() is not None:
            problems.append(Problem("erasure", "an erasure is unfinished: `raptor rebuild` finishes it first"))
        return problems

    def check_volumes(self) -> Iterator[tuple[int, list[Problem]]]:
        """What is wrong with each block of volumes, and how many it has."""
        after = 0
        columns = (VolumeRow.id, VolumeRow.source_key, VolumeRow.content_key, VolumeRow.locator)
        query = select(*columns).order_by(VolumeRow.id).limit(LOCATED)
        while True:
            with self._database.read() as session:
                rows = session.execute(query.where(VolumeRow.id > after)).all()
                if not rows:
                    return
                after = rows[-1].id
                of_block = EmbeddingRow.volume_id.in_([row.id for row in rows])
                embedded = set(session.scalars(select(EmbeddingRow.volume_id).where(of_block)))
                bare = [row.id for row in rows if row.id not in embedded]
            found = [Problem("volume", f"volume {volume_id} has no embedding") for volume_id in bare]
            found += [problem for row in rows for problem in self._volume(row)]
            keys = {key: row.id for row in rows for key in (row.source_key, row.content_key)}
            found += [Problem("erasure", f"volume {keys[key]} was erased and is there") for key in self.erased(keys)]
            yield len(rows), found

    def check_vectors(self) -> Iterator[tuple[int, list[Problem]]]:
        """What is wrong with each block of vectors, and how many it has."""
        with self._database.read() as session:
            specs, _ = _specs(session)
        after = 0
        used = exists().where(EmbeddingRow.vector_id == VectorRow.id)
        query = (
            select(VectorRow.id, VectorRow.spec_id, VectorRow.sha256, VectorRow.data, PrefixRow.data, used)
            .outerjoin(PrefixRow, PrefixRow.vector_id == VectorRow.id)
            .order_by(VectorRow.id)
            .limit(BLOCK)
        )
        while True:
            with self._database.read() as session:
                rows = session.execute(query.where(VectorRow.id > after)).all()
            if not rows:
                return
            after = rows[-1][0]
            found = []
            for vector_id, spec_id, sha256, data, start, is_used in rows:
                wrong = _vector(specs.get(spec_id), sha256, data, start, is_used=is_used)
                found += [Problem("vector", f"vector {vector_id}: {what}") for what in wrong]
            yield len(rows), found

    def count_vectors(self) -> int:
        """How many vectors are stored."""
        with self._database.read() as session:
            return session.scalar(select(func.count()).select_from(VectorRow)) or 0

    def _volume(self, row: Row[int, str, str, bytes]) -> Iterator[Problem]:
        try:
            locator = self.key.decrypt(row.locator)
        except KeyMismatchError:
            yield Problem("volume", f"volume {row.id}: where it came from cannot be decrypted")
            return
        if self.key.digest("source", locator) != row.source_key:
            yield Problem("volume", f"volume {row.id}: the hash of its source is not that of where it came from")


def _vector(
    spec: EmbeddingSpec | None, sha256: str, data: bytes, start: bytes | None, *, is_used: bool
) -> Iterator[str]:
    if not is_used:
        yield "no volume has it"
    if hashlib.sha256(data).hexdigest() != sha256:
        yield "its bytes are not the ones that were stored (SHA-256 differs)"
    if spec is None:
        return
    if len(data) != spec.length * FLOAT16.itemsize:
        yield f"it has {len(data)} bytes, expected {spec.length * FLOAT16.itemsize}"
        return
    if not np.isfinite(np.frombuffer(data, FLOAT16)).all():
        yield "it holds numbers that are not finite"
    if start != prefix(data, spec):
        yield "its first components are stored apart, and differ" if start else "its first components are missing"


def _dangling(session: Session) -> Iterator[Problem]:
    """Rows that refer to one that is not there, and embeddings whose vector is of other bytes or another spec."""
    for table in Base.metadata.sorted_tables:
        for key in table.foreign_keys:
            parent = key.column.table.alias("parent")
            there = exists().where(parent.c[key.column.name] == key.parent)
            count = session.scalar(select(func.count()).select_from(table).where(key.parent.is_not(None), ~there))
            if count:
                yield Problem("reference", f"{count} rows of {table.name} refer to no {key.column.table.name}")
    wrong = select(func.count()).select_from(EmbeddingRow)
    wrong = wrong.join(VectorRow, VectorRow.id == EmbeddingRow.vector_id)
    wrong = wrong.join(VolumeRow, VolumeRow.id == EmbeddingRow.volume_id)
    same = and_(VectorRow.spec_id == EmbeddingRow.spec_id, VectorRow.content_key == VolumeRow.content_key)
    if count := session.scalar(wrong.where(~same)):
        yield Problem("reference", f"{count} embeddings have a vector of other bytes or of another spec")


def _specs(session: Session) -> tuple[dict[int, EmbeddingSpec], list[Problem]]:
    specs, problems = {}, []
    rows = session.scalars(select(SpecRow).order_by(SpecRow.id)).all()
    for row in rows:
        try:
            specs[row.id] = EmbeddingSpec.from_json(row.document)
        except SpecError as error:
            problems.append(Problem("spec", f"spec {row.id}: {error.message}"))
            continue
        if specs[row.id].fingerprint != row.fingerprint:
            problems.append(Problem("spec", f"spec {row.id}: its fingerprint is not that of its fields"))
    if rows and sum(row.is_default for row in rows) != 1:
        problems.append(Problem("spec", "not exactly one spec is the default one"))
    return specs, problems


def _generations(session: Session, specs: dict[int, EmbeddingSpec]) -> Iterator[Problem]:
    means = {row.id: row for row in session.scalars(select(GenerationRow).order_by(GenerationRow.id))}
    for row in means.values():
        mean = np.frombuffer(row.mean, np.uint8)
        length = specs[row.spec_id].length if row.spec_id in specs else None
        expected = 0 if row.centring == "none" else length
        if expected is not None and (mean.size != 4 * expected or not np.isfinite(mean.view("<f4")).all()):
            yield Problem("mean", f"mean {row.id} is not {expected} finite numbers")
    current: dict[int, int] = {}
    for version in session.scalars(select(IndexVersionRow).order_by(IndexVersionRow.id)):
        current[version.spec_id] = current.get(version.spec_id, 0) + version.is_current
        mean_row = means.get(version.generation_id)
        if mean_row is not None and mean_row.spec_id != version.spec_id:
            yield Problem("mean", f"index version {version.id} has the mean of another spec")
    for spec_id, count in current.items():
        if count != 1:
            yield Problem("index", f"spec {spec_id} has {count} current index versions; expected one")


def _maps(session: Session) -> Iterator[Problem]:
    for row in session.scalars(select(CohortMapRow).order_by(CohortMapRow.id)):
        if len(row.volume_ids) != len(row.coordinates) or len(row.volume_ids) % 8:
            yield Problem("map", f"map {row.id} has not one place a volume")
