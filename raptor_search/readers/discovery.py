"""From paths to sources: walk the trees, look into every file, put DICOM slices together."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from raptor_search.errors import ReadError, UsageError
from raptor_search.readers.dicom_groups import SeriesGroups, look_at_dicom
from raptor_search.readers.dicomdir import dicomdir_files, is_dicomdir
from raptor_search.readers.mha import mha_files, mha_volumes
from raptor_search.readers.nifti import nifti_volumes
from raptor_search.readers.npz import npz_splits
from raptor_search.readers.sniffing import Kind, claimed_kind, sniff
from raptor_search.readers.source import UNOPENED, Refused, Skipped, Source
from raptor_search.readers.volumes4d import VolumeIndex, members
from raptor_search.readers.zips import holds_arrays, unpacked
from raptor_search.volume import Format

__all__ = ["discover"]

FORMAT_OF_CLAIM: dict[str, Format] = {"NIfTI": "nifti", "NRRD": "nrrd", "DICOM": "dicom", "npz": "npz", "MHA": "mha"}


def discover(
    paths: Sequence[Path],
    *,
    volume_index: VolumeIndex = None,
    on_file: Callable[[Path], None] | None = None,
    in_zip: bool = False,
) -> Iterator[Source | Refused | Skipped]:
    """Every volume below the paths, in sorted order; DICOM series last, when all their slices are known
    (refused, where a file beside them is damaged and may be one of their slices).

    The content decides what a file is. A file that is no scan is skipped with a reason; one that calls itself
    a scan and is none is refused. Hidden files and folders are passed over; linked folders are entered once, and
    links that lead outside of the path that was given are not followed. A zip is
    unpacked to be looked into; of a DICOMDIR that is named itself, the files are read that it names.

    Args:
        paths: files and folders.
        volume_index: which volume of a 4D file is taken.
        on_file: called with each file before it is looked at.
        in_zip: whether the paths were unpacked from a zip, in which another is not looked into.

    Raises:
        UsageError: at once, for a path that does not exist or cannot be read.
    """
    roots = _outermost([_checked(path) for path in paths])
    return _discover(roots, volume_index, on_file or (lambda _: None), in_zip=in_zip)


def _discover(
    roots: list[Path], index: VolumeIndex, on_file: Callable[[Path], None], *, in_zip: bool
) -> Iterator[Source | Refused | Skipped]:
    groups = SeriesGroups()
    visited: set[tuple[int, int]] = set()
    for root in roots:
        for found in chain(_walk(root, visited), _directory(root)):
            if isinstance(found, Skipped):
                yield found
            else:
                on_file(found)
                yield from _look_at(found, groups, index, in_zip=in_zip)
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


def _walk(root: Path, visited: set[tuple[int, int]]) -> Iterator[Path | Skipped]:
    """Every regular file at or below the path, in sorted order; links that lead outside of it are not followed."""
    top = os.path.realpath(root)
    waiting = [root]
    while waiting:
        path = waiting.pop()
        try:
            if path != root and path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(top):
                yield Skipped(path, "link that leads outside" if path.exists() else "broken link")
                continue
            status = path.stat()
            if not stat.S_ISDIR(status.st_mode):
                yield path if stat.S_ISREG(status.st_mode) else Skipped(path, "not a regular file")
                continue
            if (status.st_dev, status.st_ino) in visited:
                yield Skipped(path, "folder met before")
                continue
            visited.add((status.st_dev, status.st_ino))
            names = sorted(os.listdir(path), reverse=True)
        except OSError:
            yield Skipped(path, "broken link" if path.is_symlink() else UNOPENED)
            continue
        hidden = [name for name in names if name.startswith(".") or name == "__MACOSX"]
        yield from (Skipped(path / name, "hidden") for name in reversed(hidden))
        waiting += [path / name for name in names if name not in hidden]


def _directory(root: Path) -> Iterator[Path | Skipped]:
    """The files that a DICOMDIR names, where the root is one."""
    try:
        if root.is_file() and sniff(root) == "dicom" and is_dicomdir(root):
            files, absent = dicomdir_files(root)
            yield from files
            yield from (Skipped(root, "named by the DICOMDIR and not there") for _ in range(absent))
    except (ReadError, OSError):
        return  # refused as the file that it is


def _look_at(
    path: Path, groups: SeriesGroups, index: VolumeIndex, *, in_zip: bool
) -> Iterator[Source | Refused | Skipped]:
    claim = claimed_kind(path)
    try:
        kind = sniff(path)
        try:
            yield from _zipped(path, index, in_zip=in_zip) if kind == "zip" else _sources(path, kind, groups, index)
        except ReadError as error:
            if claim is None and kind in {None, "dicom-bare"}:
                yield Skipped(path, "not a scan")
            else:
                if error.code == "unreadable" and (kind in {"dicom", "dicom-bare"} or claim == "DICOM"):
                    groups.add_damaged(path)
                yield Refused(Source.at(path, FORMAT_OF_CLAIM[claim] if claim else "dicom"), error)
    except OSError as error:
        if claim is None:
            yield Skipped(path, UNOPENED)
        else:
            if claim == "DICOM":
                groups.add_damaged(path)
            reason = error.strerror or "input/output error"
            refused = ReadError("unreadable", f"cannot be opened: {reason}")
            yield Refused(Source(path, FORMAT_OF_CLAIM[claim], "", (path,), 0, 0), refused)


def _sources(path: Path, kind: Kind | None, groups: SeriesGroups, index: VolumeIndex) -> Iterator[Source | Skipped]:
    """What one file holds; DICOM slices go to the groups.

    Raises:
        ReadError: where it holds none, or none that can be read.
    """
    match kind:
        case "nrrd":
            yield Source.at(path, kind)
        case "nifti":
            for member in members(nifti_volumes(path), index):
                yield Source.at(path, kind, member=member)
        case "mha":
            for member in members(mha_volumes(path), index):
                yield Source.at(path, kind, member=member, files=mha_files(path))
        case "dicom" | "dicom-bare":
            found = look_at_dicom(path)
            if isinstance(found, str):
                yield Skipped(path, found)
            else:
                groups.add(found)
        case "segmentation":
            yield Skipped(path, "segmentation")
        case "nifti-pair":
            raise ReadError("unsupported", "NIfTI in two files (.hdr and .img); expected one .nii: convert it first")
        case None:
            raise _no_scan(path)


def _zipped(path: Path, index: VolumeIndex, *, in_zip: bool) -> Iterator[Source | Refused | Skipped]:
    """What a zip holds: entries of an npz, or the scans among its files, named as they lie in it.

    Raises:
        ReadError: a damaged zip, or one that unpacks to too much.
    """
    if claimed_kind(path) == "npz" or holds_arrays(path):
        for split, count in npz_splits(path).items():
            for number in range(count):
                yield Source.at(path, "npz", member=f"{split}_{number}")
        return
    if in_zip:  # one that holds itself would never end
        raise ReadError("unsupported", "a zip within a zip; expected scans: unpack it first")
    with unpacked(path) as folder:
        inside = list(discover([folder], volume_index=index, in_zip=True))
        scans = sum(not isinstance(one, Skipped) for one in inside)
        for one in inside:
            match one:
                case Source():
                    # The only scan of a zip is the zip, as where it is read by itself; beside a broken one it is not.
                    whole = replace(Source.at(path, one.format), inner=one.path_below(folder))
                    yield replace(whole, member=one.uri_below(folder), is_zipped=True) if scans > 1 else whole
                case Refused():
                    yield Refused(Source.at(path, one.source.format, member=one.source.uri_below(folder)), one.error)
                case Skipped():
                    yield Skipped(path, one.reason)
        if not inside:
            yield Skipped(path, "empty zip")


def _no_scan(path: Path) -> ReadError:
    if path.stat().st_size == 0:
        return ReadError("unreadable", "the file is empty")
    claim = claimed_kind(path) or "nothing"
    return ReadError("not-a-volume", f"the name says {claim}, the content is no NIfTI, DICOM, NRRD, MHA or npz")
