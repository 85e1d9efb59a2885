"""What the latest run of the indexer could not open: kept, encrypted as a locator is, until the next run says anew."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from raptor_search.catalog import Catalog
from raptor_search.catalog.erasing import UNOPENED

__all__ = ["KEPT_PATHS", "Unopened", "keep_unopened", "unopened"]

KEPT_PATHS = 100
"""Paths that are kept, the first in order of the walk; of the others their number."""


@dataclass(frozen=True)
class Unopened:
    """Files and folders that could not be opened, so that nobody knows whether they are scans.

    Attributes:
        count: all of them.
        paths: the first.
    """

    count: int = 0
    paths: tuple[str, ...] = ()


def keep_unopened(catalog: Catalog, paths: Sequence[str]) -> None:
    """Note what a run could not open, in place of what the run before it noted."""
    text = json.dumps({"count": len(paths), "paths": list(paths[:KEPT_PATHS])})
    catalog.set_setting(UNOPENED, catalog.key.encrypt(text).decode("ascii"))


def unopened(catalog: Catalog) -> Unopened:
    """What the latest run could not open; nothing where a scan was erased since.

    Raises:
        KeyMismatchError: it was noted under another key, or is damaged.
    """
    token = catalog.setting(UNOPENED)
    if token is None:
        return Unopened()
    kept = json.loads(catalog.key.decrypt(token.encode("ascii")))
    return Unopened(kept["count"], tuple(kept["paths"]))
