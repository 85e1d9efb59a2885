"""Vectors that another method made of the same scans, from an npz file, put in the order of the archive's scans.

Two layouts are read. By name: `vectors` (n, d) and `files` (n), each the path or file name of a scan as the archive
knows it, for an entry of a MedMNIST file "NAME.npz#train_0" or "train_0". Or as MedMNIST splits: `train`, `val`,
`test`, each (n, d) in the order of that split.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Real

from raptor_search.errors import UsageError

__all__ = ["read_other_vectors"]

SPLITS = ("train", "val", "test")

EXPECTED = "expected numpy.savez of `vectors` (n, d) with `files` (n), or of `train`, `val` and `test` (n, d)"

LARGEST = 1e12
"""Inner products of vectors of such numbers still fit into float32."""

READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
"""By version of the npy format."""


def read_other_vectors(path: Path, sources: Sequence[str]) -> Real[np.ndarray, "n d"]:
    """The vectors of these scans, in this order.

    Args:
        path: the npz file.
        sources: where the archive's scans came from: absolute paths, "#member" behind those of several volumes.

    Raises:
        UsageError: the file cannot be read, has another layout, lacks a scan or names one twice, or its vectors are
            not finite, or too large.
    """
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files if name in ("vectors", "files", *SPLITS)}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        if objects := _of_objects(path):
            raise UsageError(
                f"{path}: `{objects}` holds Python objects, which are not read; "
                "write np.array(names, dtype=str), or numbers for vectors"
            ) from error
        raise UsageError(f"{path} cannot be read as an npz file of vectors; {EXPECTED}") from error
    named = _by_name(path, arrays)
    rows = [_row(named, source) for source in sources]
    absent = [source for source, row in zip(sources, rows, strict=True) if row is None]
    if absent:
        raise UsageError(
            f"{path} lacks {len(absent)} of {len(sources)} scans, such as {_short(absent[0])}; expected a vector each"
        )
    vectors = named.vectors[[row for row in rows if row is not None]]
    if not np.isfinite(vectors).all():
        raise UsageError(f"{path}: some numbers of its vectors are not finite; mend them and try again")
    if np.abs(vectors.astype(np.float64)).max(initial=0) > LARGEST:
        raise UsageError(f"{path}: some numbers of its vectors are beyond {LARGEST:g}; scale them and try again")
    return vectors


def _of_objects(path: Path) -> str | None:
    """The name of an array of Python objects in an npz file, told from its header; None where it has none."""
    try:
        with zipfile.ZipFile(path) as held:
            for name in held.namelist():
                if name.removesuffix(".npy") not in ("vectors", "files", *SPLITS):
                    continue
                with held.open(name) as stream:
                    header = READ_HEADER[np.lib.format.read_magic(stream)](stream)
                if header[2].hasobject:
                    return name.removesuffix(".npy")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError):
        pass  # damaged in another way, which the caller says
    return None


class _Named:
    """Rows of a matrix by name; None where a name stands for several."""

    def __init__(self, vectors: Real[np.ndarray, "n d"], names: Sequence[str]) -> None:
        self.vectors = vectors
        self.rows: dict[str, int | None] = {}
        for row, name in enumerate(names):
            self.rows[name] = None if name in self.rows else row


def _by_name(path: Path, arrays: dict[str, np.ndarray]) -> _Named:
    if {"vectors", "files"} <= arrays.keys():
        vectors, files = arrays["vectors"], arrays["files"]
        if vectors.ndim != 2 or files.shape != (len(vectors),):
            raise UsageError(f"{path}: vectors of shape {vectors.shape} for files of shape {files.shape}; {EXPECTED}")
        names = [str(name) for name in files]
    else:
        there = [split for split in SPLITS if split in arrays]
        if not there or any(arrays[split].ndim != 2 for split in there):
            raise UsageError(f"{path} holds no vectors; {EXPECTED}")
        if len({arrays[split].shape[1] for split in there}) != 1:
            raise UsageError(f"{path}: the splits have vectors of different lengths; {EXPECTED}")
        vectors = np.concatenate([arrays[split] for split in there])
        names = [f"{split}_{n}" for split in there for n in range(len(arrays[split]))]
    if vectors.dtype.kind not in "fiu" or not vectors.shape[1]:
        what = f"type {vectors.dtype}" if vectors.shape[1] else "length 0"
        raise UsageError(f"{path}: vectors of {what}; {EXPECTED} of numbers")
    return _Named(vectors, names)


def _row(named: _Named, source: str) -> int | None:
    """The row of a scan: by its whole path, else by its file's name, else by its entry's."""
    file = source.replace("\\", "/").rpartition("/")[2]
    return next((named.rows[key] for key in (source, file, source.rpartition("#")[2]) if key in named.rows), None)


def _short(source: str) -> str:
    return source.replace("\\", "/").rpartition("/")[2]
