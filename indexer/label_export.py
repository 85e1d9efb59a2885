"""Every value of a label with where it came from, as CSV or Parquet."""

import csv
import io
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from raptor_search.archive import Archive
from raptor_search.errors import UsageError
from raptor_search.spreadsheet import plain_cell

__all__ = ["FIELDS", "check_ending", "export_labels"]

FIELDS = (
    "volume_id",
    "source",
    "patient",
    "label",
    "value",
    "origin",
    "confidence",
    "author",
    "at",
    "reason",
    "plausible",
    "neighbours_for",
    "neighbours_against",
)
"""Columns, in order. `origin` is given, accepted, rejected, proposed, or empty where nothing is known."""

ENDINGS = (".csv", ".parquet")


def check_ending(path: Path) -> None:
    """Refuse a file of another kind before a minute of work.

    Raises:
        UsageError: it ends neither in .csv nor in .parquet.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"--out {path}; expected a name that ends in .csv or .parquet")


def export_labels(archive: Archive, label: str, path: Path, *, spec: str | None = None) -> int:
    """Write one line a volume of the spec; returns how many.

    Raises:
        UsageError: the ending is neither .csv nor .parquet.
    """
    check_ending(path)
    rows = _rows(archive, label, spec)
    part = path.with_name(f".{path.name}.part")
    if path.suffix.lower() == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([{name: plain_cell(cell) for name, cell in row.items()} for row in rows])
        part.write_bytes(text.getvalue().encode())
    else:
        _write_parquet(part, rows)
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.replace(path)
    return len(rows)


def _rows(archive: Archive, label: str, spec: str | None) -> list[dict[str, Any]]:
    catalog = archive.catalog
    ids = catalog.ids(archive.spec(spec).id)
    decided = {record.volume_id: record for record in catalog.labels(label)}
    proposed = {one.volume_id: one for one in catalog.proposals(label)}
    rows = []
    for record, source in zip(catalog.volumes(ids), catalog.locators(ids), strict=True):
        row: dict[str, Any] = dict.fromkeys(FIELDS)
        subject = record.subject
        row |= {
            "volume_id": record.id,
            "source": source,
            "patient": f"P-{subject}" if subject else None,
            "label": label,
        }
        if (one := decided.get(record.id)) is not None:
            row |= {"value": one.value, "origin": one.origin, "confidence": one.confidence, "author": one.author}
            row["at"] = _time(one.changed_at)
        elif (guess := proposed.get(record.id)) is not None:
            row |= {"value": guess.value, "origin": "proposed", "confidence": guess.confidence, "author": guess.author}
            row |= {"at": _time(guess.proposed_at), "reason": guess.reason}
        if (guess := proposed.get(record.id)) is not None:
            row |= {
                "plausible": _joined(guess.document["plausible"]),
                "neighbours_for": _joined(guess.document["for"]),
                "neighbours_against": _joined(guess.document["against"]),
            }
        rows.append(row)
    return rows


def _joined(values: Sequence[object] | None) -> str | None:
    return None if values is None else " ".join(map(str, values))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"volume_id": pa.int64(), "confidence": pa.float64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in FIELDS])
    parquet.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), path)
