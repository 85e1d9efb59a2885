"""Which DICOM files are images of a volume, and which of them belong together."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from raptor_search.errors import ReadError
from raptor_search.readers.dicom_files import parse_dicom, pydicom_failures
from raptor_search.readers.source import Refused, Source

__all__ = ["SeriesGroups", "Slice", "look_at_dicom"]

TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "ImageType",
    "ImagePositionPatient",
)

STORAGE = "1.2.840.10008.5.1.4.1.1."

VOLUME_CLASSES = frozenset(
    STORAGE + ending
    for ending in (
        *("2", "4", "128"),  # CT, MR, PET: one slice a file
        *("2.1", "2.2", "4.1", "4.4", "130", "128.1"),  # enhanced and legacy-converted CT, MR, PET: many
        *("20", "13.1.1", "13.1.2", "13.1.3", "4.3", "6.2"),  # NM, 3D X-ray, tomosynthesis, colour MR, 3D ultrasound
    )
)
"""SOP classes that hold volumes (PS3.4 B.5); the last line is refused on reading, not passed over in silence."""

SECONDARY_CAPTURE = STORAGE + "7"
"""Mostly screenshots and dose reports; a volume only where the images carry positions."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One DICOM file of an image series, as little of it as grouping needs."""

    path: Path
    series: str
    instance: str
    size: int
    mtime_ns: int


def look_at_dicom(path: Path) -> Slice | str:
    """The file as part of a series, or in a few words why it is none.

    Raises:
        ReadError: a malformed header, or one without an SOP class or a SeriesInstanceUID.
    """
    header = parse_dicom(path, pixels=False, tags=TAGS)
    with pydicom_failures("header"):
        reason = _why_no_volume(header)
        if reason:
            return reason
        series = str(header.get("SeriesInstanceUID") or "")
        if not series:
            raise ReadError("unreadable", "a DICOM image without a SeriesInstanceUID")
        status = path.stat()
        return Slice(path, series, str(header.get("SOPInstanceUID") or ""), status.st_size, status.st_mtime_ns)


def _why_no_volume(header: Dataset) -> str:
    # A DICOMDIR names its class in the meta group alone.
    kind = str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "")
    if not kind:
        raise ReadError("unreadable", "the DICOM header names no SOP class: it is damaged")
    image_type = header.get("ImageType") or []
    if "LOCALIZER" in ([image_type] if isinstance(image_type, str) else list(image_type)):
        return "DICOM localizer"
    if kind in VOLUME_CLASSES or (kind == SECONDARY_CAPTURE and header.get("ImagePositionPatient")):
        return ""
    return "DICOM object that is no volume"


class SeriesGroups:
    """Slices by series, over any number of folders."""

    def __init__(self) -> None:
        self._slices: defaultdict[str, list[Slice]] = defaultdict(list)
        self._damaged: Counter[Path] = Counter()

    def add(self, found: Slice) -> None:
        """Put one file with the others of its series."""
        self._slices[found.series].append(found)

    def add_damaged(self, path: Path) -> None:
        """Note a DICOM file that cannot be read: it may be a slice of any series in its folder."""
        self._damaged[path.parent] += 1

    def sources(self) -> Iterator[Source | Refused]:
        """One source a series, in the order in which they were met; copies in other folders are their own.

        A series with a damaged file beside a slice of it is refused: without its first or last slice it would be
        a shorter volume, and nothing would say so.
        """
        for slices in self._slices.values():
            for group in _without_copies(slices):
                source = _source(group)
                count = sum(self._damaged[folder] for folder in {one.path.parent for one in group})
                yield Refused(source, _lacking(count)) if count else source


def _lacking(count: int) -> ReadError:
    files = "1 file of its folder is" if count == 1 else f"{count} files of its folder are"
    return ReadError(
        "unreadable",
        f"{files} damaged: the series may lack slices; mend or remove {'it' if count == 1 else 'them'}",
    )


def _source(slices: list[Slice]) -> Source:
    files = tuple(sorted(one.path for one in slices))
    return Source(
        path=files[0] if len(files) == 1 else Path(os.path.commonpath([file.parent for file in files])),
        format="dicom",
        member=slices[0].series,
        files=files,
        size=sum(one.size for one in slices),
        mtime_ns=max(one.mtime_ns for one in slices),
    )


def _without_copies(slices: list[Slice]) -> list[list[Slice]]:
    """The series whole; by folder where an instance lies in several, as in a backup beside the original."""
    if len({one.instance for one in slices}) == len(slices):
        return [slices]
    by_folder: defaultdict[Path, list[Slice]] = defaultdict(list)
    for one in slices:
        by_folder[one.path.parent].append(one)
    return list(by_folder.values())
