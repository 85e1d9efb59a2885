"""A drawn archive on each database, made once a module and copied for every test that changes it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from raptor_search.archive import Archive
from tests.archives import Drawn, DrawnArchive, drawn_archive, opened_archive
from tests.databases import Postgres

__all__ = ["Kept", "copied", "kept_archive"]


@dataclass(frozen=True)
class Kept:
    """A closed archive that nobody changes; `url` is None where it lies in SQLite's file."""

    home: Path
    url: str | None
    drawn: Drawn


def kept_archive(home: Path, server: Postgres | None, fill: Callable[[DrawnArchive], Drawn]) -> Kept:
    """Make an archive, on the server where one is given."""
    url = server.create() if server else None
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAPTOR_DATABASE_URL", raising=False)
        if url:
            patch.setenv("RAPTOR_DATABASE_URL", url)
        made = drawn_archive(home)
        drawn = fill(made)
        made.catalog.close()
    return Kept(home, url, drawn)


@contextmanager
def copied(kept: Kept, server: Postgres | None, home: Path) -> Iterator[tuple[Archive, DrawnArchive, Drawn]]:
    """A copy that is free to be changed; `RAPTOR_DATABASE_URL` names its database meanwhile."""
    url = server.create(kept.url) if server and kept.url else None
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAPTOR_DATABASE_URL", raising=False)
        if url:
            patch.setenv("RAPTOR_DATABASE_URL", url)
        shutil.copytree(kept.home, home)
        opened = opened_archive(home)
        with Archive(opened.home, opened.catalog.key, opened.catalog) as archive:
            yield archive, opened, kept.drawn
    if server and url:
        server.drop(url)
