"""From a filter to SQL: columns resolved by name, values bound as parameters, labels looked up by subquery."""

import difflib
import operator
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Double, and_, not_, or_, select, type_coerce

from raptor_search.catalog.records import ColumnType
from raptor_search.catalog.tables import LabelRow, VolumeRow
from raptor_search.errors import QueryError
from raptor_search.filters import And, Between, Comparison, Filter, In, IsNull, Not, Operator, Or, Value

__all__ = ["REJECTED", "compile_filter", "resolve_column"]

REJECTED = "rejected"
"""The origin of a label that is none: a proposal that was turned down."""

_COMPARE: dict[Operator, Callable[[Any, Any], ColumnElement[bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_EXPECTED: dict[ColumnType, str] = {
    "text": "text in single quotes",
    "number": "a number",
    "flag": "TRUE or FALSE, with = or !=",
    "label": "text in single quotes, or a number",
}


def compile_filter(where: Filter, columns: Mapping[str, ColumnType], *, collation: str) -> ColumnElement[bool]:
    """The condition on `VolumeRow` that a filter stands for, with SQL's three-valued logic.

    Args:
        where: the filter.
        columns: the columns there are, by name.
        collation: the one that orders text by code point.

    Raises:
        QueryError: a column that is not there, or a value of another type than its column.
    """
    match where:
        case And(terms):
            return and_(True, *(compile_filter(term, columns, collation=collation) for term in terms))
        case Or(terms):
            return or_(False, *(compile_filter(term, columns, collation=collation) for term in terms))
        case Not(term):
            return not_(compile_filter(term, columns, collation=collation))
    return _predicate(where, resolve_column(where.column, columns), columns, collation)


def resolve_column(name: str, columns: Mapping[str, ColumnType]) -> str:
    """The column that a name means: as written, or the only one that differs in case alone.

    Raises:
        QueryError: there is none; the message has the nearest names.
    """
    if name in columns:
        return name
    alike = [column for column in columns if column.casefold() == name.casefold()]
    if len(alike) == 1:
        return alike[0]
    near = alike or difflib.get_close_matches(name, columns, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else f"expected one of {', '.join(columns)}"
    raise QueryError(f"no column {name!r}: {hint}")


def _predicate(
    where: Comparison | In | Between | IsNull, column: str, columns: Mapping[str, ColumnType], collation: str
) -> ColumnElement[bool]:
    kind = columns[column]
    match where:
        case IsNull():
            return _text(column, kind).is_(None)
        case In(_, values):
            return _operand(column, kind, values).in_(values)
        case Between(_, low, high):
            operand = _ordered(column, kind, (low, high), collation)
            # Not BETWEEN: with a collation on each side, PostgreSQL's grammar takes its AND for another one.
            return and_(operand >= low, operand <= high)
        case Comparison(_, "=" | "!=" as sign, value):
            return _COMPARE[sign](_operand(column, kind, (value,)), value)
        case Comparison(_, sign, value):
            return _COMPARE[sign](_ordered(column, kind, (value,), collation), value)


def _operand(column: str, kind: ColumnType, values: tuple[Value, ...]) -> ColumnElement[Any]:
    """What the values are compared with; refuses values of another type than the column."""
    value = values[0]
    if isinstance(value, bool):
        fits = kind == "flag"
    else:
        fits = kind == "label" or kind == ("text" if isinstance(value, str) else "number")
    if not fits:
        if isinstance(value, bool):
            raise QueryError(
                f"{column} alone asks for yes or no, which it does not hold; compare it: expected {_EXPECTED[kind]}"
            )
        raise QueryError(f"{column} is compared with {value!r}; expected {_EXPECTED[kind]}")
    if isinstance(value, bool | str):
        return _text(column, kind)
    # As a double: PostgreSQL would round the value where the column holds whole numbers.
    return type_coerce(_label(column, LabelRow.number) if kind == "label" else _text(column, kind), Double())


def _ordered(column: str, kind: ColumnType, values: tuple[Value, ...], collation: str) -> ColumnElement[Any]:
    if isinstance(values[0], bool):
        raise QueryError(f"{column} is compared by order with {values[0]!r}; expected {_EXPECTED[kind]}")
    operand = _operand(column, kind, values)
    return operand.collate(collation) if isinstance(values[0], str) else operand


def _text(column: str, kind: ColumnType) -> ColumnElement[Any]:
    if kind == "label":
        return _label(column, LabelRow.value)
    return VolumeRow.__table__.c[column]


def _label(name: str, attribute: Any) -> ColumnElement[Any]:
    """The value of a label: NULL where the volume has none, so that NOT treats it as any missing value."""
    return (
        select(attribute)
        .where(LabelRow.volume_id == VolumeRow.id, LabelRow.name == name, LabelRow.origin != REJECTED)
        .correlate(VolumeRow)
        .scalar_subquery()
    )
