"""Filters over the catalog's columns: a small language with the words of SQL's WHERE.

    modality = 'CT' AND age BETWEEN 40 AND 60
    (sex = 'F' OR sex IS NULL) AND NOT sequence IN ('T1w', 'T2w')

Text takes single quotes; a column whose name is no plain word takes double quotes. Allowed are
= <> != < <= > >=, IN, BETWEEN, IS [NOT] NULL, AND, OR, NOT, brackets, and a yes/no column alone.
Anything else is refused. Missing values are SQL's NULL: they match nothing but IS NULL, so neither
`age > 60` nor `NOT age > 60` finds a scan without an age.
"""

import logging
import math
from dataclasses import dataclass
from typing import Literal

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from raptor_search.errors import QueryError

__all__ = ["And", "Between", "Comparison", "Filter", "In", "IsNull", "Not", "Operator", "Or", "Value", "parse_where"]

# It would repeat on stderr, and so beside our one line, what it cannot parse.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

MAX_LENGTH = 4000
"""Characters of a filter; both databases bound how deep an expression may be."""

MAX_QUOTED = 60
"""Characters of a filter that a message repeats."""

Operator = Literal["=", "!=", "<", "<=", ">", ">="]
Value = str | float | bool


@dataclass(frozen=True)
class Comparison:
    """A column against a value: text with text, a number with a number, a flag with True or False."""

    column: str
    operator: Operator
    value: Value


@dataclass(frozen=True)
class In:
    """A column equals one of the values.

    Raises:
        QueryError: on construction, where there is no value or they differ in type.
    """

    column: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise QueryError(f"{self.column} IN (): expected at least one value")
        _check_one_type(self.column, self.values)


@dataclass(frozen=True)
class Between:
    """A column lies between two values, both included.

    Raises:
        QueryError: on construction, where the values differ in type.
    """

    column: str
    low: Value
    high: Value

    def __post_init__(self) -> None:
        _check_one_type(self.column, (self.low, self.high))


@dataclass(frozen=True)
class IsNull:
    """A column has no value."""

    column: str


@dataclass(frozen=True)
class And:
    """All terms hold; true where there are none."""

    terms: tuple["Filter", ...]


@dataclass(frozen=True)
class Or:
    """Some term holds; false where there are none."""

    terms: tuple["Filter", ...]


@dataclass(frozen=True)
class Not:
    """The term is false; an unknown one (a missing value) stays unknown."""

    term: "Filter"


Filter = Comparison | In | Between | IsNull | And | Or | Not
"""A condition on one volume: built by hand or by `parse_where`."""

_OPERATORS: dict[type[exp.Expr], Operator] = {
    exp.EQ: "=",
    exp.NEQ: "!=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_MIRRORED: dict[Operator, Operator] = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_EXAMPLE = "expected something like \"modality = 'CT' AND age > 60\""
_ALLOWED = "expected comparisons of a column with a value, IN, BETWEEN, IS NULL, AND, OR, NOT"


def parse_where(text: str) -> Filter:
    """The filter that a text describes. Whether its columns exist is checked where it is run.

    Raises:
        QueryError: the text is no condition, or uses more than this module's docstring allows.
    """
    if not text.strip():
        raise QueryError(f"the filter is empty: {_EXAMPLE}")
    if len(text) > MAX_LENGTH:
        raise QueryError(f"the filter has {len(text)} characters; expected at most {MAX_LENGTH}")
    if "\0" in text:
        raise QueryError("the filter holds a NUL character, which no value does")
    try:
        return _condition(sqlglot.parse_one(text, into=exp.Condition))
    except SqlglotError as error:
        raise QueryError(f"the filter cannot be read{_unclosed(text) or _position(error)}: {_EXAMPLE}") from None
    except RecursionError:
        raise QueryError("the filter has too many brackets inside one another") from None


def _unclosed(text: str) -> str:
    """What to say of a quote that is opened and not closed; empty where there is none."""
    opened: tuple[int, str] | None = None
    for place, letter in enumerate(text, start=1):
        if opened is None and letter in "'\"":
            opened = place, letter
        elif opened is not None and letter == opened[1]:
            opened = None
    if opened is None:
        return ""
    place, quote = opened
    return f": the quote {quote} at character {place} is not closed (within text, {quote} is written twice)"


def _position(error: SqlglotError) -> str:
    if isinstance(error, ParseError) and error.errors and error.errors[0].get("col"):
        return f" near character {error.errors[0]['col']}"
    return ""


def _condition(node: exp.Expr) -> Filter:
    """The filter of a syntax tree: every kind of node that is not named here is refused."""
    match node:
        case exp.Paren():
            return _condition(node.this)
        case exp.And():
            return And(tuple(_condition(term) for term in node.flatten()))
        case exp.Or():
            return Or(tuple(_condition(term) for term in node.flatten()))
        case exp.Not():
            return Not(_condition(node.this))
    return _predicate(node)


def _predicate(node: exp.Expr) -> Filter:
    match node:
        case exp.Column():
            return Comparison(_column(node), "=", True)
        case exp.In():
            return _in(node)
        case exp.Between() if not node.args.get("symmetric"):
            return Between(_column(node.this), _value(node.args["low"]), _value(node.args["high"]))
        case exp.Is(expression=exp.Null()):
            return IsNull(_column(node.this))
    if type(node) in _OPERATORS:
        return _comparison(node, _OPERATORS[type(node)])
    raise QueryError(f"the filter uses {_quoted(node)}, which is not allowed: {_ALLOWED}")


def _comparison(node: exp.Expr, operator: Operator) -> Comparison:
    left, right = node.this, node.expression
    if isinstance(right, exp.Column) and not isinstance(left, exp.Column):
        left, right, operator = right, left, _MIRRORED[operator]
    return Comparison(_column(left), operator, _value(right))


def _in(node: exp.In) -> In:
    given = {name for name, value in node.args.items() if value}
    if given != {"this", "expressions"}:
        raise QueryError(f"the filter uses {_quoted(node)}: expected values in brackets, such as IN ('CT', 'MR')")
    return In(_column(node.this), tuple(_value(value) for value in node.expressions))


def _column(node: exp.Expr) -> str:
    if isinstance(node, exp.Column) and len(node.parts) == 1 and isinstance(node.this, exp.Identifier):
        return node.name
    raise QueryError(f"the filter uses {_quoted(node)} where a column is expected: {_ALLOWED}")


def _value(node: exp.Expr) -> Value:
    if isinstance(node, exp.Null):
        raise QueryError("nothing equals NULL: write `column IS NULL` or `column IS NOT NULL`")
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    negative = isinstance(node, exp.Neg)
    literal = node.this if negative else node
    if isinstance(literal, exp.Literal) and literal.is_string and not negative:
        return literal.name
    if isinstance(literal, exp.Literal) and not literal.is_string:
        number = -float(literal.name) if negative else float(literal.name)
        if not math.isfinite(number):
            raise QueryError(f"the filter uses {_quoted(literal)}, which is too large; expected a number below 1.8e308")
        return number
    hint = f": text takes single quotes, '{node.name}'" if isinstance(node, exp.Column) else ""
    raise QueryError(f"the filter uses {_quoted(node)} where a value is expected{hint}")


def _quoted(node: exp.Expr) -> str:
    text = node.sql()
    return repr(text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}...")


def _check_one_type(column: str, values: tuple[Value, ...]) -> None:
    # int and float are one type; bool, though a subclass of int, is not.
    types = {float if type(value) is int else type(value) for value in values}
    if len(types) > 1:
        raise QueryError(f"the values that {column} is compared with differ in type: expected all text or all numbers")
