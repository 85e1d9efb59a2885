"""Embedding without an archive: vectors as `.npy` files, with the spec beside them."""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from indexer.embedders import embedding
from indexer.pipeline import READERS, find_sources
from indexer.progress import Progress, Silent
from indexer.read_ahead import read_ahead
from indexer.recipe import Options, refuse_without_rule
from raptor_search.errors import ReadError, UsageError
from raptor_search.intensity import IntensityRule
from raptor_search.readers import Source
from raptor_search.readers.pool import ReadingPool
from raptor_search.readers.volumes4d import VolumeIndex
from raptor_search.specs import EmbeddingSpec
from raptor_search.volume import Volume

__all__ = ["export"]


def export(
    paths: Sequence[Path],
    out: Path,
    options: Options,
    progress: Progress | None = None,
    *,
    volume_index: VolumeIndex = None,
) -> tuple[list[Path], list[tuple[Source, ReadError]]]:
    """Write one flat float32 `.npy` a volume, in the published order [plane, k, token], and `spec.json`.

    Args:
        paths: files and folders.
        out: folder for the vectors, made where it is absent.
        options: encoder and recipe.
        progress: hears how far it is.
        volume_index: which volume of a 4D file is taken, or "all"; None refuses 4D files.

    Returns:
        The files written, and the sources that could not be read.

    Raises:
        UsageError: a path that is not there, no scan below it, or a folder that cannot be written.
    """
    progress = progress or Silent()
    refused: list[tuple[Source, ReadError]] = []

    def refuse(source: Source, error: ReadError) -> None:
        refused.append((source, error))
        progress.quarantined(source, error)

    sources, _ = find_sources(paths, progress, refuse, volume_index)
    _make_folder(out)
    encoder, spec = options.load()
    refuse_without_rule(spec, sources)
    written = []
    names = _unique_names(sources)
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
                target = out / f"{names[source]}.npy"
                _write_array(target, outcome.vector)
                written.append(target)
            bar.volume_done(source.name)
    _write_spec(out / "spec.json", spec)
    return written, refused


def _unique_names(sources: Sequence[Source]) -> dict[Source, str]:
    """A file name for each source: its own, after its folder's or file's where two would meet."""
    names = {s: s.name for s in sources}
    for level in range(1, 8):
        count = Counter(names.values())
        if max(count.values(), default=0) < 2:
            return names
        for source, name in names.items():
            parts = _folders(source)
            if count[name] > 1 and level <= len(parts):
                names[source] = f"{parts[-level]}_{name}"
    raise UsageError("two volumes would be written to one file name: embed them in two runs, each with its own --out")


def _folders(source: Source) -> tuple[str, ...]:
    """What a file name may be told apart by: the folders above a volume, or the file that holds it."""
    if source.format == "npz":
        return (*source.path.parent.parts[1:], source.path.stem)
    return (source.path if source.member else source.path.parent).parts[1:]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"--out {folder} cannot be written ({error.strerror}): give another folder") from error


def _write_array(target: Path, vector: Float32[np.ndarray, " n"]) -> None:
    partial = target.with_name(f".{target.name}.part")
    with partial.open("wb") as file:
        np.save(file, vector)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(target)


def _write_spec(target: Path, spec: EmbeddingSpec) -> None:
    document = {"fingerprint": spec.fingerprint, "shape": spec.shape, "order": "plane, component, token"}
    target.write_text(json.dumps(document | {"spec": spec.fields()}, indent=2) + "\n")
