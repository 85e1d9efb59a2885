"""The second half of an erasure: nothing derived from what was erased stays in the archive's files.

The rows go in one transaction (`Catalog.erase`), which also says that this is due. A mean holds a share of every
vector, and a trained index its shape: both are made anew. Killed anywhere, the next writer begins again here.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from raptor_search.catalog import Catalog
from raptor_search.catalog.schema import BACKUP_FOLDER
from raptor_search.errors import CatalogError
from raptor_search.searching.index_files import index_files, remove
from raptor_search.searching.publishing import publish

__all__ = ["Step", "purge"]

Step = Callable[[str, int, int], None]
"""Hears what is being done, how many steps of it are done, and how many there are."""


def purge(catalog: Catalog, home: Path, progress: Step) -> bool:
    """Finish the erasures that are pending; False where there is none.

    Raises:
        IndexFileError, CatalogError: the disk is full or the database busy; the erasure stays pending.
        LockedError: another process is the writer.
    """
    with catalog.writing():
        pending = catalog.pending_erasure()
        if pending is None:
            return False
        specs = [stored for stored in catalog.specs() if stored.id in pending]
        steps = len(specs) + 2
        for done, stored in enumerate(specs):
            progress("Training without what was erased", done, steps)
            publish(catalog, home, stored, retrain=True)
            there = index_files(home, stored.fingerprint)
            remove(home, there, keep=catalog.forget_older_versions(stored.id))
        progress("Deleting the copies of earlier upgrades", len(specs), steps)
        _delete_copies(home / BACKUP_FOLDER)
        progress("Writing the tables anew", len(specs) + 1, steps)
        catalog.end_erasure()
        progress("Writing the tables anew", steps, steps)
        return True


def _delete_copies(folder: Path) -> None:
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise CatalogError(
            f"{error.filename or folder} still holds what was erased and could not be deleted ({error.strerror}): "
            "give yourself the right to, and run `raptor erase` again"
        ) from error
