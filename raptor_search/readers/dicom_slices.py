"""What is kept of each DICOM file until all are known: some 100 bytes, since an archive has millions of them.

A slice shares its folder, and size, directions and spacing, with the others of its series; the rest is packed.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from raptor_search.readers.dicom_facts import Facts

__all__ = ["PLACE", "Slice", "SliceStore"]

PLACE = struct.Struct("<11d")
"""Position, cosines and spacing of a slice."""

POSITION_BYTES = 24

RECORD = struct.Struct(f"<II{POSITION_BYTES}s16sqqI")
"""Number of its folder, of its look, its position, instance, stored bytes, seconds and nanoseconds."""

SECOND = 10**9
"""In nanoseconds, of which some file systems count more than 64 bits hold."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One DICOM file of an image series, as little of it as grouping needs.

    Attributes:
        path: of the file.
        series: SeriesInstanceUID.
        instance: hash of the SOPInstanceUID, of 16 bytes.
        size: rows and columns.
        stored: bytes of the file.
        mtime_ns: of the file.
        place: packed position, cosines and spacing of a file of one slice; empty where the whole header must be read.
    """

    path: Path
    series: str
    instance: bytes
    size: tuple[int, int]
    stored: int
    mtime_ns: int
    place: bytes

    @property
    def position(self) -> tuple[float, ...]:
        """LPS mm of the first pixel's centre."""
        return PLACE.unpack(self.place)[:3]

    @property
    def cosines(self) -> tuple[float, ...]:
        """Directions of a row and of a column."""
        return PLACE.unpack(self.place)[3:9]

    @property
    def spacing(self) -> tuple[float, ...]:
        """Between rows and between columns, in mm."""
        return PLACE.unpack(self.place)[9:]

    @property
    def facts(self) -> Facts:
        """None: they are read where positions repeat."""
        return ()


@dataclass(slots=True)
class _Packed:
    """The slices of one series: a `RECORD` each, and their names, each ended by a zero byte."""

    records: bytearray
    names: bytearray


class SliceStore:
    """Slices by series, in the order in which they came."""

    def __init__(self) -> None:
        self._series: dict[str, _Packed] = {}
        self._folders: dict[str, int] = {}
        self._looks: dict[tuple[tuple[int, int], bytes], int] = {}

    def add(self, one: Slice) -> None:
        """Keep one more."""
        folder, name = os.path.split(one.path)
        packed = self._series.setdefault(one.series, _Packed(bytearray(), bytearray()))
        packed.records += RECORD.pack(
            self._folders.setdefault(folder, len(self._folders)),
            self._looks.setdefault((one.size, one.place[POSITION_BYTES:]), len(self._looks)),
            one.place[:POSITION_BYTES],
            one.instance,
            one.stored,
            *divmod(one.mtime_ns, SECOND),
        )
        packed.names += os.fsencode(name) + b"\0"

    def taken(self) -> Iterator[list[Slice]]:
        """The slices of each series, which is forgotten; nothing may be added any more."""
        folders = [Path(folder) for folder in self._folders]
        looks = list(self._looks)
        for series in list(self._series):
            packed = self._series.pop(series)
            names = bytes(packed.names).split(b"\0")[:-1]
            slices = []
            for name, record in zip(names, RECORD.iter_unpack(packed.records), strict=True):
                folder, look, position, instance, stored, seconds, further_ns = record
                size, lie = looks[look]
                place = position + lie if lie else b""
                path, mtime_ns = folders[folder] / os.fsdecode(name), seconds * SECOND + further_ns
                slices.append(Slice(path, series, instance, size, stored, mtime_ns, place))
            yield slices
