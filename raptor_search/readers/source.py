"""What discovery finds: a source that can be read, one that was refused, or a file that is no scan."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from raptor_search.errors import ReadError
from raptor_search.volume import Format

__all__ = ["UNOPENED", "Refused", "Skipped", "Source", "StackPlace", "bare_name"]

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
    """

    path: Path
    format: Format
    member: str
    files: tuple[Path, ...]
    size: int
    mtime_ns: int
    stack: StackPlace | None = None
    is_zipped: bool = False

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

    @property
    def name(self) -> str:
        """A name for output files: the npz entry, the file without its ending, or the series' folder."""
        if self.format == "npz" and self.member:
            return self.member
        name = self.path.name if self.path.is_dir() else bare_name(self.path)
        if self.is_zipped:
            further = hashlib.sha256(self.member.encode()).hexdigest()[:8]
        else:
            further = self.stack.name if self.stack else "" if self.format == "dicom" else self.member
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
