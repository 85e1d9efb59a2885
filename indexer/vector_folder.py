"""A folder of vectors: one `.npy` a scan, `scans.csv` that says which scan each is of, `spec.json` how they were made.

A folder holds vectors of one spec. A file's name depends on its scan alone, so that runs into one folder never write
over one another's, and the same scan is written under the same name again.
"""

import csv
import hashlib
import io
import json
import os
import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from raptor_search.errors import UsageError
from raptor_search.readers import Source
from raptor_search.specs import EmbeddingSpec

__all__ = ["SCANS", "SPEC", "VectorFolder", "checked_folder"]

SPEC = "spec.json"
SCANS = "scans.csv"
COLUMNS = ["file", "source"]

NAME_DIGITS = 12
"""Hex digits of a source's hash in a file's name: two of a million scans of one name meet once in 500 such folders."""


class VectorFolder:
    """The folder, open for vectors of one spec.

    Args:
        folder: it is there, and can be written (`checked_folder`).
        spec: of all vectors.

    Raises:
        UsageError: on construction, where it holds vectors of another spec, or of one that it does not name.
    """

    def __init__(self, folder: Path, spec: EmbeddingSpec) -> None:
        self._folder = folder
        _refuse_other(folder, spec)
        self._sources = _read_scans(folder / SCANS)
        text = _lines([COLUMNS, *([file, source] for file, source in self._sources.items())])
        _write(folder / SCANS, os.fsencode(text))  # without the line that a killed run left unfinished
        document = {"fingerprint": spec.fingerprint, "shape": spec.shape, "order": "plane, component, token"}
        _write(folder / SPEC, (json.dumps(document | {"spec": spec.fields()}, indent=2) + "\n").encode())

    def add(self, source: Source, vector: Float32[np.ndarray, " n"]) -> Path:
        """Write the vector of a scan, in the place of the one that this scan had; returns the file.

        Raises:
            UsageError: another scan has the file's name.
        """
        file = _name(source)
        target = self._folder / file
        if self._sources.get(file, source.uri) != source.uri:
            raise UsageError(f"{target} is the vector of another scan: give another folder")
        if file not in self._sources:
            # The line first: a vector without one could be of any scan.
            with (self._folder / SCANS).open("ab") as table:
                table.write(os.fsencode(_lines([[file, source.uri]])))
                table.flush()
                os.fsync(table.fileno())
            self._sources[file] = source.uri
        data = io.BytesIO()
        np.save(data, vector)
        _write(target, data.getvalue())
        return target


def checked_folder(folder: Path) -> Path:
    """The folder, made where it is absent.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"--out {folder} cannot be written ({error.strerror}): give another folder") from error
    return folder


def _refuse_other(folder: Path, spec: EmbeddingSpec) -> None:
    path = folder / SPEC
    if not path.exists():
        if any(folder.glob("*.npy")):
            raise UsageError(f"--out {folder} holds .npy files and no {SPEC} that says what they are: give another")
        return
    try:
        fingerprint = json.loads(path.read_text())["fingerprint"]
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{path} is not one that `raptor embed` wrote: give another --out") from None
    if fingerprint != spec.fingerprint:
        raise UsageError(
            f"--out {folder} holds vectors of another spec ({str(fingerprint)[:12]}, asked {spec.fingerprint[:12]}), "
            "and two are never mixed: give another folder"
        )


def _read_scans(path: Path) -> dict[str, str]:
    """The source of each file; a last line without an end was being written when its run was killed."""
    if not path.exists():
        return {}
    whole, end, _ = os.fsdecode(path.read_bytes()).rpartition("\n")
    rows = list(csv.reader(io.StringIO(whole + end, newline="")))
    if rows and rows[0] != COLUMNS:
        raise UsageError(f"{path}: expected the columns {', '.join(COLUMNS)}: give another --out")
    return {row[0]: row[1] for row in rows[1:] if len(row) == len(COLUMNS)}


def _name(source: Source) -> str:
    digest = hashlib.sha256(os.fsencode(source.uri)).hexdigest()
    return f"{source.name}_{digest[:NAME_DIGITS]}.npy"


def _lines(rows: list[list[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _write(target: Path, data: bytes) -> None:
    partial = target.with_name(f".{target.name}.part")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(target)
