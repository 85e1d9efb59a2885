"""What a search answers with."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from raptor_search.catalog import Centring, VolumeRecord
from raptor_search.searching.region import Region
from raptor_search.specs import EmbeddingSpec

__all__ = ["Hit", "SearchResult"]


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A scan of the archive that is similar to the query.

    Attributes:
        rank: from 1.
        score: cosine after centring, in [-1, 1]; within the region's cells alone where one was given.
        percentile: how many of the archive's unrelated pairs of scans are less alike, in percent; None where the
            archive is too small to know, and where the query is not one whole scan.
        volume_id: its id in the catalog.
        source: the path or URI it came from, decrypted: for whoever holds the key.
        exact: whether no scan that passes the filters can be missing above it.
        duplicate: whether its bytes are the query's.
        copies: ids of the scans that were collapsed into this one, best first.
        record: all that the archive knows of it.
    """

    rank: int
    score: float
    percentile: float | None = None
    volume_id: int
    source: str
    exact: bool
    duplicate: bool
    copies: tuple[int, ...] = ()
    record: VolumeRecord

    @property
    def metadata(self) -> dict[str, Any]:
        """The typed columns, "patient" (a pseudonym such as "P-3f9a2c41", or None) and "labels" by name."""
        subject = self.record.subject
        patient = f"P-{subject}" if subject else None
        return {**self.record.metadata, "patient": patient, "labels": dict(self.record.labels)}

    def to_dict(self) -> dict[str, Any]:
        """The hit for JSON."""
        return {
            "rank": self.rank,
            "score": self.score,
            "percentile": self.percentile,
            "volume_id": self.volume_id,
            "source": self.source,
            "exact": self.exact,
            "duplicate": self.duplicate,
            "copies": list(self.copies),
            "metadata": self.metadata,
        }


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """An answer, and how it was come by.

    Attributes:
        hits: best first.
        exact: whether every scan that passes the filters was scored.
        nothing_similar: whether even the best hit is no more alike than unrelated scans are, among which may be scans
            of the same kind.
        centring: what was subtracted before the cosine: the archive's mean, the shipped reference mean, nothing.
        spec: what the vectors were made with.
        index_version: that served; None where none is published.
        passed: scans that pass the filters.
        candidates: scans that were scored on their full vectors.
        region: the cells that the score was confined to; none means all.
        notes: what a reader of the hits ought to know, one sentence each.
        query: raw embedding of the query; the combined one where there were examples.
        mean: what was subtracted; without entries nothing was.
    """

    hits: tuple[Hit, ...]
    exact: bool
    nothing_similar: bool = False
    centring: Centring
    spec: EmbeddingSpec
    index_version: int | None
    passed: int
    candidates: int
    region: tuple[Region, ...] = ()
    notes: tuple[str, ...]
    query: Float[np.ndarray, " length"] = field(repr=False, compare=False)
    mean: Float32[np.ndarray, " m"] = field(repr=False, compare=False)

    @property
    def spec_fingerprint(self) -> str:
        """Fingerprint of the spec."""
        return self.spec.fingerprint

    def to_dict(self) -> dict[str, Any]:
        """The answer for JSON; each hit says by which index version and spec it was found."""
        found_by = {"index_version": self.index_version, "spec_fingerprint": self.spec.fingerprint}
        return {
            "hits": [hit.to_dict() | found_by for hit in self.hits],
            "exact": self.exact,
            "nothing_similar": self.nothing_similar,
            "centring": self.centring,
            "spec": {"fingerprint": self.spec.fingerprint, "preset": self.spec.recipe.preset, **self.spec.fields()},
            "index_version": self.index_version,
            "passed": self.passed,
            "candidates": self.candidates,
            "region": [str(region) for region in self.region],
            "notes": list(self.notes),
        }
