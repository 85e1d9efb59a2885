"""Vectors: how an embedding becomes bytes and comes back, singly or in blocks."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Float16
from sqlalchemy import Select, bindparam, func, select
from sqlalchemy.orm import InstrumentedAttribute

from raptor_search.catalog.records import Ids
from raptor_search.catalog.specs import ArchiveQueries
from raptor_search.catalog.tables import EmbeddingRow, PrefixRow, VectorRow
from raptor_search.errors import CatalogError, ReadError, SpecError
from raptor_search.specs import EmbeddingSpec

__all__ = ["PREFIX_COMPONENTS", "VectorQueries", "decode", "encode", "prefix"]

PREFIX_COMPONENTS = 10
"""Components of the prefix: the paper's Raptor-B."""

VECTOR_BLOCK = 900
"""Vectors in one query: older databases bound its parameters by 999. 140 MB of the usual length."""

FLOAT16 = np.dtype("<f2")


def _by_volume(data: InstrumentedAttribute[bytes], vector_id: InstrumentedAttribute[int]) -> Select[int, bytes]:
    """The statement for such data of some volumes: made once, so that it is also compiled once."""
    return select(EmbeddingRow.volume_id, data).where(
        vector_id == EmbeddingRow.vector_id,
        EmbeddingRow.spec_id == bindparam("spec"),
        EmbeddingRow.volume_id.in_(bindparam("wanted", expanding=True)),
    )


_VECTORS = _by_volume(VectorRow.data, VectorRow.id)
_PREFIXES = _by_volume(PrefixRow.data, PrefixRow.vector_id)


def encode(values: Float[np.ndarray, "..."], spec: EmbeddingSpec) -> bytes:
    """The embedding as it is stored: float16, little-endian, in order [plane, k, token].

    Raises:
        SpecError: as many numbers as are given do not make an embedding of `spec`.
        ReadError: "not-finite" where a number is NaN or too large for float16.
    """
    if values.size != spec.length:
        raise SpecError(f"a vector of {values.size} numbers; expected {spec.length} for {spec.encoder}")
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(values, dtype=FLOAT16)
    if not np.isfinite(stored).all():
        bad = int(stored.size - np.isfinite(stored).sum())
        raise ReadError("not-finite", f"{bad} of the embedding's {stored.size} numbers are not finite in float16")
    return stored.tobytes()


def decode(data: bytes, length: int) -> Float16[np.ndarray, " length"]:
    """What `encode` wrote; a view that is not to be written to.

    Raises:
        CatalogError: it holds another number of numbers: the database is damaged.
    """
    if len(data) != length * FLOAT16.itemsize:
        raise CatalogError(f"a stored vector has not {length} numbers: the catalog is damaged, restore it from a copy")
    return np.frombuffer(data, dtype=FLOAT16)


def prefix(data: bytes, spec: EmbeddingSpec) -> bytes:
    """The first `PREFIX_COMPONENTS` components of an encoded vector: themselves a valid, smaller Raptor."""
    values = np.frombuffer(data, dtype=FLOAT16).reshape(spec.shape)
    return np.ascontiguousarray(values[:, :PREFIX_COMPONENTS]).tobytes()


def _matrix(data: Sequence[bytes], length: int) -> Float16[np.ndarray, "n length"]:
    """Vectors as rows. `decode` refuses the first whose length is not theirs."""
    for one in data:
        if len(one) != length * FLOAT16.itemsize:
            decode(one, length)
    return np.frombuffer(bytearray().join(data), dtype=FLOAT16).reshape(-1, length)


