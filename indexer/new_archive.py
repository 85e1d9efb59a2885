"""A run that fails before it has committed anything leaves no archive behind where there was none."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from raptor_search.archive import Archive
from raptor_search.catalog.database import database_url
from raptor_search.errors import LockedError, RaptorError

__all__ = ["undone_on_failure"]

DATABASE = "catalog.db"
FILES = (DATABASE, *(f"{DATABASE}{end}" for end in ("-journal", "-wal", "-shm", ".lock")), "writer.lock")
"""What making an archive writes into its folder."""


@contextmanager
def undone_on_failure(home: Path) -> Iterator[None]:
    """Take away what was made of an archive in a block that failed, where the block made it and it holds nothing.

    Archives that were there, databases elsewhere, and files that are no part of an archive are left alone. So is the
    key: another archive may have been made with it meanwhile.
    """
    absent = [folder for folder in (home, *home.parents) if not folder.exists()]
    there = set() if absent else set(os.listdir(home))
    place = database_url(home)
    is_made_here = place.get_backend_name() == "sqlite" and place.database == str(home.absolute() / DATABASE)
    try:
        yield
    except LockedError:  # another process is at it
        raise
    except BaseException:
        if is_made_here and DATABASE not in there and _holds_nothing(home):
            for name in FILES:
                if name not in there:
                    (home / name).unlink(missing_ok=True)
            for folder in absent:
                with suppress(OSError):  # somebody put something there
                    folder.rmdir()
        raise


def _holds_nothing(home: Path) -> bool:
    if not (home / DATABASE).exists():
        return True
    try:
        with Archive.open(home) as archive, archive.catalog.writing():
            return not (archive.catalog.count() or archive.catalog.quarantined() or archive.catalog.pending_erasure())
    except RaptorError:
        return False
