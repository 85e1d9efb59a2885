"""From the vectors of the catalog to the index that serves: one snapshot, one file, one row.

A generation is the mean that scores are centred on. It is kept while an archive grows, so that scores do not
move; new volumes are added to a copy of the index, and removed ones taken out of it. What that does to the
index is measured as the archive grows, and where it no longer fits, mean and index are made anew. Killed at any
point, the version before serves, and the next run publishes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from raptor_search.catalog import Catalog, Generation, Ids, IndexVersion, NewIndexVersion, StoredSpec
from raptor_search.errors import CatalogError, IndexFileError
from raptor_search.index import SketchIndex, build, default_factory, is_narrowed
from raptor_search.scoring import centred
from raptor_search.searching.drift import GROWTH, outgrown, reasons
from raptor_search.searching.index_files import index_files, read_index, remove, write_index
from raptor_search.searching.measures import Measures
from raptor_search.searching.sketching import (
    centre_all,
    initial_mean,
    input_mean,
    inputs,
    prefix_blocks,
    sketch_all,
    stored_blocks,
    sum_all,
)
from raptor_search.searching.surveying import (
    NARROW_FROM,
    measured_background,
    measured_drift,
    measured_narrowing,
    measured_tuning,
    prefix_of,
)
from raptor_search.searching.truth import HELD_OUT, draw_held_out
from raptor_search.searching.tuning import Tuning

__all__ = ["EXACT_LIMIT", "publish"]

MEAN_FROM = 30
"""Volumes from which the archive's own mean is better than a shipped one: with fewer it follows single scans."""

ADDED_AT_ONCE = 10_000
"""Volumes that join an index at a time: up to 300 MB."""

EXACT_LIMIT = 2_000
"""Volumes up to which all are scored exactly, in a second or two; only above it is the index asked, and tuned."""

Rows = Sequence[int] | NDArray[np.intp]
Made = tuple[bytes, Ids, Generation]
"""An index, the volumes in it, and the mean that it is centred on."""


def publish(
    catalog: Catalog,
    home: Path,
    stored: StoredSpec,
    *,
    factory: str | None = None,
    exact_limit: int = EXACT_LIMIT,
    retrain: bool = False,
) -> IndexVersion | None:
    """Bring a spec's index up to date and make it the one that serves.

    Args:
        catalog: of the archive.
        home: its folder; the file goes below it.
        stored: the spec.
        factory: FAISS factory string to build anew with; None keeps the kind there is, or chooses by size.
        exact_limit: volumes up to which no settings are measured, because all are scored exactly.
        retrain: make the mean and the index anew from the volumes that are there, whatever serves now.

    Returns:
        The version that serves; None where nothing is embedded under the spec.

    Raises:
        IndexFileError: the file could not be written, or FAISS refuses the factory; the version before still serves.
        LockedError: another process is the writer.
    """
    with catalog.writing():
        high_water = catalog.embedding_high_water(stored.id)
        ids = catalog.ids(stored.id)
        if not ids.size:
            return None
        current = None if retrain else catalog.current_index(stored.id)
        run = _Publication(catalog, home, stored, exact_limit, high_water, ids, factory)
        return run.renew(current) if current else run.train(None, "asked for" if retrain else "the first of its spec")


