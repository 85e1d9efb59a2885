"""Mean tokens beside the vectors that were projected from them, where they are kept."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float16
from sqlalchemy import select

from raptor_search.catalog.records import Ids
from raptor_search.catalog.specs import ArchiveQueries
from raptor_search.catalog.tables import EmbeddingRow, TokenMeansRow
from raptor_search.errors import CatalogError

__all__ = ["TokenQueries", "encode_tokens"]

FLOAT16 = np.dtype("<f2")


class TokenQueries(ArchiveQueries):
    """The mean tokens of volumes under one spec."""

    def with_tokens(self, spec_id: int) -> Ids:
        """The volumes embedded under a spec whose mean tokens are kept, sorted."""
        query = select(EmbeddingRow.volume_id).where(
            EmbeddingRow.spec_id == spec_id, TokenMeansRow.vector_id == EmbeddingRow.vector_id
        )
        with self._database.read() as session:
            return np.array(sorted(session.scalars(query)), dtype=np.int64)

    def intensity_rules(self, spec_id: int) -> dict[int, str]:
        """The intensity rule by which each volume's vector was made, by volume id."""
        with self._database.read() as session:
            query = select(EmbeddingRow.volume_id, EmbeddingRow.intensity_rule).where(EmbeddingRow.spec_id == spec_id)
            return dict(session.execute(query).all())

    def token_means(self, volume_ids: Sequence[int], spec_id: int) -> list[Float16[np.ndarray, "plane token d"]]:
        """Mean tokens of volumes, in the order of `volume_ids`; keep these few, one is a megabyte or two.

        Raises:
            CatalogError: a volume has none, or they are damaged.
        """
        planes, _, tokens = self._spec_of(spec_id).spec.shape
        query = select(EmbeddingRow.volume_id, TokenMeansRow.data).where(
            EmbeddingRow.spec_id == spec_id,
            EmbeddingRow.volume_id.in_(volume_ids),
            TokenMeansRow.vector_id == EmbeddingRow.vector_id,
        )
        with self._database.read() as session:
            rows = dict(session.execute(query).all())
        means = []
        for volume_id in volume_ids:
            data = rows.get(volume_id, b"")
            if not data or len(data) % (planes * tokens * FLOAT16.itemsize):
                raise CatalogError(
                    f"the mean tokens of volume {volume_id} are not there or damaged: run `raptor index --keep-tokens` "
                    "with a new --home, or restore from a backup"
                )
            means.append(np.frombuffer(data, dtype=FLOAT16).reshape(planes, tokens, -1))
        return means


def encode_tokens(tokens: Float[np.ndarray, "plane token d"]) -> bytes:
    """Mean tokens as they are stored: float16, little-endian, in C order.

    Raises:
        CatalogError: a number does not fit float16; an encoder's tokens end in a normalisation and stay far below.
    """
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(tokens, dtype=FLOAT16)
    if not np.isfinite(stored).all():
        raise CatalogError("the mean tokens do not fit float16 (65504): index without --keep-tokens")
    return stored.tobytes()
