"""From the vectors of the catalog to the index that serves: one snapshot, one file, one row.

A generation is the mean that scores are centred on. It is kept while an archive grows, so that scores do not
move, until the archive has doubled: then mean and index are trained again. In between, new volumes are added
to a copy of the index. Killed at any point, the version before serves, and the next run publishes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float16, Float32, Float64

from raptor_search.catalog import Catalog, Centring, Generation, Ids, IndexVersion, NewIndexVersion, StoredSpec
from raptor_search.errors import IndexFileError
from raptor_search.index import SketchIndex, build, default_factory
from raptor_search.index_files import index_files, read_index, remove, write_index
from raptor_search.reference import reference_mean
from raptor_search.scoring import centred
from raptor_search.sketch import SKETCH_LENGTH, sketch
from raptor_search.specs import EmbeddingSpec
from raptor_search.tuning import Tuning, draw_held_out, exact_neighbours, tune

__all__ = ["BLOCK", "EXACT_LIMIT", "initial_mean", "publish", "sketch_all", "unit_sketches"]

MEAN_FROM = 30
"""Volumes from which the archive's own mean is better than a shipped one: with fewer it follows single scans."""

GROWTH = 2
"""The mean and the index are trained again when the archive has grown by this factor."""

EXACT_LIMIT = 2_000
"""Volumes up to which all are scored exactly, in a second or two; only above it is the index asked, and tuned."""

BLOCK = 256
"""Vectors read at a time: 40 MB."""