@dataclass(frozen=True)
class _Publication:
    """One run of `publish`."""

    catalog: Catalog
    home: Path
    stored: StoredSpec
    exact_limit: int
    high_water: int
    ids: Ids
    factory: str | None

    def renew(self, current: IndexVersion) -> IndexVersion:
        """Bring the version that serves up to date, in the cheapest way that keeps it good."""
        generation = self.catalog.generation(current.generation_id)
        if generation.centring != "archive" and self.ids.size >= MEAN_FROM:
            return self.train(None, f"{MEAN_FROM} volumes have a mean of their own")
        index, measures = self._readable(current)
        if self.factory and (self.factory != current.factory or (measures and not measures.factory_given)):
            return self.train(generation, "another kind of index was asked for")
        if index is None or measures is None:
            return self.train(generation, "the index or its measures could not be read")
        if np.array_equal(index.ids, self.ids):
            return current
        return self._extend(current, generation, index, measures)

    def _extend(
        self, current: IndexVersion, generation: Generation, index: SketchIndex, measures: Measures
    ) -> IndexVersion:
        """The version that serves, with what it lacks and without what is gone; anew where drift asks for it."""
        if not measures.factory_given and outgrown(current.factory, self.ids.size):
            return self.train(None, f"the archive has outgrown {current.factory}")
        there = index.ids
        added, gone = np.setdiff1d(self.ids, there), np.setdiff1d(there, self.ids)
        data = self._with_added(index, generation, added, gone)
        if self.ids.size >= GROWTH * measures.measured_volumes:
            measures = self._with_drift(measures, generation, SketchIndex.from_bytes(data))
            why = reasons(measures.drift)
            if why and generation.centring == "archive":
                return self.train(None, "; ".join(why), factory=current.factory if measures.factory_given else None)
        return self._serve(data, current.factory, generation, measures)

    def _with_added(self, index: SketchIndex, generation: Generation, added: Ids, gone: Ids) -> bytes:
        """The index without what is gone, and with what it lacks: many scans in parts, since they take 30 KB each."""
        taken = np.empty((0, index.dim), np.float32)
        data = index.extended(taken, added[:0], removed=gone)
        small = input_mean(generation.mean, self.stored.spec, index.dim)
        for start in range(0, added.size, ADDED_AT_ONCE):
            parts = [
                (found, centred(inputs(vectors, self.stored.spec, index.dim), small))
                for found, vectors in stored_blocks(self.catalog, self.stored, added[start : start + ADDED_AT_ONCE])
            ]
            found, taken = (np.concatenate(part) for part in zip(*parts, strict=True))
            data = SketchIndex.from_bytes(data).extended(taken, found)
        return data

    def train(self, generation: Generation | None, why: str, *, factory: str | None = None) -> IndexVersion:
        """An index built anew, with a mean of its own where no generation is to be kept."""
        given = self.factory or factory
        chosen = given or default_factory(self.ids.size)
        # Of a few hundred scans all ask, and none can be spared.
        held_out = draw_held_out(self.ids.size) if self.ids.size > max(self.exact_limit, 2 * HELD_OUT) else ()
        is_mapped = given is None and is_narrowed(chosen) and self.ids.size > NARROW_FROM
        make = self._of_prefixes if is_mapped else self._of_sketches
        data, found, generation = make(chosen, generation, held_out)
        measures = Measures(
            tuning=Tuning(),
            factory_given=given is not None,
            trained_because=why,
            measured_volumes=found.size,
            measured_embedding=self.high_water,
            imbalance=SketchIndex.from_bytes(data).imbalance,
            background=measured_background(self.catalog, self.stored, found, generation.mean),
        )
        return self._serve(data, chosen, generation, measures)

    def _of_sketches(self, factory: str, generation: Generation | None, held_out: Rows) -> Made:
        """An index of sketches."""
        found, sketches, total = sketch_all(self.catalog, self.stored, self.ids)
        generation = generation or self._generation(found.size, total)
        centre_all(sketches, generation.mean)
        return build(sketches, found, factory=factory, held_out=held_out), found, generation

    def _of_prefixes(self, factory: str, generation: Generation | None, held_out: Rows) -> Made:
        """An index of the few numbers that a map learned from these scans makes of their first components."""
        if generation is None:
            generation = self._generation(*sum_all(self.catalog, self.stored, self.ids))
        mean = prefix_of(generation.mean, self.stored.spec)
        narrowed = measured_narrowing(self.catalog, self.stored, self.ids, generation.mean, held_out)
        found, numbers, n = np.empty(self.ids.size, np.int64), np.empty((self.ids.size, len(narrowed)), np.float32), 0
        for there, prefixes in prefix_blocks(self.catalog, self.stored, self.ids):
            found[n : n + there.size], numbers[n : n + there.size] = there, centred(prefixes, mean) @ narrowed.T
            n += there.size
        data = build(numbers[:n], found[:n], factory=factory, held_out=held_out, narrowed=narrowed)
        return data, found[:n], generation

    def _generation(self, volumes: int, total: Float64[np.ndarray, " length"]) -> Generation:
        """The mean of so many vectors of this sum, or what serves where they are too few."""
        centring, mean = initial_mean(self.stored.spec)
        if volumes >= MEAN_FROM:
            centring, mean = "archive", (total / volumes).astype(np.float32)
        return self.catalog.add_generation(self.stored.id, centring=centring, mean=mean, volumes=volumes)

    def _readable(self, current: IndexVersion) -> tuple[SketchIndex | None, Measures | None]:
        """The index that serves and its measures, each None where it is missing or damaged: then it is built again."""
        kept = self.catalog.measures(current.id)
        try:
            measures = Measures.from_stored(kept) if kept else None
            return read_index(self.home, current.file, current.sha256), measures
        except (IndexFileError, CatalogError):
            return None, None

    def _with_drift(self, measures: Measures, generation: Generation, index: SketchIndex) -> Measures:
        recent = self.catalog.newer_than(self.stored.id, measures.measured_embedding)
        setting = measures.tuning.unfiltered if self.ids.size > self.exact_limit else None
        drift = measured_drift(self.catalog, self.stored, index, generation.mean, recent, setting)
        return replace(
            measures,
            measured_volumes=self.ids.size,
            measured_embedding=self.high_water,
            drift=drift | {"imbalance": index.imbalance / measures.imbalance},
            background=measures.background
            if measures.background.size
            else measured_background(self.catalog, self.stored, index.ids, generation.mean),
        )

    def _serve(self, data: bytes, factory: str, generation: Generation, measures: Measures) -> IndexVersion:
        """Write the file, measure its settings on what was read back, make it current, drop what nobody reads."""
        file, sha256 = write_index(self.home, self.stored.fingerprint, data)
        index = read_index(self.home, file, sha256)
        if index.size > self.exact_limit and not measures.tuning.settings:
            measures = replace(measures, tuning=measured_tuning(self.catalog, self.stored, index, generation.mean))
        setting = measures.tuning.unfiltered
        version = self.catalog.publish_index(
            NewIndexVersion(
                spec_id=self.stored.id,
                generation_id=generation.id,
                file=file,
                sha256=sha256,
                factory=factory,
                volumes=index.size,
                last_embedding_id=self.high_water,
                nprobe=setting.nprobe if setting else 0,
                rerank=setting.rerank if setting else 0,
                measured_recall=setting.recall if setting else None,
            ),
            measures.to_stored(),
        )
        self.tidy()
        return version

    def tidy(self) -> None:
        """Delete what nobody reads any more: all but the last two files, and what killed writers left."""
        # Listed before the lease is looked at: a file that a later writer makes is none of these.
        there = index_files(self.home, self.stored.fingerprint)
        # A search that has just read the row of the version before may still be about to open its file.
        remove(self.home, there, keep=self.catalog.latest_files(self.stored.id, 2))
