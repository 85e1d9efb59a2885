"""From files to a published index: discover, read ahead, embed, commit one by one, publish.

Each volume is one transaction, so a run that is killed anywhere loses at most the volume in hand, and the next
run finds what is missing. Reading runs ahead of the encoder by a bounded number of volumes.
"""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from indexer.embedders import embedding
from indexer.filling import fill
from indexer.finding import LeftOut, find_sources
from indexer.joining import JoinedTables
from indexer.loading import Loader
from indexer.new_archive import undone_on_failure
from indexer.progress import Progress, Silent
from indexer.read_ahead import read_ahead
from indexer.recipe import Options, refuse_without_rule, resolve, with_weights
from indexer.stages import Stages
from raptor_search.archive import Archive
from raptor_search.catalog import StoredSpec
from raptor_search.encoders import Encoder, computing_dtype
from raptor_search.errors import ReadError, UsageError
from raptor_search.index import check_factory
from raptor_search.places import holder
from raptor_search.readers import Source
from raptor_search.readers.columns import AGE_COLUMNS, column_name
from raptor_search.readers.pool import ReadingPool
from raptor_search.readers.source import UNOPENED
from raptor_search.readers.tables import Table, find_participants, participants_below, participants_in_zip, read_table
from raptor_search.readers.volumes4d import VolumeIndex
from raptor_search.searching.selecting import missing
from raptor_search.unopened import keep_unopened

__all__ = ["READERS", "IndexReport", "index"]

READERS = 2
"""Reading processes: a slow file holds up one of them, and the encoder is fed by the other."""


@dataclass(frozen=True)
class IndexReport:
    """What a run did.

    Attributes:
        added: volumes newly committed.
        shared: of those, how many share the vector of equal bytes.
        present: volumes that were in the archive already.
        moved: of those, how many lay at another place before, which is gone.
        quarantined: sources that could not be read, with the reason.
        newly_quarantined: URIs of those that were not quarantined for it before this run, or have changed since.
        erased: sources left out because they, their bytes or their patient were erased from the archive.
        skipped: files that are no scans, counted by reason.
        skipped_paths: the first hundred of them, by reason; of those that could not be opened, all.
        matched: rows of each table that was joined in this run that met a scan.
        unmatched: how many rows of each table met none.
        unmatched_lines: the lines of these rows.
        unread: cells of each table found by itself that could not be understood, and count as missing.
        ambiguous: rows of each table that name a file by its bare name, where several have it; one alone is labelled.
        dropped: columns of each table that were not kept.
        missing: sources of the archive, below the paths where there are any, that are no longer there; 0 where the
            run was interrupted.
        version: the index version that serves now, None where nothing is embedded.
        volumes: volumes embedded under the spec after the run.
        stages: how long each stage took.
        interrupted: whether Ctrl-C ended it early; what was committed is kept and published.
    """

    added: int
    shared: int
    present: int
    quarantined: tuple[tuple[Source, ReadError], ...]
    newly_quarantined: frozenset[str]
    erased: int
    skipped: dict[str, int]
    skipped_paths: dict[str, list[str]]
    matched: dict[str, int]
    unmatched: dict[str, int]
    unmatched_lines: dict[str, tuple[int, ...]]
    unread: dict[str, int]
    ambiguous: dict[str, int]
    dropped: dict[str, tuple[str, ...]]
    moved: int
    missing: int
    version: int | None
    volumes: int
    stages: Stages
    interrupted: bool


@dataclass
class _Tally:
    added: int = 0
    shared: int = 0
    present: int = 0
    moved: int = 0
    erased: int = 0
    quarantined: list[tuple[Source, ReadError]] = field(default_factory=list)
    newly: set[str] = field(default_factory=set)
    left_out: LeftOut = field(default_factory=LeftOut)
    missing: int = 0
    has_read: bool = False
    again: list[Source] = field(default_factory=list)
    stages: Stages = field(default_factory=Stages)
    interrupted: bool = False


def index(
    paths: Sequence[Path | str],
    *,
    home: Path | str,
    options: Options | None = None,
    labels: Sequence[Path | str] = (),
    keep: Sequence[str] | None = None,
    volume_index: VolumeIndex = None,
    add_spec: bool = False,
    factory: str | None = None,
    progress: Progress | None = None,
) -> IndexReport:
    """Embed every volume under `paths` that the archive does not have yet, and publish the index.

    Args:
        paths: files and folders; with `add_spec`, none means every source that the archive knows.
        home: the archive's folder, made where it is absent.
        options: encoder and recipe; the archive's own where left open.
        labels: tables (CSV, TSV or Parquet) joined on file, series or patient.
        keep: the only columns of tables that are kept as labels; None keeps all but names, ids and dates.
        volume_index: which volume of a 4D file is taken, or "all"; None refuses 4D files.
        add_spec: embed under a second spec instead of refusing options that differ.
        factory: FAISS factory string of the index; None keeps its kind, or chooses by size.
        progress: hears how far the run is.

    Raises:
        UsageError: a path that is not there, no scan below any of them, or a factory that FAISS cannot read.
        SpecError: options that differ from the archive's spec.
        LockedError: another process is indexing into this archive.
    """
    given = [Path(p).expanduser() for p in paths]
    home = Path(home).expanduser()
    for path in given:
        if not path.exists():  # said before an archive is made for nothing
            raise UsageError(f"{path}: no such file or folder")
    if factory is not None:
        check_factory(factory)
    tables = [read_table(Path(p), keep=keep) for p in labels]
    with undone_on_failure(home), Archive.open(home, create=True) as archive, archive.writing():
        run = _Run(
            archive,
            options or Options(),
            add_spec=add_spec,
            tables=tables,
            keep=keep,
            volume_index=volume_index,
            factory=factory,
            progress=progress or Silent(),
        )
        return run.over(given)


