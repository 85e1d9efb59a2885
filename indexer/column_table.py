"""What `raptor columns` prints: what `--where` may name, with types, and the values that scans have."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from indexer.plain_text import cell, say
from raptor_search.archive import Archive
from raptor_search.catalog import StoredSpec, Value

__all__ = ["ColumnFacts", "column_facts", "columns", "to_dict"]

LISTED = 20
"""Values of a column, the commonest first."""

SHOWN = 5
"""Of these in the table."""


@dataclass(frozen=True, kw_only=True)
class ColumnFacts:
    """One column.

    Attributes:
        name: as `--where` takes it.
        type: text, number, flag or label.
        scans: that have a value.
        distinct: values.
        values: the commonest, with the scans that have each; empty for numbers.
        lowest: of numbers; None where there is none.
        highest: likewise.
    """

    name: str
    type: str
    scans: int
    distinct: int
    values: Mapping[str, int]
    lowest: float | None
    highest: float | None


def column_facts(archive: Archive, stored: StoredSpec) -> list[ColumnFacts]:
    """Every column, of the scans embedded under a spec."""
    archive.require("view")
    found = archive.catalog.columns().items()
    return [_facts(name, kind, archive.catalog.value_counts(name, stored.id)) for name, kind in found]


def _facts(name: str, kind: str, counts: Mapping[Value, int]) -> ColumnFacts:
    numbers = [float(value) for value in counts] if kind == "number" else []
    values = {} if kind == "number" else {str(value): count for value, count in list(counts.items())[:LISTED]}
    return ColumnFacts(
        name=name,
        type=kind,
        scans=sum(counts.values()),
        distinct=len(counts),
        values=values,
        lowest=min(numbers, default=None),
        highest=max(numbers, default=None),
    )


def to_dict(found: list[ColumnFacts]) -> dict[str, Any]:
    """The same as one object."""
    return {"columns": [asdict(one) for one in found]}


def columns(out: Console, found: list[ColumnFacts]) -> None:
    """A line a column that some scan has a value of; the names of the others below."""
    table = Table(title="Columns that --where may name", title_justify="left")
    for name in ("column", "type", "scans", "values"):
        table.add_column(name, overflow="fold")
    for one in found:
        if one.scans:
            table.add_row(cell(one.name), one.type, str(one.scans), cell(_values(one)))
    out.print(table)
    empty = [one.name for one in found if not one.scans]
    if empty:
        say(out, f"Without a value yet: {', '.join(empty)}")


def _values(one: ColumnFacts) -> str:
    if one.lowest is not None and one.highest is not None:
        return f"{one.lowest:g}" + (f" to {one.highest:g}" if one.highest > one.lowest else "")
    shown = list(one.values.items())[:SHOWN]
    more = f", and {one.distinct - len(shown)} more" if one.distinct > len(shown) else ""
    return ", ".join(f"{value} ({count})" for value, count in shown) + more
