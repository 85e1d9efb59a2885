"""Looking at one scan of the archive beside another: its voxels from where they lie, its part of a score, its UIDs.

`Archive` has these methods. Each writes its row into the audit log before it answers.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from jaxtyping import Float

from raptor_search.access import Action, Principal
from raptor_search.catalog import Catalog, StoredSpec
from raptor_search.errors import ReadError
from raptor_search.explain import Shares, shares
from raptor_search.keys import ArchiveKey
from raptor_search.searching.serving import IndexCache

if TYPE_CHECKING:  # readers take a second to import
    from raptor_search.readers import Identity
    from raptor_search.readers.pool import ReadingPool
    from raptor_search.readers.result import ReadResult

__all__ = ["Asking", "Comparing"]


class Asking(Protocol):
    """The part of a question that one scan is scored against."""

    @property
    def vector(self) -> Float[np.ndarray, " length"]:
        """Raw embedding, flat."""

    @property
    def stored(self) -> StoredSpec:
        """The spec it was embedded under."""


class Comparing(ABC):
    """The part of an archive that shows single scans.

    Attributes:
        key: what decrypts sources.
        catalog: what it knows.
        principal: who acts through it.
    """

    principal: Principal
    key: ArchiveKey
    catalog: Catalog
    _indexes: IndexCache

    @property
    @abstractmethod
    def reading(self) -> "ReadingPool":
        """The processes that read scans."""

    def compare(self, question: Asking, volume_id: int) -> Shares:
        """The score of one scan of the archive, taken apart into the cells that it is the sum of.

        Args:
            question: what it is compared with.
            volume_id: the scan.

        Raises:
            AccessError: the role does not suffice.
            UsageError: there is no such volume.
            CatalogError: it is not embedded under the question's spec.
        """
        self.principal.require("search")
        self.catalog.volume(volume_id)
        self.catalog.audit(self.principal.name, "compare", f"with volume {volume_id}")
        vector = self.catalog.vectors([volume_id], question.stored.id)[0]
        mean = self._indexes.serving(self.catalog, question.stored).mean
        return shares(question.vector, vector, mean, question.stored.spec)

    def open_source(self, volume_id: int) -> "ReadResult":
        """A scan of the archive read anew from where it was indexed.

        Args:
            volume_id: the scan.

        Raises:
            AccessError: the role does not suffice.
            UsageError: there is no such volume.
            ReadError: its file is gone, has changed since, or cannot be read.
        """
        path = self._source_of(volume_id, "view", "view")
        _, read = self.reading.read_file(path)
        if self.key.digest("content", read.digest) != self.catalog.volume(volume_id).content_key:
            raise ReadError("unreadable", f"the file of case {volume_id} has changed since it was indexed")
        return read

    def identity_of(self, volume_id: int) -> "Identity":
        """The raw identifiers in the headers of a scan's file; none of them is stored.

        Args:
            volume_id: the scan.

        Raises:
            AccessError: the role does not suffice.
            UsageError: there is no such volume.
            ReadError: its file is gone or cannot be read.
        """
        return self.reading.identity(self._source_of(volume_id, "identify", "open in a viewer"))

    def _source_of(self, volume_id: int, action: Action, called: str) -> Path:
        self.principal.require(action)
        locator = self.catalog.locator(volume_id)
        self.catalog.audit(self.principal.name, called, f"volume {volume_id}")
        path = Path(locator)
        if not any(place.exists() for place in (path, *outer_places(locator))):
            raise ReadError("unreadable", f"the file that case {volume_id} was read from is no longer there")
        return path


def outer_places(locator: str) -> list[Path]:
    """What may lie on the disk of a locator that names one of several volumes, such as "scans.zip#000001"."""
    return [Path(locator[:place]) for place, letter in enumerate(locator) if letter == "#" and place]
