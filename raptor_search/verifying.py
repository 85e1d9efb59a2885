"""Whether an archive is whole: what its catalog says of itself, and whether its index files are what was published."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from raptor_search.catalog import Catalog, IndexVersion, Problem, StoredSpec
from raptor_search.erasure import Step
from raptor_search.errors import IndexFileError
from raptor_search.searching.index_files import read_index
from raptor_search.searching.sketching import input_lengths
from raptor_search.unfinished import how_to_go_on

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
    """

    home: Path
    volumes: int
    vectors: int
    indexes: int
    problems: tuple[Problem, ...]

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
        }


def verify(catalog: Catalog, home: Path, progress: Step) -> VerifyReport:
    """Look at every row, reference and hash. Changes nothing, and may run while others write.

    Raises:
        CatalogError: the database cannot be read at all.
    """
    problems = catalog.check_database()
    volumes = vectors = 0
    total = catalog.count() + catalog.count_vectors()
    for count, found in catalog.check_volumes():
        volumes += count
        problems += found
        progress("Checking volumes", volumes, total)
    for count, found in catalog.check_vectors():
        vectors += count
        problems += found
        progress("Checking vectors", volumes + vectors, total)
    indexes = 0
    for stored in catalog.specs():
        version = catalog.current_index(stored.id)
        if version is not None:
            indexes += 1
            problems += _index(catalog, home, stored, version)
        elif catalog.count(stored.id):
            problems.append(Problem("index", f"spec {stored.id} has no index: {how_to_go_on(catalog, home, stored)}"))
    return VerifyReport(home, volumes, vectors, indexes, tuple(problems))


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
