"""What answers a query: the version that serves, loaded once, and who passes a filter, asked once.

Both are kept until the catalog changes. Whether it has is a question of two rows, asked by every search: what is
committed is found at once, and what is not asked again costs nothing.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from raptor_search.catalog import Catalog, Centring, Ids, IndexVersion, Moment, StoredSpec
from raptor_search.errors import CatalogError, IndexFileError
from raptor_search.filters import Filter
from raptor_search.index import Selection, SketchIndex
from raptor_search.searching.index_files import read_index
from raptor_search.searching.measures import Measures
from raptor_search.searching.region_sketch import RegionSketches
from raptor_search.searching.sketching import initial_mean, input_mean
from raptor_search.searching.tuning import Tuning

__all__ = ["IndexCache", "Passing", "Serving"]

KEPT_FILTERS = 16
"""Filters whose scans are remembered: each takes 8 bytes a scan that passes, and a bit a scan."""


LISTED_UP_TO = 10_000
"""Scans of an archive up to which they are listed even where all pass."""


@dataclass(frozen=True, eq=False)
class Passing:
    """The scans that pass a filter.

    Attributes:
        count: how many.
        ids: which, sorted; None where all pass, and nobody has asked which they are.
        selection: the same for the index.
    """

    count: int
    ids: Ids | None
    selection: Selection

    def holds(self, ids: Ids) -> Ids:
        """Those of some embedded scans that pass."""
        return ids[self.passes(ids)] if ids.size else ids

    def passes(self, ids: Ids) -> Bool[np.ndarray, " n"]:
        """Whether each of some embedded scans does."""
        if self.ids is None:
            return np.ones(ids.size, np.bool_)
        if not self.ids.size:
            return np.zeros(ids.size, np.bool_)
        passing: Bool[np.ndarray, " n"] = self.ids.take(np.searchsorted(self.ids, ids), mode="clip") == ids
        return passing


@dataclass(frozen=True, eq=False)
class Serving:
    """What answers a query.

    Attributes:
        moment: of the catalog that it is of.
        version: the current one, or None.
        index: its index, where the file is sound.
        centring: what is subtracted.
        mean: that is subtracted.
        small_mean: what is subtracted of what the index is asked with.
        tuning: settings of the index; none where nothing was measured.
        background: quantiles of unrelated scores.
        notes: what is wrong, one sentence each.
    """

    moment: Moment
    version: IndexVersion | None
    index: SketchIndex | None
    centring: Centring
    mean: Float32[np.ndarray, " m"]
    small_mean: Float32[np.ndarray, " s"] = field(default_factory=lambda: np.empty(0, np.float32))
    tuning: Tuning = field(default_factory=Tuning)
    background: Float32[np.ndarray, " q"] = field(default_factory=lambda: np.empty(0, np.float32))
    notes: tuple[str, ...] = ()


def _asked_for(catalog: Catalog, stored: StoredSpec, where: Filter | None) -> Passing:
    if where is not None:
        ids = catalog.ids(stored.id, where)
        return Passing(ids.size, ids, Selection.of(ids))
    count = catalog.count(stored.id)
    if count > LISTED_UP_TO:
        return Passing(count, None, Selection())
    ids = catalog.ids(stored.id)
    return Passing(ids.size, ids, Selection())


class IndexCache:
    """What this process has loaded of an archive's indexes: each file is read and hashed once. Threads may share it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._serving: dict[int, Serving] = {}
        self._passing: OrderedDict[tuple[int, Filter | None], tuple[int, Passing]] = OrderedDict()
        self._newer: dict[int, tuple[tuple[int, int], Ids]] = {}
        self._regions: dict[int, tuple[int, RegionSketches]] = {}

    def get(self, version: IndexVersion) -> SketchIndex:
        """The index of a published version.

        Raises:
            IndexFileError: the file is missing or damaged.
        """
        with self._lock:
            held = self._serving.get(version.spec_id)
        if held and held.index and held.version and held.version.file == version.file:
            return held.index
        return read_index(self._home, version.file, version.sha256)

    def serving(self, catalog: Catalog, stored: StoredSpec) -> Serving:
        """What answers queries under a spec now; loaded where it is not yet, or a newer version serves."""
        moment = catalog.moment(stored.id)
        with self._lock:
            held = self._serving.get(stored.id)
        if held and held.index and held.moment.version_id == moment.version_id:
            return held if held.moment == moment else replace(held, moment=moment)
        found = self._load(catalog, stored, moment)
        if found.index:
            with self._lock:
                self._serving[stored.id] = found
        return found

    def passing(self, catalog: Catalog, stored: StoredSpec, where: Filter | None, moment: Moment) -> Passing:
        """The scans that pass a filter.

        Raises:
            QueryError: the filter names a column that is not there, or compares it with another type.
        """
        place = (stored.id, where)
        with self._lock:
            revision, passing = self._passing.get(place, (-1, None))
            if passing and revision == moment.revision:
                self._passing.move_to_end(place)
                return passing
        found = _asked_for(catalog, stored, where)
        with self._lock:
            self._passing[place] = (moment.revision, found)
            self._passing.move_to_end(place)
            while len(self._passing) > KEPT_FILTERS:
                self._passing.popitem(last=False)
        return found

    def newer(self, catalog: Catalog, stored: StoredSpec, serving: Serving) -> Ids:
        """The scans that the index does not hold yet, sorted."""
        assert serving.version is not None
        now = (serving.moment.revision, serving.version.id)
        with self._lock:
            held = self._newer.get(stored.id)
        if held and held[0] == now:
            return held[1]
        found = catalog.newer_than(stored.id, serving.version.last_embedding_id)
        with self._lock:
            self._newer[stored.id] = (now, found)
        return found

    def region_sketches(self, catalog: Catalog, stored: StoredSpec, moment: Moment) -> RegionSketches:
        """Block sketches of all scans, made by one pass over their first components where the catalog has changed."""
        with self._lock:
            revision, held = self._regions.get(stored.id, (-1, None))
        if held is None or revision != moment.revision:
            held = (held or RegionSketches.none(stored.spec)).brought_up(catalog, stored)
            with self._lock:
                self._regions[stored.id] = (moment.revision, held)
        return held

    def _load(self, catalog: Catalog, stored: StoredSpec, moment: Moment) -> Serving:
        row = catalog.serving(stored.id)
        if row is None:
            note = "no index is published yet, every scan was scored: `raptor status` says how to go on"
            centring, mean = initial_mean(stored.spec)
            return Serving(moment, None, None, centring, mean, notes=(note,))
        version, generation = row
        moment = replace(moment, version_id=version.id)
        found = Serving(moment, version, None, generation.centring, generation.mean)
        try:
            kept = catalog.measures(version.id)
            measures = Measures.from_stored(kept) if kept else None
            index = read_index(self._home, version.file, version.sha256)
        except (IndexFileError, CatalogError) as error:
            later = catalog.current_index(stored.id)
            if later is None or later.id != version.id:  # published, and the older file removed, since the row was read
                return self._load(catalog, stored, catalog.moment(stored.id))
            return replace(found, notes=(f"{error.message}: every scan was scored; run `raptor index` to mend it",))
        small = input_mean(generation.mean, stored.spec, index.dim)
        if measures is None:
            note = "nothing was measured on the index: every scan was scored; run `raptor index` to mend it"
            return replace(found, index=index, small_mean=small, notes=(note,))
        return replace(found, index=index, small_mean=small, tuning=measures.tuning, background=measures.background)
