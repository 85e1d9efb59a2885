"""A search engine for 3D medical scans that hospitals and labs run themselves. Research use only.

from raptor_search import Archive

with Archive.open("raptor-archive") as archive:
    for hit in archive.search("scan.nii.gz", k=10).hits:
        print(hit.score, hit.source)
"""

from typing import TYPE_CHECKING, Any

from raptor_search.errors import (
    CatalogError,
    IndexFileError,
    KeyMismatchError,
    LockedError,
    QueryError,
    RaptorError,
    ReadError,
    SpecError,
    UsageError,
    WeightsError,
)
from raptor_search.specs import EmbeddingSpec
from raptor_search.volume import Volume

if TYPE_CHECKING:
    from raptor_search.archive import Archive

__all__ = [
    "Archive",
    "CatalogError",
    "EmbeddingSpec",
    "IndexFileError",
    "KeyMismatchError",
    "LockedError",
    "QueryError",
    "RaptorError",
    "ReadError",
    "SpecError",
    "UsageError",
    "Volume",
    "WeightsError",
]


def __getattr__(name: str) -> Any:
    # An archive brings the database and FAISS along; a machine that only embeds needs neither.
    if name == "Archive":
        from raptor_search.archive import Archive

        return Archive
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