def _check_kept(keep: Sequence[str] | None, tables: Sequence[Table]) -> None:
    columns = {name for table in tables for name in table.columns}
    unknown = [name for name in keep or () if column_name(name) not in columns and column_name(name) not in AGE_COLUMNS]
    if unknown:
        there = ", ".join(sorted(columns)) or "no table: give one by `--labels FILE`"
        raise UsageError(f"--keep {unknown[0]}: no table has such a column; expected one of {there}")


class _Run:
    """One indexing run over one archive, under one spec; hears from `fill` what became of each source."""

    def __init__(
        self,
        archive: Archive,
        options: Options,
        *,
        add_spec: bool,
        tables: list[Table],
        keep: Sequence[str] | None,
        volume_index: VolumeIndex,
        factory: str | None,
        progress: Progress,
    ) -> None:
        self.archive = archive
        self.catalog = archive.catalog
        self.options = with_weights(archive, options)
        self.add_spec = add_spec
        self.tables = tables
        self.keep = keep
        self.volume_index = volume_index
        self.factory = factory
        self.progress = progress
        self.tally = _Tally()
        self.before = {r.source_key: (r.size, r.mtime_ns, r.code) for r in self.catalog.quarantined()}

    def over(self, paths: list[Path]) -> IndexReport:
        encoder, spec = resolve(self.archive, self.options, add_spec=self.add_spec)  # a walk may take an hour
        sources = self._find(paths) if paths else self._find_known()
        if paths:
            keep_unopened(self.catalog, self.tally.left_out.paths.get(UNOPENED, []))
        beside = {table for path in paths if (table := find_participants(path)) is not None}
        own = {table.path.resolve() for table in self.tables}
        found = [read_table(path, strict=False, keep=self.keep) for path in sorted(beside) if path.resolve() not in own]
        own |= {path.resolve() for path in beside}
        below: dict[Path, bytes | None] = dict.fromkeys(
            {path.resolve() for path in participants_below(paths, sources)} - own
        )
        found += self._read_below(below | self._in_zips(sources))
        _check_kept(self.keep, [*self.tables, *found])
        refuse_without_rule(spec, sources)
        stored = self.catalog.add_spec(spec, self._provenance(encoder))
        self.archive.use_encoder(stored, encoder, weights=self.options.weights)
        joined = JoinedTables(self.archive, stored, paths, given=self.tables, found=found)
        try:
            self._embed_all(sources, encoder, stored, joined)
            joined.remember()
            self._release_mended(paths)
            if paths:
                self.tally.missing = missing(self.catalog, paths)
        except KeyboardInterrupt:
            self.tally.interrupted = True
        with self.progress.publishing():
            version = self.archive.publish(spec.fingerprint, factory=self.factory)
        return self._report(stored, version, joined)

    def _in_zips(self, sources: list[Source]) -> dict[Path, bytes | None]:
        tables: dict[Path, bytes | None] = {}
        for path in {source.path for source in sources if source.is_zipped or source.inner}:
            try:
                tables |= participants_in_zip(path)
            except UsageError as error:
                self.progress.notice(f"{path}: its scans go without a table: {error.message}")
        return tables

    def _read_below(self, tables: dict[Path, bytes | None]) -> list[Table]:
        """The tables of the data sets within an archive; one that cannot be read costs its own data set alone."""
        found = []
        for path in sorted(tables):
            try:
                found.append(read_table(path, strict=False, keep=self.keep, content=tables[path]))
            except UsageError as error:
                self.progress.notice(f"{path.parent}: its scans go without a table: {error.message}")
        return found

    def _find(self, paths: list[Path]) -> list[Source]:
        sources, self.tally.left_out = find_sources(paths, self.progress, self._quarantine, self.volume_index)
        return sources

    def _find_known(self) -> list[Source]:
        """The archive's own sources, those that are still there."""
        if not self.add_spec:
            raise UsageError("no PATH given: name the files or folders to index")
        known = {uri for _, uri in self.catalog.located()}
        holders = sorted({path for uri in known if (path := holder(uri)).exists()})
        if not holders:
            raise UsageError(f"{self.archive.home}: none of its {len(known)} sources is there: name a PATH")
        self.volume_index = "all"
        sources = [source for source in self._find(holders) if source.uri in known]
        self.tally.missing = len(known) - len(sources)
        return sources

    def _release_mended(self, paths: list[Path]) -> None:
        """End the quarantine of sources below the paths that were not refused this time: mended, or gone."""
        key = self.archive.key
        refused = {key.digest("source", source.uri) for source, _ in self.tally.quarantined}
        roots = [path.resolve() for path in paths]
        self.catalog.release(
            [
                record.source_key
                for record in self.catalog.quarantined()
                if record.source_key not in refused and any(holder(record.locator).is_relative_to(r) for r in roots)
            ]
        )

    def _provenance(self, encoder: Encoder) -> dict[str, str]:
        devices = self.options.devices if len(self.options.devices) > 1 else (str(encoder.device),)
        dtype = computing_dtype(encoder.card, devices[0], self.options.computes_in)
        packages = ("raptor-search", "torch", "transformers", "numpy")
        return {"device": ",".join(devices), "dtype": dtype} | {
            name: importlib.metadata.version(name) for name in packages
        }

    def _embed_all(self, sources: list[Source], encoder: Encoder, stored: StoredSpec, joined: JoinedTables) -> None:
        loader = Loader(self.archive, stored, joined)
        todo = [s for s in sources if not loader.is_present(s)]
        self.tally.present += len(sources) - len(todo)
        todo = self._not_erased(todo)
        with (
            self.progress.embedding(len(todo)) as bar,
            ReadingPool(READERS) as pool,
            embedding(self.options, encoder, stored.spec, progress=self.progress, bar=bar) as embedder,
        ):
            self.bar = bar
            while todo:
                read = read_ahead(partial(loader.load, pool), todo, workers=pool.workers)
                self.tally.again = []
                self.tally.stages += fill(self.catalog, stored, embedder, read, self)
                todo = self.tally.again

    def _not_erased(self, sources: list[Source]) -> list[Source]:
        keys = [self.archive.key.digest("source", source.uri) for source in sources]
        erased = self.catalog.erased(keys)
        self.tally.erased += sum(key in erased for key in keys)
        return [source for source, key in zip(sources, keys, strict=True) if key not in erased]

    def touched(self, source: Source) -> None:
        """It was in the archive already; nothing was read."""
        self.tally.present += 1
        self.bar.volume_done(source.name)

    def committed(self, source: Source, *, is_new: bool, is_shared: bool, is_moved: bool) -> None:
        """It is in the archive."""
        self.tally.has_read = True
        self.tally.moved += is_moved
        if is_new and not is_moved:
            self.tally.added += 1
            self.tally.shared += is_shared
        else:
            self.tally.present += 1
        self.bar.volume_done(source.name)

    def refused(self, source: Source, error: ReadError) -> None:
        """It is quarantined."""
        self._quarantine(source, error)
        self.bar.volume_done(source.name)

    def erased(self, source: Source) -> None:
        """It was erased once and stays out."""
        self.tally.erased += 1
        self.bar.volume_done(source.name)

    def again(self, source: Source) -> None:
        """The vector that it was to share went away meanwhile: it is read again at the end."""
        self.tally.again.append(source)

    def _quarantine(self, source: Source, error: ReadError) -> None:
        key = self.archive.key
        if not self._not_erased([source]):
            return
        source_key = key.digest("source", source.uri)
        is_new = self.before.get(source_key) != (source.size, source.mtime_ns, error.code)
        self.catalog.quarantine(
            source_key,
            locator=source.uri,
            size=source.size,
            mtime_ns=source.mtime_ns,
            code=error.code,
            reason=error.message,
        )
        self.tally.quarantined.append((source, error))
        if is_new:
            self.tally.newly.add(source.uri)
        self.progress.quarantined(source, error, is_new=is_new)

    def _report(self, stored: StoredSpec, version: int | None, joined: JoinedTables) -> IndexReport:
        tables = joined.all if self.tally.has_read else []
        return IndexReport(
            added=self.tally.added,
            shared=self.tally.shared,
            present=self.tally.present,
            quarantined=tuple(self.tally.quarantined),
            newly_quarantined=frozenset(self.tally.newly),
            erased=self.tally.erased,
            skipped=dict(self.tally.left_out.counts),
            skipped_paths=dict(self.tally.left_out.paths),
            matched={str(t.path): len(t.matched) for t in tables},
            unmatched={str(t.path): len(t.unmatched) for t in tables},
            unmatched_lines={str(t.path): t.unmatched for t in tables},
            unread={str(t.path): t.unread for t in tables},
            ambiguous={str(t.path): len(t.ambiguous) for t in tables},
            dropped={str(t.path): t.dropped for t in tables},
            moved=self.tally.moved,
            missing=self.tally.missing,
            version=version,
            volumes=self.catalog.count(stored.id),
            stages=self.tally.stages,
            interrupted=self.tally.interrupted,
        )