class VectorQueries(ArchiveQueries):
    """The vectors of volumes under one spec."""

    def vector_for(self, content_key: str, spec_id: int) -> int | None:
        """The id of the vector of these bytes under a spec, or None: where there is one, it is shared."""
        with self._database.read() as session:
            return session.scalar(
                select(VectorRow.id).where(VectorRow.content_key == content_key, VectorRow.spec_id == spec_id)
            )

    def vectors(self, ids: Sequence[int] | Ids, spec_id: int) -> Float16[np.ndarray, "n length"]:
        """The vectors of volumes, in the order of `ids`.

        Raises:
            CatalogError: a volume is not there or not embedded under the spec; see `found_vectors`.
        """
        return _complete(ids, *self.found_vectors(ids, spec_id))

    def found_vectors(self, ids: Sequence[int] | Ids, spec_id: int) -> tuple[Ids, Float16[np.ndarray, "n length"]]:
        """The ids that have a vector under the spec, in the order given, and those vectors."""
        return self._gather(_VECTORS, ids, spec_id, self._spec_of(spec_id).spec.length)

    def prefixes(self, ids: Sequence[int] | Ids, spec_id: int) -> Float16[np.ndarray, "n prefix"]:
        """The first `PREFIX_COMPONENTS` components of the vectors of volumes, in the order of `ids`.

        Raises:
            CatalogError: a volume is not there, or not embedded under the spec.
        """
        return _complete(ids, *self.found_prefixes(ids, spec_id))

    def found_prefixes(self, ids: Sequence[int] | Ids, spec_id: int) -> tuple[Ids, Float16[np.ndarray, "n prefix"]]:
        """The ids that have a vector under the spec, in the order given, and the first components of those vectors."""
        planes, components, tokens = self._spec_of(spec_id).spec.shape
        length = planes * min(components, PREFIX_COMPONENTS) * tokens
        return self._gather(_PREFIXES, ids, spec_id, length)

    def _gather(
        self,
        query: Select[int, bytes],
        ids: Sequence[int] | Ids,
        spec_id: int,
        length: int,
    ) -> tuple[Ids, Float16[np.ndarray, "n length"]]:
        """The ids that have such data under the spec, in the order given, and its matrix; a block of ids a query."""
        wanted = np.asarray(ids, dtype=np.int64)

        def read(block: list[int]) -> tuple[list[int], Float16[np.ndarray, "b length"]]:
            with self._database.reading() as connection:
                rows = dict(connection.execute(query, {"spec": spec_id, "wanted": block}).all())
            there = [volume_id for volume_id in block if volume_id in rows]
            return there, _matrix([rows[volume_id] for volume_id in there], length)

        if len(wanted) <= VECTOR_BLOCK:
            there, matrix = read(wanted.tolist())
            return np.array(there, np.int64), matrix
        found: list[int] = []
        values = np.empty((len(wanted), length), dtype=np.float16)
        for start in range(0, len(wanted), VECTOR_BLOCK):
            there, matrix = read(wanted[start : start + VECTOR_BLOCK].tolist())
            values[len(found) : len(found) + len(there)] = matrix
            found.extend(there)
        return np.array(found, np.int64), values[: len(found)]

    def iter_vectors(
        self, spec_id: int, block: int = 256, *, after: int = 0, up_to: int | None = None
    ) -> Iterator[tuple[Ids, Float16[np.ndarray, "n length"]]]:
        """Every vector of a spec in blocks, in the order of commit: volume ids and vectors.

        Each block is a short transaction. With `up_to` = `embedding_high_water` the blocks together
        are that snapshot, less the volumes that were replaced meanwhile.

        Args:
            spec_id: the spec.
            block: vectors at a time.
            after: only embeddings with a larger id.
            up_to: only embeddings with at most this id; None means up to the latest.
        """
        length = self._spec_of(spec_id).spec.length
        query = (
            select(EmbeddingRow.id, EmbeddingRow.volume_id, VectorRow.data)
            .join(VectorRow, VectorRow.id == EmbeddingRow.vector_id)
            .where(EmbeddingRow.spec_id == spec_id)
            .order_by(EmbeddingRow.id)
            .limit(block)
        )
        if up_to is not None:
            query = query.where(EmbeddingRow.id <= up_to)
        while True:
            with self._database.read() as session:
                rows = session.execute(query.where(EmbeddingRow.id > after)).all()
            if not rows:
                return
            after = rows[-1].id
            values = np.stack([decode(row.data, length) for row in rows]).astype(np.float16, copy=False)
            yield np.array([row.volume_id for row in rows], dtype=np.int64), values

    def embedding_high_water(self, spec_id: int) -> int:
        """The largest embedding id of a spec, 0 where it has none: later commits lie above it."""
        with self._database.read() as session:
            return session.scalar(select(func.max(EmbeddingRow.id)).where(EmbeddingRow.spec_id == spec_id)) or 0

    def newer_than(self, spec_id: int, embedding_id: int) -> Ids:
        """The volumes embedded after an embedding id (`IndexVersion.last_embedding_id`), sorted."""
        with self._database.read() as session:
            query = select(EmbeddingRow.volume_id).where(
                EmbeddingRow.spec_id == spec_id, EmbeddingRow.id > embedding_id
            )
            return np.array(sorted(session.scalars(query)), dtype=np.int64)

    def vector_digests(self, spec_id: int) -> dict[int, str]:
        """SHA-256 of each volume's stored vector, hex, by volume id: equal between two equal runs."""
        with self._database.read() as session:
            query = (
                select(EmbeddingRow.volume_id, VectorRow.sha256)
                .join(VectorRow, VectorRow.id == EmbeddingRow.vector_id)
                .where(EmbeddingRow.spec_id == spec_id)
                .order_by(EmbeddingRow.volume_id)
            )
            return dict(session.execute(query).all())


def _complete(
    ids: Sequence[int] | Ids, found: Ids, values: Float16[np.ndarray, "n length"]
) -> Float16[np.ndarray, "n length"]:
    if len(found) != len(ids):
        gone = sorted({int(i) for i in ids} - set(found.tolist()))
        raise CatalogError(f"no vector for {len(gone)} of the volumes, such as {gone[0]}: replaced since; search again")
    return values
