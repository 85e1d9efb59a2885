"""From paths to sources: walk the trees, look into every file, put DICOM slices together."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from raptor_search.errors import ReadError, UsageError
from raptor_search.readers.dicom_groups import SeriesGroups, look_at_dicom
from raptor_search.readers.npz import npz_splits
from raptor_search.readers.sniffing import Kind, claimed_kind, sniff
from raptor_search.readers.source import Refused, Skipped, Source
from raptor_search.readers.zips import holds_arrays
from raptor_search.volume import Format

__all__ = ["discover"]

FORMAT_OF_CLAIM: dict[str, Format] = {"NIfTI": "nifti", "NRRD": "nrrd", "DICOM": "dicom", "npz": "npz"}


def discover(
    paths: Sequence[Path], *, on_file: Callable[[Path], None] | None = None
) -> Iterator[Source | Refused | Skipped]:
    """Every volume below the paths, in sorted order; DICOM series last, when all their slices are known
    (refused, where a file beside them is damaged and may be one of their slices).

    The content decides what a file is. A file that is no scan is skipped with a reason; one that calls itself
    a scan and is none is refused. Hidden files and folders are passed over; linked folders are entered once.

    Args:
        paths: files and folders.
        on_file: called with each file before it is looked at.

    Raises:
        UsageError: at once, for a path that does not exist or cannot be read.
    """
    roots = _outermost([_checked(path) for path in paths])
    return _discover(roots, on_file or (lambda _: None))


def _discover(roots: list[Path], on_file: Callable[[Path], None]) -> Iterator[Source | Refused | Skipped]:
    groups = SeriesGroups()
    visited: set[tuple[int, int]] = set()
    for root in roots:
        for found in _walk(root, visited):
            if isinstance(found, Skipped):
                yield found
            else:
                on_file(found)
                yield from _look_at(found, groups)
    yield from groups.sources()


def _checked(path: Path) -> Path:
    if not os.path.exists(path):
        raise UsageError(f"{path}: no such file or folder")
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise UsageError(f"{path}: cannot be read; give yourself the right to read it (chmod)")
    return Path(os.path.abspath(path))


def _outermost(paths: list[Path]) -> list[Path]:
    """The paths without those that lie below, or equal, another one, in the order given."""
    given = set(paths)
    return [path for path in dict.fromkeys(paths) if given.isdisjoint(path.parents)]


def _walk(path: Path, visited: set[tuple[int, int]]) -> Iterator[Path | Skipped]:
    """Every regular file at or below the path, in sorted order."""
    try:
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            yield path if stat.S_ISREG(status.st_mode) else Skipped(path, "not a regular file")
            return
        if (status.st_dev, status.st_ino) in visited:
            yield Skipped(path, "folder met before")
            return
        visited.add((status.st_dev, status.st_ino))
        names = sorted(os.listdir(path))
    except OSError:
        yield Skipped(path, "broken link" if path.is_symlink() else "cannot be opened")
        return
    for name in names:
        if name.startswith(".") or name == "__MACOSX":
            yield Skipped(path / name, "hidden")
        else:
            yield from _walk(path / name, visited)


def _look_at(path: Path, groups: SeriesGroups) -> Iterator[Source | Refused | Skipped]:
    claim = claimed_kind(path)
    try:
        kind = sniff(path)
        try:
            yield from _sources(path, kind, groups)
        except ReadError as error:
            if claim is None and kind in {None, "dicom-bare"}:
                yield Skipped(path, "not a scan")
            else:
                if error.code == "unreadable" and (kind in {"dicom", "dicom-bare"} or claim == "DICOM"):
                    groups.add_damaged(path)
                yield Refused(Source.at(path, FORMAT_OF_CLAIM[claim] if claim else "dicom"), error)
    except OSError as error:
        if claim is None:
            yield Skipped(path, "cannot be opened")
        else:
            if claim == "DICOM":
                groups.add_damaged(path)
            reason = error.strerror or "input/output error"
            refused = ReadError("unreadable", f"cannot be opened: {reason}")
            yield Refused(Source(path, FORMAT_OF_CLAIM[claim], "", (path,), 0, 0), refused)


def _sources(path: Path, kind: Kind | None, groups: SeriesGroups) -> Iterator[Source | Skipped]:
    """What one file holds; DICOM slices go to the groups.

    Raises:
        ReadError: where it holds none, or none that can be read.
    """
    match kind:
        case "nifti" | "nrrd":
            yield Source.at(path, kind)
        case "dicom" | "dicom-bare":
            found = look_at_dicom(path)
            if isinstance(found, str):
                yield Skipped(path, found)
            else:
                groups.add(found)
        case "zip" if claimed_kind(path) == "npz" or holds_arrays(path):
            for split, count in npz_splits(path).items():
                for index in range(count):
                    yield Source.at(path, "npz", member=f"{split}_{index}")
        case "zip":
            yield Skipped(path, "zip archive (unpack it to index it)")
        case "segmentation":
            yield Skipped(path, "segmentation")
        case "nifti-pair":
            raise ReadError("unsupported", "NIfTI in two files (.hdr and .img); expected one .nii: convert it first")
        case None:
            raise _no_scan(path)


def _no_scan(path: Path) -> ReadError:
    if path.stat().st_size == 0:
        return ReadError("unreadable", "the file is empty")
    claim = claimed_kind(path) or "nothing"
    return ReadError("not-a-volume", f"the name says {claim}, the content is no NIfTI, DICOM, NRRD or npz")
