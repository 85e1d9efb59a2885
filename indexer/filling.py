"""From sources that were read to rows that are committed: each content is embedded once, commits run behind.

reading processes -> bounded queue -> encoder's device -> bounded queue -> committing thread
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

from indexer.behind import Behind
from indexer.loading import Loaded, new_volume
from indexer.stages import Stages
from raptor_search.catalog import Catalog, NewVolume, StoredSpec
from raptor_search.embedding import Embedding
from raptor_search.errors import ErasedError, ReadError
from raptor_search.intensity import IntensityRule
from raptor_search.places import is_gone
from raptor_search.readers import Source
from raptor_search.volume import Volume

__all__ = ["Embedder", "Heard", "fill"]

K = TypeVar("K")


class Embedder(Protocol):
    """An engine, or several."""

    def embed(
        self, items: Iterable[tuple[K, Volume, IntensityRule | None]], /
    ) -> Iterator[tuple[K, Embedding | ReadError]]:
        """The embedding of each volume, or why it has none, with the key it came with."""
        ...


class Heard(Protocol):
    """Who is told what became of each source; from one thread at a time, after it is in the catalog."""

    def touched(self, source: Source) -> None:
        """It was in the archive already; nothing was read."""

    def committed(self, source: Source, *, is_new: bool, is_shared: bool, is_moved: bool) -> None:
        """It is in the archive; a moved one lay elsewhere, and that place is gone."""

    def refused(self, source: Source, error: ReadError) -> None:
        """It is to be quarantined."""

    def erased(self, source: Source) -> None:
        """It was erased once and stays out."""

    def again(self, source: Source) -> None:
        """The vector that it was to share went away meanwhile: it must be read again."""


@dataclass(frozen=True)
class _Row:
    """What of a read source is to be committed; no voxels, so that many may wait."""

    source: Source
    new: NewVolume
    is_new: bool


def fill(
    catalog: Catalog,
    stored: StoredSpec,
    embedder: Embedder,
    loaded: Iterable[tuple[Source, Loaded | ReadError]],
    heard: Heard,
) -> Stages:
    """Embed and commit what was read; returns how long each stage took.

    Whatever ends it, what was embedded is committed.

    Raises:
        CatalogError: the database failed.
        UsageError: the device cannot be used.
    """
    started = time.perf_counter()
    with Behind(_do) as behind:
        filling = _Filling(catalog, stored, heard, behind)
        for done, outcome in embedder.embed(filling.to_embed(loaded)):
            filling.finish(done, outcome)
    return Stages(
        wall=time.perf_counter() - started,
        waiting=filling.waiting,
        blocked=behind.blocked,
        committing=behind.busy,
        reading=filling.reading,
    )


def _do(act: Callable[[], None]) -> None:
    act()


class _Filling:
    """One run's state: which contents are being embedded, and who waits for their vectors."""

    def __init__(self, catalog: Catalog, stored: StoredSpec, heard: Heard, behind: Behind[Callable[[], None]]) -> None:
        self._catalog = catalog
        self._stored = stored
        self._heard = heard
        self._behind = behind
        self._lock = threading.Lock()
        self._away: dict[str, list[_Row]] = {}
        self._met: set[str] = set()
        self.waiting = 0.0
        self.reading = 0.0

    def to_embed(
        self, loaded: Iterable[tuple[Source, Loaded | ReadError]]
    ) -> Iterator[tuple[Loaded, Volume, IntensityRule | None]]:
        """The volumes whose content has no vector yet; the others go straight to the committing thread."""
        coming = iter(loaded)
        while True:
            start = time.perf_counter()
            source, one = next(coming, (None, None))
            self.waiting += time.perf_counter() - start
            if source is None or one is None:
                return
            if isinstance(one, ReadError):
                self._behind.put(partial(self._heard.refused, source, one))
            elif one.scan is None:
                self._behind.put(partial(self._touch, one))
            elif self._was_erased(one):
                self._behind.put(partial(self._heard.erased, source))
            elif self._is_first(one):
                yield one, one.scan.volume, one.rule

    def finish(self, loaded: Loaded, outcome: Embedding | ReadError) -> None:
        """Have an embedded volume committed, and all that share its bytes."""
        row: _Row | ReadError = outcome if isinstance(outcome, ReadError) else self._row(loaded, outcome)
        self._behind.put(partial(self._settle, loaded, row))

    def _was_erased(self, loaded: Loaded) -> bool:
        """Said before a minute of work; the commit looks again, within its transaction."""
        new = self._row(loaded, None).new
        try:
            self._catalog.refuse_erased(new.content_key, new.patient_key, new.subject_key)
        except ErasedError:
            return True
        return False

    def _is_first(self, loaded: Loaded) -> bool:
        """Whether nobody embedded these bytes or is about to; else the row goes where the vector comes from."""
        self.reading += loaded.seconds
        with self._lock:
            followers = self._away.get(loaded.content_key)
            if followers is not None:
                followers.append(self._row(loaded, None))
                return False
            if self._catalog.vector_for(loaded.content_key, self._stored.id) is None:
                self._away[loaded.content_key] = []
                return True
        self._behind.put(partial(self._share, self._row(loaded, None)))
        return False

    def _row(self, loaded: Loaded, embedding: Embedding | None) -> _Row:
        new = new_volume(loaded, self._catalog.key, self._stored, embedding)
        return _Row(loaded.source, new, is_new=not loaded.was_embedded)

    def _settle(self, loaded: Loaded, row: _Row | ReadError) -> None:
        if isinstance(row, ReadError):
            self._heard.refused(loaded.source, row)
        else:
            self._commit(row, is_shared=False)
        # Only after the commit: until then the next of the same bytes must come here, not look for a vector.
        with self._lock:
            followers = self._away.pop(loaded.content_key)
        for follower in followers:
            if isinstance(row, ReadError):
                self._heard.refused(follower.source, row)
            else:
                # With the vector, as the first may have been one that stays out.
                made = {name: getattr(row.new, name) for name in ("vector", "intensity_rule", "tokens")}
                new = replace(follower.new, **made)
                self._commit(replace(follower, new=new), is_shared=True)

    def _share(self, row: _Row) -> None:
        # A source whose bytes changed may have taken its old vector with it since this one was read.
        if self._catalog.vector_for(row.new.content_key, self._stored.id) is None:
            self._heard.again(row.source)
        else:
            self._commit(row, is_shared=True)

    def _commit(self, row: _Row, *, is_shared: bool) -> None:
        moved_from = self._gone_copy(row.new) if row.is_new else None
        try:
            self._catalog.commit_volume(row.new, moved_from=moved_from)
        except ReadError as error:
            self._heard.refused(row.source, error)
        except ErasedError:
            self._heard.erased(row.source)
        else:
            self._met.add(row.source.uri)
            self._heard.committed(row.source, is_new=row.is_new, is_shared=is_shared, is_moved=moved_from is not None)

    def _gone_copy(self, new: NewVolume) -> int | None:
        """A volume of the same bytes whose place is gone: the scan was moved, and is not another one."""
        copies = self._catalog.located_at(new.content_key)
        return next((volume_id for volume_id, uri in copies if uri not in self._met and is_gone(uri)), None)

    def _touch(self, loaded: Loaded) -> None:
        if loaded.known is not None:
            self._catalog.touch(loaded.known.id, loaded.source.size, loaded.source.mtime_ns)
        self._heard.touched(loaded.source)
