"""What the catalog takes and gives of what is published: means, index versions and their measures, maps.

Frozen values, as those of `records`. Times are UTC seconds; arrays that come out belong to the caller.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

__all__ = ["Centring", "Generation", "IndexMeasures", "IndexVersion", "NewIndexVersion", "StoredMap"]

Centring = Literal["archive", "reference", "none"]
"""What is subtracted before the cosine: the archive's mean, the shipped reference mean, nothing."""


@dataclass(frozen=True, kw_only=True)
class Generation:
    """The mean that centres a spec's scores; `mean` has no entries where `centring` is "none"."""

    id: int
    spec_id: int
    centring: Centring
    mean: Float[np.ndarray, " length"]
    volumes: int
    created_at: float


@dataclass(frozen=True, kw_only=True)
class NewIndexVersion:
    """An index file that is written and checked, ready to be published.

    Attributes:
        file: its name within the folder of indexes.
        sha256: hex, of its bytes.
        factory: the FAISS factory string.
        volumes: vectors in it.
        last_embedding_id: embeddings above it are newer than the index.
        nprobe: lists to visit; 0 where the index has none.
        rerank: candidates to re-rank exactly; 0 means all.
        measured_recall: of held-out queries against exact search, or None.
    """

    spec_id: int
    generation_id: int
    file: str
    sha256: str
    factory: str
    volumes: int
    last_embedding_id: int
    nprobe: int
    rerank: int
    measured_recall: float | None


@dataclass(frozen=True, kw_only=True)
class IndexVersion(NewIndexVersion):
    """A published index."""

    id: int
    is_current: bool
    created_at: float


@dataclass(frozen=True, kw_only=True)
class IndexMeasures:
    """What was measured on an index version.

    Attributes:
        document: JSON of `raptor_search.searching.measures`.
        background: quantiles of the scores of unrelated pairs, rising; empty where there were too few pairs.
    """

    document: str
    background: Float[np.ndarray, " q"]


@dataclass(frozen=True, kw_only=True)
class StoredMap:
    """A cohort map: `coordinates[i]` is the place of volume `volume_ids[i]`."""

    id: int
    spec_id: int
    parameters: Mapping[str, str | int | float]
    volume_ids: Int[np.ndarray, " n"]
    coordinates: Float[np.ndarray, "n 2"]
    created_at: float
