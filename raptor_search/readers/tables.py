"""Tables beside the scans (participants.tsv, labels.csv): what their rows say about which scan.

Columns of `ScanMetadata` fill what the file leaves open; every other one becomes a label, save those that look like
names, identifiers or dates by their header or by what they hold, or, where columns to keep are named, those that are
not: `Table.dropped` says so.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raptor_search.errors import ReadError, UsageError
from raptor_search.readers.columns import AGE_COLUMNS, TYPED_COLUMNS, column_name, holds_personal, is_personal
from raptor_search.readers.joins import SERIES_COLUMNS, Join, Key, join_of
from raptor_search.readers.records import records
from raptor_search.readers.scan import Identity, Scan, ScanMetadata
from raptor_search.readers.source import Source
from raptor_search.readers.zips import named

__all__ = ["Row", "Table", "annotate", "find_participants", "participants_below", "participants_in_zip", "read_table"]

MISSING = frozenset({"", "n/a", "na", "nan"})
"""Cells that say nothing, in lower case: BIDS's n/a and what R and pandas write."""

MAX_HEADER_LENGTH = 100
"""Characters of a column's header, as many as name a label in the archive."""

PARTICIPANTS = "participants.tsv"

LEVELS_ABOVE = 4
"""Folders above the data in which participants.tsv is looked for: dataset/sub-01/ses-1/anat/file."""


@dataclass(frozen=True)
class Row:
    """What one line of a table says.

    Attributes:
        line: of the file, counted from 1.
        key: what it is found by; None where the cell is empty.
        patient: the participant, if the table names one.
        metadata: the typed columns.
        labels: every other column that is kept.
    """

    line: int
    key: Key | None
    patient: str | None = field(repr=False)
    metadata: ScanMetadata
    labels: dict[str, str]


@dataclass
class Table:
    """One table and, as scans are annotated, which of its rows were used.

    Attributes:
        path: of the file.
        columns: names as used here: lower case, words joined by "_".
        dropped: columns that are not kept.
        join: how rows are found.
        rows: by what they are found by; rows without it are in `unmatched` only.
        lines: of all rows.
        digest: SHA-256 of the file, hex.
        matched: lines of the rows that met a scan.
        unread: how many typed cells could not be understood and count as missing; 0 where the table was read strictly.
        ambiguous: lines of the rows that name a file without its folder and met more than one; the first has the row.
    """

    path: Path
    columns: tuple[str, ...]
    dropped: tuple[str, ...]
    join: Join
    rows: dict[Key, Row]
    lines: tuple[int, ...]
    digest: str = ""
    matched: set[int] = field(default_factory=set)
    unread: int = 0
    ambiguous: set[int] = field(default_factory=set)
    _met: dict[int, Path] = field(default_factory=dict, repr=False)

    @property
    def label_names(self) -> set[str]:
        """The columns that are labels, those that are not kept among them."""
        return set(self.columns) - set(TYPED_COLUMNS) - self.join.columns

    @property
    def unmatched(self) -> tuple[int, ...]:
        """Lines whose row met no scan."""
        return tuple(line for line in self.lines if line not in self.matched)

    def row_for(self, source: Source, identity: Identity) -> Row | None:
        """The row about a scan, remembered as matched; None where there is none, or where it is another file's."""
        keys = self.join.scan_keys(source, identity)
        row = next((self.rows[key] for key in keys if key in self.rows), None)
        if row is None or row.key is None:
            return None
        self.matched.add(row.line)
        # Two series of one folder, or two readings of one file, are no two files.
        if self.join.is_bare(row.key) and self._met.setdefault(row.line, source.place) != source.place:
            self.ambiguous.add(row.line)
            return None
        return row


def read_table(
    path: Path, *, strict: bool = True, keep: Sequence[str] | None = None, content: bytes | None = None
) -> Table:
    """A table, as `readers.records` reads it.

    Args:
        path: of the file.
        strict: refuse a header that cannot name a column and a typed cell, such as an age, that cannot be understood;
            otherwise the column is dropped, as "column 2", and the cell counts as missing and in `Table.unread`.
        keep: the only columns that are kept, also where they look personal; those that the table lacks are passed
            over. None keeps all that do not look personal.
        content: of the file, where it does not lie at the path, but in a zip there; None reads it.

    Raises:
        UsageError: no table, no column to join on, rows of another length, two rows about the same scans, a column to
            keep that names the scan or the patient, or what `strict` refuses.
    """
    if content is None:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    lines = records(path, content)
    columns = _column_names(path, lines[0][1], strict=strict)
    join = join_of(path, columns)
    for line, cells in lines[1:]:
        if len(cells) != len(columns):
            raise UsageError(f"{path.name}, line {line}: {len(cells)} cells; expected {len(columns)} as in the header")
    unkept = _unkept(path, columns, join, keep) | (_private(columns, lines[1:]) if keep is None else set())
    dropped = tuple(name for name in columns if name in unkept and name not in join.columns)
    rows: dict[Key, Row] = {}
    unread = 0
    for line, cells in lines[1:]:
        row, misread = _row(line, dict(zip(columns, cells, strict=True)), join, dropped)
        if misread and strict:
            expected = TYPED_COLUMNS[misread[0]][1]
            raise UsageError(f"{path.name}, line {line}: {misread[0]} cannot be understood; expected {expected}")
        unread += len(misread)
        if row.key is not None and row.key in rows:
            first = rows[row.key].line
            raise UsageError(f"{path.name}: lines {first} and {line} are about the same scans; keep one of them")
        if row.key is not None:
            rows[row.key] = row
    digest = hashlib.sha256(content).hexdigest()
    return Table(path, columns, dropped, join, rows, tuple(line for line, _ in lines[1:]), digest, unread=unread)