Sketches = Float32[np.ndarray, "n 1024"]
Mean = Float32[np.ndarray, " m"]
"""Of `spec.length`, or without entries where nothing is subtracted."""


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
        factory: FAISS factory string to build anew with; None chooses by size, and builds anew only where it is due.
        exact_limit: volumes up to which no settings are measured, because all are scored exactly.
        retrain: make the mean and the index anew from the volumes that are there, whatever serves now.

    Returns:
        The version that serves; None where nothing is embedded under the spec.

    Raises:
        IndexFileError: the file could not be written; the version before still serves.
        LockedError: another process is the writer.
    """
    with catalog.writing():
        high_water = catalog.embedding_high_water(stored.id)
        ids = catalog.ids(stored.id)
        if not ids.size:
            return None
        run = _Publication(catalog, home, stored, exact_limit)
        current = None if retrain else catalog.current_index(stored.id)
        generation = run.lasting_generation(current, ids.size)
        index = run.readable(current) if current and generation and not factory else None
        if current and generation and index and np.isin(index.ids, ids).all():
            if index.ids.size == ids.size:
                return current
            draft = run.extend(current, generation, index, np.setdiff1d(ids, index.ids))
        else:
            draft = run.train(generation, ids, factory)
        return run.serve(draft, high_water)


def initial_mean(spec: EmbeddingSpec) -> tuple[Centring, Mean]:
    """What scores are centred on while an archive has no mean of its own: the shipped mean, else nothing."""
    mean = reference_mean(spec)
    return ("none", np.empty(0, np.float32)) if mean is None else ("reference", mean)


def unit_sketches(vectors: Float[np.ndarray, "n length"], mean: Mean) -> Sketches:
    """Sketches of raw embeddings after centring, at unit length: what the index holds and is asked with."""
    return _centred_sketches(sketch(vectors), mean)


@dataclass(frozen=True)
class _Draft:
    """An index that is built and not yet written."""

    data: bytes
    volumes: int
    factory: str
    generation: Generation
    tuning: Tuning


@dataclass(frozen=True)
class _Publication:
    """One run of `publish`."""

    catalog: Catalog
    home: Path
    stored: StoredSpec
    exact_limit: int

    def lasting_generation(self, current: IndexVersion | None, volumes: int) -> Generation | None:
        """The generation that serves, or None where one is to be made."""
        if current is None:
            return None
        generation = self.catalog.generation(current.generation_id)
        outgrown = volumes >= (GROWTH * generation.volumes if generation.centring == "archive" else MEAN_FROM)
        return None if outgrown else generation

    def readable(self, current: IndexVersion) -> SketchIndex | None:
        """The index that serves, or None where its file is missing or damaged: then it is built again."""
        try:
            return read_index(self.home, current.file, current.sha256)
        except IndexFileError:
            return None

    def extend(self, current: IndexVersion, generation: Generation, index: SketchIndex, added: Ids) -> _Draft:
        """The index that serves, with the volumes it lacks."""
        found, sketches, _ = sketch_all(self.catalog, self.stored, added)
        data = index.extended(_centred_sketches(sketches, generation.mean), found)
        tuning = Tuning(current.nprobe, current.rerank, current.measured_recall)
        return _Draft(data, index.ids.size + found.size, current.factory, generation, tuning)

    def train(self, generation: Generation | None, ids: Ids, factory: str | None) -> _Draft:
        """An index built anew, with a mean of its own where no generation lasts."""
        found, sketches, total = sketch_all(self.catalog, self.stored, ids)
        if generation is None:
            centring, mean = initial_mean(self.stored.spec)
            if found.size >= MEAN_FROM:
                centring, mean = "archive", (total / found.size).astype(np.float32)
            generation = self.catalog.add_generation(self.stored.id, centring=centring, mean=mean, volumes=found.size)
        factory = factory or default_factory(found.size)
        held_out = draw_held_out(found.size) if found.size > self.exact_limit else ()
        data = build(_centred_sketches(sketches, generation.mean), found, factory=factory, held_out=held_out)
        return _Draft(data, found.size, factory, generation, Tuning())

    def serve(self, draft: _Draft, high_water: int) -> IndexVersion:
        """Write the file, measure its settings on what was read back, make it current, drop what nobody reads."""
        file, sha256 = write_index(self.home, self.stored.fingerprint, draft.data)
        tuning = draft.tuning
        if draft.volumes > self.exact_limit and not tuning.rerank:
            tuning = self._measure(read_index(self.home, file, sha256), draft.generation.mean)
        version = self.catalog.publish_index(
            NewIndexVersion(
                spec_id=self.stored.id,
                generation_id=draft.generation.id,
                file=file,
                sha256=sha256,
                factory=draft.factory,
                volumes=draft.volumes,
                last_embedding_id=high_water,
                nprobe=tuning.nprobe,
                rerank=tuning.rerank,
                measured_recall=tuning.recall,
            )
        )
        self.tidy()
        return version

    def tidy(self) -> None:
        """Delete what nobody reads any more: all but the last two files, and what killed writers left."""
        # Listed before the lease is looked at: a file that a later writer makes is none of these.
        there = index_files(self.home, self.stored.fingerprint)
        # A search that has just read the row of the version before may still be about to open its file.
        remove(self.home, there, keep=self.catalog.latest_files(self.stored.id, 2))

    def _measure(self, index: SketchIndex, mean: Mean) -> Tuning:
        asking, vectors = self.catalog.found_vectors(index.ids[draw_held_out(index.ids.size)], self.stored.id)
        truth = exact_neighbours(_blocks(self.catalog, self.stored, index.ids), asking, centred(vectors, mean), mean)
        return tune(index, asking, unit_sketches(vectors, mean), truth)


def sketch_all(catalog: Catalog, stored: StoredSpec, ids: Ids) -> tuple[Ids, Sketches, Float64[np.ndarray, " length"]]:
    """One pass over the vectors: the ids that are there, their raw sketches, and the sum of the vectors."""
    found, sketches = [np.empty(0, np.int64)], [np.empty((0, SKETCH_LENGTH), np.float32)]
    total = np.zeros(stored.spec.length)
    for there, vectors in _blocks(catalog, stored, ids):
        found.append(there)
        sketches.append(sketch(vectors))
        total += vectors.sum(axis=0, dtype=np.float64)
    return np.concatenate(found), np.concatenate(sketches), total


def _blocks(catalog: Catalog, stored: StoredSpec, ids: Ids) -> Iterator[tuple[Ids, Float16[np.ndarray, "b length"]]]:
    return (catalog.found_vectors(ids[i : i + BLOCK], stored.id) for i in range(0, ids.size, BLOCK))


def _centred_sketches(sketches: Sketches, mean: Mean) -> Sketches:
    # The sketch is linear: centring it by the sketched mean is sketching the centred vector.
    return centred(sketches, sketch(mean[np.newaxis])[0] if mean.size else mean)
