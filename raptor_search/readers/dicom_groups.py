"""Which DICOM files are images of a volume, and which of them belong together."""

import hashlib
import os
import struct
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydicom.dataset import Dataset

from raptor_search.errors import ReadError
from raptor_search.readers.dicom_files import parse_dicom, pydicom_failures
from raptor_search.readers.dicom_frames import Frame, frames_of
from raptor_search.readers.dicom_kinds import why_no_volume
from raptor_search.readers.dicom_mosaic import is_mosaic
from raptor_search.readers.dicom_slices import PLACE, Slice, SliceStore
from raptor_search.readers.dicom_stacks import alike, has_repeats, part
from raptor_search.readers.source import Refused, Skipped, Source, StackPlace

__all__ = ["TAGS", "SeriesGroups", "look_at_dicom"]

TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "ImageType",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "NumberOfFrames",
    "Rows",
    "Columns",
)
"""All that is read of a file before it is known to be needed."""

COPY = "copy of a DICOM image"
SCOUT = "DICOM image beside its series (of another orientation, size or kind)"
LOCALIZER = "DICOM localizer"


def look_at_dicom(path: Path) -> Slice | str:
    """The file as part of a series, or in a few words why it is none.

    Raises:
        ReadError: a malformed header, or one without an SOP class or a SeriesInstanceUID.
    """
    header = parse_dicom(path, pixels=False, tags=TAGS)
    with pydicom_failures("header"):
        reason = why_no_volume(header)
        if reason:
            return reason
        series = str(header.get("SeriesInstanceUID") or "")
        if not series:
            raise ReadError("unreadable", "a DICOM image without a SeriesInstanceUID")
        status = path.stat()
        return Slice(
            path=path,
            series=series,
            instance=hashlib.blake2b(
                str(header.get("SOPInstanceUID") or "").encode(errors="surrogatepass"), digest_size=16
            ).digest(),
            size=(int(header.get("Rows") or 0), int(header.get("Columns") or 0)),
            stored=status.st_size,
            mtime_ns=status.st_mtime_ns,
            place=_place(header),
        )


def _place(header: Dataset) -> bytes:
    """Where the one slice of a file lies; nothing where the file holds several, or does not say."""
    if int(header.get("NumberOfFrames") or 1) > 1 or is_mosaic(header):
        return b""
    try:
        numbers = [
            float(number)
            for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
            for number in header.get(keyword) or ()
        ]
        return PLACE.pack(*numbers)
    except (TypeError, ValueError, struct.error):
        return b""


class SeriesGroups:
    """Slices by series, over any number of folders."""

    def __init__(self) -> None:
        self._slices = SliceStore()
        self._damaged: Counter[Path] = Counter()

    def add(self, found: Slice) -> None:
        """Put one file with the others of its series."""
        self._slices.add(found)

    def add_damaged(self, path: Path) -> None:
        """Note a DICOM file that cannot be read: it may be a slice of any series in its folder."""
        self._damaged[path.parent] += 1

    def sources(self) -> Iterator[Source | Refused | Skipped]:
        """The volumes of every series, in the order in which they were met, wherever their files lie.

        A series with a damaged file beside a slice of it is refused: without its first or last slice it would be
        a shorter volume, and nothing would say so. The groups are empty afterwards.
        """
        for slices in self._slices.taken():
            groups, copies = _without_copies(slices)
            yield from (Skipped(copy.path, COPY) for copy in copies)
            for group in groups:
                count = sum(self._damaged[folder] for folder in {one.path.parent for one in group})
                for found in _volumes(group):
                    yield Refused(found, _lacking(count)) if count and isinstance(found, Source) else found


def _lacking(count: int) -> ReadError:
    files = "1 file of its folder is" if count == 1 else f"{count} files of its folder are"
    return ReadError(
        "unreadable",
        f"{files} damaged: the series may lack slices; mend or remove {'it' if count == 1 else 'them'}",
    )


def _volumes(slices: list[Slice]) -> Iterator[Source | Skipped]:
    """The volumes of one series, and the files that are none."""
    if all(one.place for one in slices):
        shapes = alike(slices)
        if len(shapes) == 1 and not has_repeats(slices, shapes[0]):
            yield _source(slices)
            return
    try:
        frames = _frames(slices)
    except ReadError:
        # Read as one volume, it is refused with that reason.
        yield _source(slices)
        return
    parted, left = part(frames)
    by_path = {one.path: one for one in slices}
    used: set[Path] = set()
    for one in parted:
        paths = dict.fromkeys(frames[index].path for index in one.members)
        used |= paths.keys()
        yield _source([by_path[path] for path in paths], one.place)
    for path in dict.fromkeys(frames[index].path for index in left):
        if path not in used:
            yield Skipped(path, SCOUT if parted else LOCALIZER)


def _frames(slices: Sequence[Slice]) -> list[Frame]:
    """Every slice with what its whole header says."""
    frames: list[Frame] = []
    for one in slices:
        header = parse_dicom(one.path, pixels=False)
        with pydicom_failures("header"):
            frames += frames_of(one.path, header, facts=True)
    return frames


def _source(slices: Sequence[Slice], stack: StackPlace | None = None) -> Source:
    files = tuple(sorted(one.path for one in slices))
    return Source(
        path=files[0] if len(files) == 1 else Path(os.path.commonpath([file.parent for file in files])),
        format="dicom",
        member=slices[0].series,
        files=files,
        size=sum(one.stored for one in slices),
        mtime_ns=max(one.mtime_ns for one in slices),
        stack=stack,
    )


def _without_copies(slices: list[Slice]) -> tuple[list[list[Slice]], list[Slice]]:
    """The series whole, whatever folders its files lie in, and the images that are there twice.

    Where one folder holds all of it, as a backup beside the original does, folders are volumes of their own.
    """
    by_folder: defaultdict[Path, list[Slice]] = defaultdict(list)
    for one in slices:
        by_folder[one.path.parent].append(one)
    instances = {one.instance for one in slices}
    if any(instances == {one.instance for one in folder} for folder in by_folder.values()):
        return list(by_folder.values()), []
    met: dict[tuple[bytes, bytes], Path] = {}
    kept: list[Slice] = []
    copies: list[Slice] = []
    for one in slices:
        # Two images of one folder are never copies of each other: a careless export gives all of them one UID.
        folder = met.setdefault((one.instance, one.place), one.path.parent)
        (kept if folder == one.path.parent else copies).append(one)
    return [kept], copies
