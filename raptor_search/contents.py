"""What an archive has come to: scans over time, by site, and the room that it takes on the disk."""

import shutil
import time
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np

from raptor_search.catalog import Catalog
from raptor_search.searching.index_files import INDEX_FOLDER

__all__ = ["Growth", "Space", "by_site", "growth", "space"]

DAY_SECONDS = 86_400
SHOWN_DIGITS = 8
"""Of a site's keyed hash."""


@dataclass(frozen=True)
class Growth:
    """How many scans an archive had.

    Attributes:
        days: on which scans came, as "2030-01-31" (UTC), the earliest first.
        added: on each of them.
        total: at its end; scans that were removed since are not counted.
    """

    days: tuple[str, ...]
    added: tuple[int, ...]
    total: tuple[int, ...]


@dataclass(frozen=True)
class Space:
    """Bytes on the disk.

    Attributes:
        catalog: of the database and what belongs to it; None where a server keeps it.
        indexes: of the index files.
        other: of all else in the archive's folder, such as copies made before an upgrade.
        free: that the disk has left.
    """

    catalog: int | None
    indexes: int
    other: int
    free: int


def growth(catalog: Catalog) -> Growth:
    """When the scans of an archive came."""
    days, added = np.unique((catalog.arrivals() // DAY_SECONDS).astype(np.int64), return_counts=True)
    return Growth(
        days=tuple(time.strftime("%Y-%m-%d", time.gmtime(int(day) * DAY_SECONDS)) for day in days),
        added=tuple(int(number) for number in added),
        total=tuple(accumulate(int(number) for number in added)),
    )


def by_site(catalog: Catalog) -> dict[str, int]:
    """How many scans each site has, by the start of its keyed hash: an institution's name is not stored."""
    counts: dict[str, int] = {}
    for site, number in catalog.site_counts().items():
        name = "unknown" if site is None else f"site {site[:SHOWN_DIGITS]}"
        counts[name] = counts.get(name, 0) + number
    return counts


def space(home: Path) -> Space:
    """The room that an archive's folder takes."""
    sizes = {"catalog": 0, "indexes": 0, "other": 0}
    for path in home.rglob("*"):
        try:
            size = 0 if path.is_symlink() or not path.is_file() else path.stat().st_size
        except OSError:  # removed meanwhile, such as an index that another one replaced
            continue
        sizes[_kind(path.relative_to(home))] += size
    has_file = (home / "catalog.db").exists()
    free = shutil.disk_usage(home).free
    return Space(sizes["catalog"] if has_file else None, sizes["indexes"], sizes["other"], free)


def _kind(path: Path) -> str:
    if path.parts[0] == INDEX_FOLDER:
        return "indexes"
    return "catalog" if path.name in ("catalog.db", "catalog.db-wal", "catalog.db-shm") else "other"
