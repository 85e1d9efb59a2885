"""The lines of a table as text, whatever kind of file it is: CSV, TSV or Parquet."""

import csv
import io
import math
from datetime import date, time
from pathlib import Path
from typing import Any

from raptor_search.errors import UsageError

__all__ = ["records"]

PARQUET_MAGIC = b"PAR1"

PANDAS_INDEX = "__index_level_"
"""What pandas calls a row index that has no name."""

Records = list[tuple[int, list[str]]]
"""Every line that is not empty, with its number from 1; the header first."""


def records(path: Path, content: bytes) -> Records:
    """The lines of a table: Parquet, or UTF-8 text, .tsv by tabs and anything else by commas (or by semicolons where
    the header has no comma).

    Raises:
        UsageError: no table.
    """
    found = _parquet(path, content) if content.startswith(PARQUET_MAGIC) else _text(path, content)
    if not found:
        raise UsageError(f"{path.name}: an empty table; expected a header and rows")
    return found


def _text(path: Path, content: bytes) -> Records:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path.name}: not UTF-8 text; save the table as UTF-8") from error
    head = text.partition("\n")[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ";" if ";" in head and "," not in head else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise UsageError(f"{path.name}, line {reader.line_num}: {error}") from error


def _parquet(path: Path, content: bytes) -> Records:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{path.name}: a damaged Parquet file; save the table again") from error
    names = [name for name in table.column_names if not name.startswith(PANDAS_INDEX)]
    nested = next((name for name in names if pa.types.is_nested(table.schema.field(name).type)), None)
    if nested is not None:
        raise UsageError(f"{path.name}: column {nested!r} holds lists or records; expected one value a cell")
    rows = zip(*(table.column(name).to_pylist() for name in names), strict=True)
    lines = [names, *([_cell(value) for value in row] for row in rows)]
    return [(number, cells) for number, cells in enumerate(lines, start=1) if any(cell.strip() for cell in cells)]


def _cell(value: Any) -> str:
    """A value as it would be written in CSV: 3.0 is 3, as whole numbers beside a missing one are stored as floats."""
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if math.isnan(value) else str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value)
