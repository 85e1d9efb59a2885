"""Embedding without an archive: vectors as `.npy` files, with the spec beside them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from indexer.embedders import embedding
from indexer.finding import find_sources
from indexer.pipeline import READERS
from indexer.progress import Progress, Silent
from indexer.read_ahead import read_ahead
from indexer.recipe import Options, refuse_without_rule
from indexer.vector_folder import VectorFolder, checked_folder
from raptor_search.errors import ReadError
from raptor_search.intensity import IntensityRule
from raptor_search.readers import Source
from raptor_search.readers.pool import ReadingPool
from raptor_search.readers.volumes4d import VolumeIndex
from raptor_search.volume import Volume

__all__ = ["export"]


def export(
    paths: Sequence[Path],
    out: Path,
    options: Options,
    progress: Progress | None = None,
    *,
    volume_index: VolumeIndex = None,
) -> tuple[list[tuple[Path, Source]], list[tuple[Source, ReadError]]]:
    """Write one flat float32 `.npy` a volume, in the published order [plane, k, token], `scans.csv` and `spec.json`.

    Args:
        paths: files and folders.
        out: folder for the vectors, made where it is absent; those of other scans that are there stay.
        options: encoder and recipe.
        progress: hears how far it is.
        volume_index: which volume of a 4D file is taken, or "all"; None refuses 4D files.

    Returns:
        The files written, each with its source, and the sources that could not be read.

    Raises:
        UsageError: a path that is not there, no scan below it, or a folder that cannot be written or holds vectors
            of another spec.
    """
    progress = progress or Silent()
    refused: list[tuple[Source, ReadError]] = []

    def refuse(source: Source, error: ReadError) -> None:
        refused.append((source, error))
        progress.quarantined(source, error)

    sources, _ = find_sources(paths, progress, refuse, volume_index)
    checked_folder(out)
    encoder, spec = options.load()
    refuse_without_rule(spec, sources)
    folder = VectorFolder(out, spec)
    written = []
    with (
        progress.embedding(len(sources)) as bar,
        ReadingPool(READERS) as pool,
        embedding(options, encoder, spec, progress=progress, bar=bar) as embedder,
    ):

        def readable() -> Iterator[tuple[Source, Volume, IntensityRule]]:
            for source, read in read_ahead(pool.read, sources, workers=pool.workers):
                if isinstance(read, ReadError):
                    refuse(source, read)
                    bar.volume_done(source.name)
                else:
                    yield source, read.scan.volume, read.rule

        for source, outcome in embedder.embed(readable()):
            if isinstance(outcome, ReadError):
                refuse(source, outcome)
            else:
                written.append((folder.add(source, outcome.vector), source))
            bar.volume_done(source.name)
    return written, refused