def find_participants(path: Path) -> Path | None:
    """The participants.tsv in the folder of the data, or in the nearest folder above; None where there is none."""
    start = path.absolute() if path.is_dir() else path.absolute().parent
    folders = [start, *start.parents][: LEVELS_ABOVE + 1]
    return next((folder / "participants.tsv" for folder in folders if (folder / "participants.tsv").is_file()), None)


def participants_below(paths: Iterable[Path], sources: Iterable[Source]) -> set[Path]:
    """The participants.tsv of every data set below the paths: those in a folder between one of them and a scan."""
    tops = {path.absolute() for path in paths}
    looked: set[Path] = set()
    for folder in {source.files[0].parent for source in sources}:
        for place in (folder, *folder.parents):
            if place in looked or tops.isdisjoint(place.parents):
                break
            looked.add(place)
    return {table for place in looked if (table := place / "participants.tsv").is_file()}


def participants_in_zip(path: Path) -> list[tuple[Path, bytes]]:
    """Every participants.tsv in a zip, by its place as if the zip were a folder.

    Raises:
        UsageError: the zip is damaged, or one is too large.
    """
    try:
        return [(path / place, content) for place, content in named(path, PARTICIPANTS)]
    except ReadError as error:
        raise UsageError(error.message) from error


def annotate(scan: Scan, source: Source, tables: Sequence[Table]) -> Scan:
    """The scan with what the tables say about it; what the file itself says stays, then the first table that speaks."""
    spoken_of: set[str] = set()
    for table in tables:
        row = table.row_for(source, scan.identity)
        if row is not None:
            spoken_of |= table.label_names
            scan = dataclasses.replace(
                scan,
                metadata=scan.metadata.filled_from(row.metadata),
                identity=_identity(scan.identity, source, row.patient),
                labels=row.labels | scan.labels,
            )
    return dataclasses.replace(scan, cleared=tuple(sorted(spoken_of - scan.labels.keys())))


def _identity(identity: Identity, source: Source, patient: str | None) -> Identity:
    """A DICOM file's own PatientID stays; elsewhere a table knows better than a path.

    A participant by another name than the path's is known beyond the data set.
    """
    if patient is None or (source.format == "dicom" and identity.patient):
        return identity
    if identity.patient and patient.removeprefix("sub-") == identity.patient.removeprefix("sub-"):
        return identity
    return dataclasses.replace(identity, patient=patient, dataset=None)


def _unkept(path: Path, columns: Sequence[str], join: Join, keep: Sequence[str] | None) -> set[str]:
    """The columns that are not kept."""
    if keep is None:
        return {name for name in columns if is_personal(name) or name in SERIES_COLUMNS or " " in name}
    wanted = {column_name(text) for text in keep}
    names = wanted & (join.columns | set(SERIES_COLUMNS)) & set(columns)
    if names:
        raise UsageError(f"--keep {min(names)}: {path.name} names scans or patients by it, which is never kept")
    # Under either of its names, an age is kept as one that is pooled.
    wanted |= {"age"} if wanted & AGE_COLUMNS else set()
    return set(columns) - wanted


def _private(columns: Sequence[str], lines: Sequence[tuple[int, list[str]]]) -> set[str]:
    """The columns that are not kept for what they hold; typed ones are no such thing."""
    by_column = zip(columns, zip(*(cells for _, cells in lines), strict=True), strict=True) if lines else ()
    said = {name: [text for cell in cells if (text := _said(cell))] for name, cells in by_column}
    return {name for name, cells in said.items() if name not in TYPED_COLUMNS and holds_personal(cells)}


def _said(cell: str) -> str:
    """A cell's text, or "" where it says nothing."""
    text = " ".join(cell.split())
    return "" if text.lower() in MISSING else text


def _column_names(path: Path, header: list[str], *, strict: bool) -> tuple[str, ...]:
    """The columns' names; one that cannot be is refused, or "column 2", which no header reads as."""
    read = [column_name(text) for text in header]
    names: list[str] = []
    for position, given in enumerate(read, start=1):
        name = given
        if given in AGE_COLUMNS:
            # Beside another age it would be a label that is not pooled: it is dropped.
            second = "age" in names or "age" in read
            name = f"{given} (column {position})" if second else "age"
        fault = _fault(name)
        if fault and strict:
            raise UsageError(f"{path.name}: column {position} has {fault}")
        if not fault and name in names:
            raise UsageError(f"{path.name}: two columns named {name!r}; rename one")
        names.append(f"column {position}" if fault else name)
    return tuple(names)


def _fault(name: str) -> str | None:
    """Why a header cannot name a column; None where it can."""
    if len(name) > MAX_HEADER_LENGTH:
        return f"a name of {len(name)} characters; expected at most {MAX_HEADER_LENGTH}"
    return None if name else "no name"


def _row(line: int, cells: dict[str, str], join: Join, dropped: tuple[str, ...]) -> tuple[Row, list[str]]:
    """What one line says, and the typed columns whose cells cannot be understood."""
    row = {name: text for name, cell in cells.items() if (text := _said(cell))}
    typed: dict[str, Any] = {}
    misread: list[str] = []
    for name, (understand, _) in TYPED_COLUMNS.items():
        try:
            if name in row and name not in dropped:
                typed[name] = understand(row[name])
        except (ValueError, KeyError, OverflowError):
            misread.append(name)
    found = Row(
        line=line,
        key=join.row_key(row),
        patient=row.get(join.patient or ""),
        metadata=ScanMetadata(**typed),
        labels={n: value for n, value in row.items() if n not in {*TYPED_COLUMNS, *join.columns, *dropped}},
    )
    return found, misread
