"""Why no scan passes a filter: what it asks for and no scan has, with some values that are there."""

import difflib
from collections.abc import Iterator

from raptor_search.catalog.filtering import resolve_column
from raptor_search.catalog.volumes import VolumeQueries
from raptor_search.filters import And, Between, Comparison, Filter, In, Or, Value

__all__ = ["unmet"]

NAMED = 5
"""Values that are there, of a column."""

LOOKED_AT = 200
"""The commonest values, among which those like the one asked for are sought."""

Term = Comparison | In | Between


def unmet(catalog: VolumeQueries, spec_id: int, where: Filter) -> list[str]:
    """A sentence for each comparison in a filter that no scan embedded under the spec meets.

    What stands under NOT, and what is asked of yes/no columns, has no sentence.

    Args:
        catalog: of the archive.
        spec_id: the spec.
        where: the filter, of columns that are there.

    Raises:
        QueryError: as where it is run.
    """
    terms = [term for term in dict.fromkeys(_terms(where)) if not isinstance(_values(term)[0], bool)]
    return [
        f"no scan has {_asked(term)}; {_there(catalog, spec_id, term)}"
        for term in terms
        if not catalog.ids(spec_id, term).size
    ]


def _terms(where: Filter) -> Iterator[Term]:
    match where:
        case And(terms) | Or(terms):
            for term in terms:
                yield from _terms(term)
        case Comparison() | In() | Between():
            yield where


def _values(term: Term) -> tuple[Value, ...]:
    match term:
        case Comparison(_, _, value):
            return (value,)
        case In(_, values):
            return values
        case Between(_, low, high):
            return low, high


def _asked(term: Term) -> str:
    """The comparison as a user would write it."""
    values = [_written(value) for value in _values(term)]
    match term:
        case Comparison(column, operator, _):
            return f"{column} {operator} {values[0]}"
        case In(column, _):
            return f"{column} IN ({', '.join(values)})"
        case Between(column, _, _):
            return f"{column} BETWEEN {values[0]} AND {values[1]}"


def _there(catalog: VolumeQueries, spec_id: int, term: Term) -> str:
    columns = catalog.columns()
    column = resolve_column(term.column, columns)
    if columns[column] == "number":
        numbers = [float(value) for value in catalog.value_counts(column, spec_id)]
        if not numbers:
            return f"none has a value of {column}"
        return f"{column} goes from {_written(min(numbers))} to {_written(max(numbers))}"
    counts = catalog.value_counts(column, spec_id, limit=LOOKED_AT)
    if not counts:
        return f"none has a value of {column}"
    by_folded = {str(value).casefold(): str(value) for value in reversed(counts)}
    near = [
        by_folded[folded]
        for value in _values(term)
        for folded in difflib.get_close_matches(str(value).casefold(), by_folded, n=NAMED)
    ]
    names = list(dict.fromkeys([*near, *map(str, counts)]))
    return "there are " + ", ".join(map(_written, names[:NAMED])) + (", ..." if len(names) > NAMED else "")


def _written(value: Value) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return f"{value:.10g}"
