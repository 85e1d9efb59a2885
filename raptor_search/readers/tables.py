"""Tables beside the scans (participants.tsv, labels.csv): what their rows say about which scan.

Columns of `ScanMetadata` fill what the file leaves open; every other one becomes a label, save those that look
like names, identifiers or dates: they are dropped, and `Table.dropped` says so.
"""

import csv
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raptor_search.errors import UsageError
from raptor_search.readers.columns import TYPED_COLUMNS, column_name, is_personal
from raptor_search.readers.joins import SERIES_COLUMNS, Join, Key, join_of
from raptor_search.readers.scan import Identity, Scan, ScanMetadata
from raptor_search.readers.source import Source

__all__ = ["Row", "Table", "annotate", "find_participants", "read_table"]

MISSING = frozenset({"", "n/a", "na", "nan"})
"""Cells that say nothing, in lower case: BIDS's n/a and what R and pandas write."""

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
        matched: lines of the rows that met a scan.
    """

    path: Path
    columns: tuple[str, ...]
    dropped: tuple[str, ...]
    join: Join
    rows: dict[Key, Row]
    lines: tuple[int, ...]
    matched: set[int] = field(default_factory=set)

    @property
    def unmatched(self) -> tuple[int, ...]:
        """Lines whose row met no scan."""
        return tuple(line for line in self.lines if line not in self.matched)

    def row_for(self, source: Source, identity: Identity) -> Row | None:
        """The row about a scan, remembered as matched; None where there is none."""
        keys = self.join.scan_keys(source, identity)
        row = next((self.rows[key] for key in keys if key in self.rows), None)
        if row is not None:
            self.matched.add(row.line)
        return row


def read_table(path: Path) -> Table:
    """A table of UTF-8 text: .tsv by tabs, anything else by commas (or by semicolons where the header has no comma).

    Raises:
        UsageError: no table, no column to join on, rows of another length, two rows about the same scans, or a typed
            cell, such as an age, that cannot be understood.
    """
    records = _records(path)
    columns = _column_names(path, records[0][1])
    join = join_of(path, columns)
    personal = {name for name in columns if is_personal(name) or name in SERIES_COLUMNS}
    dropped = tuple(name for name in columns if name in personal and name not in join.columns)
    rows: dict[Key, Row] = {}
    for line, cells in records[1:]:
        if len(cells) != len(columns):
            raise UsageError(f"{path.name}, line {line}: {len(cells)} cells; expected {len(columns)} as in the header")
        row = _row(path, line, dict(zip(columns, cells, strict=True)), join, dropped)
        if row.key is not None and row.key in rows:
            first = rows[row.key].line
            raise UsageError(f"{path.name}: lines {first} and {line} are about the same scans; keep one of them")
        if row.key is not None:
            rows[row.key] = row
    return Table(path, columns, dropped, join, rows, tuple(line for line, _ in records[1:]))


def find_participants(path: Path) -> Path | None:
    """The participants.tsv in the folder of the data, or in the nearest folder above; None where there is none."""
    start = path.absolute() if path.is_dir() else path.absolute().parent
    folders = [start, *start.parents][: LEVELS_ABOVE + 1]
    return next((folder / "participants.tsv" for folder in folders if (folder / "participants.tsv").is_file()), None)


def annotate(scan: Scan, source: Source, tables: Sequence[Table]) -> Scan:
    """The scan with what the tables say about it; what the file itself says stays, then the first table that speaks."""
    for table in tables:
        row = table.row_for(source, scan.identity)
        if row is not None:
            scan = dataclasses.replace(
                scan,
                metadata=scan.metadata.filled_from(row.metadata),
                identity=_identity(scan.identity, source, row.patient),
                labels=row.labels | scan.labels,
            )
    return scan


def _identity(identity: Identity, source: Source, patient: str | None) -> Identity:
    """A DICOM file's own PatientID stays; elsewhere a table knows better than a path."""
    if patient is None or (source.format == "dicom" and identity.patient):
        return identity
    return dataclasses.replace(identity, patient=patient)


def _records(path: Path) -> list[tuple[int, list[str]]]:
    """Every line that is not empty, with its number; the header first."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path.name}: not UTF-8 text; save the table as UTF-8") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    head = text.partition("\n")[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ";" if ";" in head and "," not in head else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        records = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise UsageError(f"{path.name}, line {reader.line_num}: {error}") from error
    if not records:
        raise UsageError(f"{path.name}: an empty table; expected a header and rows")
    return records


def _column_names(path: Path, header: list[str]) -> tuple[str, ...]:
    names = tuple(column_name(text) for text in header)
    for position, name in enumerate(names):
        if not name:
            raise UsageError(f"{path.name}: column {position + 1} has no name")
        if name in names[:position]:
            raise UsageError(f"{path.name}: two columns named {name!r}; rename one")
    return names


def _row(path: Path, line: int, cells: dict[str, str], join: Join, dropped: tuple[str, ...]) -> Row:
    tidy = {name: " ".join(cell.split()) for name, cell in cells.items()}
    row = {name: value for name, value in tidy.items() if value.lower() not in MISSING}
    typed: dict[str, Any] = {}
    for name in TYPED_COLUMNS.keys() & row.keys():
        understand, expected = TYPED_COLUMNS[name]
        try:
            typed[name] = understand(row[name])
        except (ValueError, KeyError) as error:
            raise UsageError(f"{path.name}, line {line}: {name} cannot be understood; expected {expected}") from error
    return Row(
        line=line,
        key=join.row_key(row),
        patient=row.get(join.patient or ""),
        metadata=ScanMetadata(**typed),
        labels={n: value for n, value in row.items() if n not in {*TYPED_COLUMNS, *join.columns, *dropped}},
    )
