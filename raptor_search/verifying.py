"""Whether an archive is whole: what its catalog says of itself, and whether its index files are what was published."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from raptor_search.catalog import Catalog, IndexVersion, Problem, StoredSpec
from raptor_search.erasure import Step
from raptor_search.errors import DamagedError, IndexFileError
from raptor_search.searching.index_files import read_index
from raptor_search.searching.sketching import input_lengths
from raptor_search.unfinished import SHOWN_DIGITS, how_to_go_on

__all__ = ["VerifyReport", "verify"]


@dataclass(frozen=True)
class VerifyReport:
    """What was looked at, and what is wrong.

    Attributes:
        home: the archive's folder.
        volumes: looked at.
        vectors: whose hashes were computed.
        indexes: index files whose hashes were computed.
        problems: empty where the archive is whole.
        notes: what is not finished, and no damage.
    """

    home: Path
    volumes: int
    vectors: int
    indexes: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return {
            "home": os.fspath(self.home),
            "volumes": self.volumes,
            "vectors": self.vectors,
            "indexes": self.indexes,
            "whole": self.is_whole,
            "problems": [problem._asdict() for problem in self.problems],
            "notes": list(self.notes),
        }


def verify(catalog: Catalog, home: Path, progress: Step) -> VerifyReport:
    """Look at every row, reference and hash. Changes nothing, and may run while others write.

    A spec of which no index was published yet is no damage: it gets a note.

    Raises:
        CatalogError: the database cannot be reached.
    """
    check = _Check(catalog, home, progress)
    try:
        check.rows()
        check.index_files()
    except DamagedError as error:
        check.problems.append(Problem("database", error.message))
    return VerifyReport(home, check.volumes, check.vectors, check.indexes, tuple(check.problems), tuple(check.notes))


class _Check:
    """One look at an archive, and what it found so far."""

    def __init__(self, catalog: Catalog, home: Path, progress: Step) -> None:
        self._catalog, self._home, self._progress = catalog, home, progress
        self.volumes = self.vectors = self.indexes = 0
        self.problems: list[Problem] = []
        self.notes: list[str] = []

    def rows(self) -> None:
        self.problems += self._catalog.check_database()
        total = self._catalog.count() + self._catalog.count_vectors()
        for count, found in self._catalog.check_volumes():
            self.volumes += count
            self.problems += found
            self._progress("Checking volumes", self.volumes, total)
        for count, found in self._catalog.check_vectors():
            self.vectors += count
            self.problems += found
            self._progress("Checking vectors", self.volumes + self.vectors, total)

    def index_files(self) -> None:
        for stored in self._catalog.specs():
            version = self._catalog.current_index(stored.id)
            if version is not None:
                self.indexes += 1
                self.problems += _index(self._catalog, self._home, stored, version)
            if unfinished := how_to_go_on(self._catalog, self._home, stored):
                self.notes.append(f"spec {stored.fingerprint[:SHOWN_DIGITS]}: {unfinished}")


def _index(catalog: Catalog, home: Path, stored: StoredSpec, version: IndexVersion) -> list[Problem]:
    try:
        index = read_index(home, version.file, version.sha256)
    except IndexFileError as error:
        if catalog.current_index(stored.id) != version:  # a newer one was published meanwhile
            return []
        return [Problem("index", f"{error.message}: run `raptor rebuild`")]
    wrong = []
    if index.dim not in (lengths := input_lengths(stored.spec)):
        wrong.append(f"it takes {index.dim} numbers a scan, expected {' or '.join(map(str, sorted(lengths)))}")
    if index.ids.size != version.volumes or np.unique(index.ids).size != index.ids.size:
        wrong.append(f"it holds {np.unique(index.ids).size} volumes, expected {version.volumes}")
    lacking = np.setdiff1d(catalog.ids(stored.id), index.ids)
    older = np.setdiff1d(lacking, catalog.newer_than(stored.id, version.last_embedding_id))
    if older.size:
        wrong.append(f"it lacks {older.size} volumes that were there when it was made")
    return [Problem("index", f"index version {version.id}: {what}; run `raptor rebuild`") for what in wrong]
