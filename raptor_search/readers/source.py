"""What discovery finds: a source that can be read, one that was refused, or a file that is no scan."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from raptor_search.errors import ReadError
from raptor_search.volume import Format

__all__ = ["UNOPENED", "Refused", "Skipped", "Source", "StackPlace", "Unpacked", "bare_name"]

DOUBLE_ENDINGS = (".nii.gz", ".seg.nrrd")


@dataclass(frozen=True)
class StackPlace:
    """Which of the volumes of one series a source is.

    Attributes:
        name: stable for the same files, such as "echo-2".
        number: from 1.
        count: volumes of the series.
        by: what they differ by, such as "echo" or "b-value, direction".
        t: which volume in time, from 0; None where they differ by something else.
    """

    name: str
    number: int
    count: int
    by: str
    t: int | None = None


@dataclass(frozen=True)
class Unpacked:
    """A zip that lies unpacked in a folder for a while.

    Attributes:
        file: the zip.
        folder: what is in it.
    """

    file: Path
    folder: Path

    def place(self, path: Path) -> Path:
        """The place in the zip, as if that were a folder, of what lies in the folder."""
        return self.file / path.relative_to(self.folder)

    def on_disk(self, place: Path) -> Path:
        """What lies on the disk of such a place; of any other, itself."""
        return self.folder / place.relative_to(self.file) if place.is_relative_to(self.file) else place


@dataclass(frozen=True)
class Source:
    """Where one volume lies.

    Attributes:
        path: the file, or the folder that holds a DICOM series.
        format: the kind of file.
        member: which of the volumes at `path`: "" for the only one, "train_0" for an entry of an npz,
            "t3" for volume 3 of a 4D NIfTI, the SeriesInstanceUID for DICOM.
        files: every file that belongs to it, in sorted order.
        size: bytes of all files together.
        mtime_ns: the latest change of any file.
        stack: which volume of a DICOM series; None where the series is one.
        is_zipped: whether `path` is a zip of several scans and `member` the place of one of them within it.
        inner: the file or folder within a zip, also of its only scan; "" where that is the zip's top.
        unpacked: the zip that it was unpacked from, for as long as it lies on the disk.
    """

    path: Path
    format: Format
    member: str
    files: tuple[Path, ...]
    size: int
    mtime_ns: int
    stack: StackPlace | None = None
    is_zipped: bool = False
    inner: str = ""
    unpacked: Unpacked | None = None

    @classmethod
    def at(cls, path: Path, kind: Format, *, member: str = "", files: tuple[Path, ...] = ()) -> "Source":
        """The source at `path`, with size and time taken from its files.

        Raises:
            OSError: where a file is gone.
        """
        files = files or (path,)
        stats = [file.stat() for file in files]
        return cls(
            path, kind, member, files, sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats)
        )

    @property
    def uri(self) -> str:
        """The absolute path, and "#member" where one path holds several volumes. Holds raw identifiers."""
        stack = f"@{self.stack.name}" if self.stack else ""
        return f"{self.path}#{self.member}{stack}" if self.member else str(self.path)

    def uri_below(self, folder: Path) -> str:
        """The URI as it reads from a folder above, such as "000012#t3": the same wherever the folder lies."""
        return os.path.relpath(self.path, folder) + self.uri[len(str(self.path)) :]

    def path_below(self, folder: Path) -> str:
        """The path as it reads from a folder above; "" where it is that."""
        below = os.path.relpath(self.path, folder)
        return "" if below == os.curdir else below

    @property
    def place(self) -> Path:
        """Where its names are: the path, and of a scan in a zip that within it, as if the zip were a folder."""
        return self.unpacked.place(self.path) if self.unpacked else self.path / self.inner

    @property
    def own_member(self) -> str:
        """The member of the file itself, where that lies in a zip with others: "t3" of "sub-01/scan.nii#t3"."""
        return self.member[len(self.inner or ".") :].removeprefix("#") if self.is_zipped else self.member

    @property
    def name(self) -> str:
        """A name for output files: the npz entry, the file without its ending, or the series' folder."""
        if self.format == "npz" and self.member:
            return self.own_member
        if self.is_zipped and self.format == "dicom":
            return f"{bare_name(self.path)}_{hashlib.sha256(self.member.encode()).hexdigest()[:8]}"
        place = self.place if self.is_zipped else self.path
        name = place.name if place.is_dir() else bare_name(place)
        further = self.stack.name if self.stack else "" if self.format == "dicom" else self.own_member
        return f"{name}_{further}" if further else name


def bare_name(path: Path) -> str:
    """The file's name without its ending, "NAME" for "NAME.nii.gz" as for "NAME.nii"."""
    lower = path.name.lower()
    for ending in DOUBLE_ENDINGS:
        if lower.endswith(ending):
            return path.name[: -len(ending)]
    return path.stem


@dataclass(frozen=True)
class Refused:
    """A scan that cannot be read, known from its header alone; the indexer quarantines it."""

    source: Source
    error: ReadError


UNOPENED = "cannot be opened"
"""Why a file or folder was skipped that the system does not let this user read: there may be scans in it."""


@dataclass(frozen=True)
class Skipped:
    """A file that is no scan, and why in a few words (never an error)."""

    path: Path
    reason: str
