"""Which tables speak about which sources, and whether they say anything new."""

from collections.abc import Sequence
from pathlib import Path

from raptor_search.archive import Archive
from raptor_search.catalog import StoredSpec
from raptor_search.readers import Source
from raptor_search.readers.tables import Table

__all__ = ["JoinedTables"]


class JoinedTables:
    """The tables of one run. Where they differ from those of the last whole run over the same paths, all scans
    are read again, without being embedded again.

    Attributes:
        all: every table, the user's own first.
        is_new: whether they say something that the archive has not heard.
    """

    def __init__(
        self,
        archive: Archive,
        stored: StoredSpec,
        paths: Sequence[Path],
        *,
        given: Sequence[Table],
        found: Sequence[Table],
    ) -> None:
        self._catalog = archive.catalog
        self._given, self._found = list(given), list(found)
        places = "\0".join(sorted(str(path.resolve()) for path in paths))
        self._setting = f"tables {stored.fingerprint[:16]} {archive.key.digest('source', places)[:32]}"
        read = [(table.digest, *table.dropped) for table in self.all]
        contents = "\0".join(text for table in read for text in table)
        self._digest = archive.key.digest("content", contents)
        self.is_new = bool(self.all) and self._catalog.setting(self._setting) != self._digest

    @property
    def all(self) -> list[Table]:
        """Every table, the user's own first."""
        return [*self._given, *self._found]

    def about(self, source: Source) -> list[Table]:
        """The tables that may speak about a source: a participants.tsv only about scans below its own folder."""
        place = source.path.resolve() / source.inner
        return [*self._given, *(t for t in self._found if place.is_relative_to(t.path.resolve().parent))]

    def remember(self) -> None:
        """Note that all scans have heard these tables."""
        self._catalog.set_setting(self._setting, self._digest)
