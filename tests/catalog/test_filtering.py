"""Filters in SQL against a naive interpreter in Python."""

import dataclasses
import operator
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raptor_search.catalog import Catalog, NewVolume, VolumeRecord
from raptor_search.errors import QueryError
from raptor_search.filters import And, Between, Comparison, Filter, In, IsNull, Not, Or, Value, parse_where
from raptor_search.keys import ArchiveKey
from raptor_search.specs import EmbeddingSpec

MODALITIES = ["CT", "MR", "ct", "", "it's", "Ångström", "😀", "a\\b"]
NUMBERS = [-1.0, 0.0, 0.5, 41.0, 41.5, 90.0, 2020.0]
LABEL_VALUES = ["II", "12", "3.5", "-1e0", " 41 ", "nan", "inf", "1_000", "", "😀", "Z", "a"]
FLAGS = [True, False]
COLUMNS: dict[str, list[Value]] = {
    "modality": list(MODALITIES),
    "age": list(NUMBERS),
    "year": list(NUMBERS),
    "spacing_r": list(NUMBERS),
    "contrast_agent": list(FLAGS),
    "grade": [*LABEL_VALUES, *NUMBERS],
    "my label": [*LABEL_VALUES, *NUMBERS],
}


def maybe(rng: random.Random, values: list[Value]) -> Value | None:
    return rng.choice([None, *values])


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def archive(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, key: ArchiveKey
) -> Iterator[tuple[Catalog, list[VolumeRecord]]]:
    """40 volumes whose every column is missing in some, seeded; on either database."""
    rng = random.Random(7)
    url = request.getfixturevalue("postgres").create() if request.param == "postgresql" else None
    spec = EmbeddingSpec(
        encoder="tiny", layer="last", weights_sha256="0" * 64, grid=(1, 1), components_drawn=1, components_kept=1
    )
    with Catalog.open(tmp_path_factory.mktemp("filters") / "home", key, url=url, mode="write") as catalog:
        spec_id = catalog.add_spec(spec, {}).id
        for number in range(40):
            labels = {name: str(rng.choice(LABEL_VALUES)) for name in ("grade", "my label") if rng.random() < 0.7}
            year = maybe(rng, [2019.0, 2020.0, 41.0])
            volume_id = catalog.commit_volume(
                NewVolume(
                    source_key=key.digest("source", str(number)),
                    locator="",
                    size=1,
                    mtime_ns=1,
                    content_key=key.digest("content", str(number)),
                    format="nifti",
                    shape=(4, 5, 6),
                    spacing=(rng.choice([0.5, 1.0, 41.0]), 1.0, 1.0),
                    orientation="RAS",
                    oriented=True,
                    spec_id=spec_id,
                    vector=np.zeros(3),
                    intensity_rule="hu",
                    labels=labels,
                    modality=maybe(rng, list(MODALITIES)),  # type: ignore[arg-type]
                    age=maybe(rng, list(NUMBERS)),  # type: ignore[arg-type]
                    year=None if year is None else int(year),
                    contrast_agent=maybe(rng, list(FLAGS)),  # type: ignore[arg-type]
                )
            )
            if "grade" not in labels:
                catalog.set_label(volume_id, "grade", "12", origin="rejected")
        yield catalog, catalog.volumes(catalog.ids(spec_id))


# --- the naive interpreter: True, False, or None for unknown ---

OPERATORS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def held(record: VolumeRecord, column: str, value: Value | None) -> Value | None:
    """What the record holds in a column, in the type of the value it is compared with."""
    if column in record.metadata:
        return record.metadata[column]
    text = record.labels.get(column)
    if text is None or value is None or isinstance(value, str):
        return text
    plain = text.strip() and set(text.strip()) <= set("0123456789.+-eE")
    return float(text) if plain else None


def matches(where: Filter, record: VolumeRecord) -> bool | None:
    match where:
        case And(terms):
            results = [matches(term, record) for term in terms]
            return False if False in results else None if None in results else True
        case Or(terms):
            results = [matches(term, record) for term in terms]
            return True if True in results else None if None in results else False
        case Not(term):
            result = matches(term, record)
            return None if result is None else not result
        case IsNull(column):
            return held(record, column, None) is None
    return compared(where, record)


def compared(where: Comparison | In | Between, record: VolumeRecord) -> bool | None:
    match where:
        case In(column, values):
            return matches(Or(tuple(Comparison(column, "=", value) for value in values)), record)
        case Between(column, low, high):
            return matches(And((Comparison(column, ">=", low), Comparison(column, "<=", high))), record)
        case Comparison(column, sign, value):
            mine = held(record, column, value)
            return None if mine is None else OPERATORS[sign](mine, value)


# --- filters at random, and how they are written ---


@st.composite
def predicates(draw: st.DrawFn) -> Filter:
    column = draw(st.sampled_from(sorted(COLUMNS)))
    value = draw(st.sampled_from(COLUMNS[column]))
    alike = st.sampled_from([other for other in COLUMNS[column] if type(other) is type(value)])
    kinds = ["null", "in", "equal"] if isinstance(value, bool) else ["null", "in", "equal", "order", "between"]
    match draw(st.sampled_from(kinds)):
        case "null":
            return IsNull(column)
        case "in":
            return In(column, tuple(draw(st.lists(alike, min_size=1, max_size=4))))
        case "between":
            return Between(column, value, draw(alike))
        case "order":
            return Comparison(column, draw(st.sampled_from(["<", "<=", ">", ">="])), value)
    return Comparison(column, draw(st.sampled_from(["=", "!="])), value)


def combinations(inner: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    terms = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return terms.map(And) | terms.map(Or) | inner.map(Not)


FILTERS = st.recursive(predicates(), combinations, max_leaves=8)


def written(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).upper()
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def sql(where: Filter) -> str:
    match where:
        case And(terms) | Or(terms):
            return "(" + (" AND " if isinstance(where, And) else " OR ").join(map(sql, terms)) + ")"
        case Not(term):
            return f"NOT ({sql(term)})"
        case IsNull(column):
            return f'"{column}" IS NULL'
        case In(column, values):
            return f'"{column}" IN ({", ".join(map(written, values))})'
        case Between(column, low, high):
            return f'"{column}" BETWEEN {written(low)} AND {written(high)}'
        case Comparison(column, sign, value):
            return f'"{column}" {sign} {written(value)}'


@given(where=FILTERS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_database_finds_what_the_naive_interpreter_does(
    archive: tuple[Catalog, list[VolumeRecord]], where: Filter
) -> None:
    catalog, records = archive
    expected = [record.id for record in records if matches(where, record)]
    assert catalog.ids(1, where).tolist() == expected


@given(where=FILTERS)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_filter_that_is_written_down_means_the_same(
    archive: tuple[Catalog, list[VolumeRecord]], where: Filter
) -> None:
    _, records = archive
    parsed = parse_where(sql(where))
    assert [matches(parsed, record) for record in records] == [matches(where, record) for record in records]


def test_every_volume_is_found_missing_present_or_unknown(archive: tuple[Catalog, list[VolumeRecord]]) -> None:
    catalog, records = archive
    for column, values in COLUMNS.items():
        for value in values:
            one = Comparison(column, "=", value)
            parts = [catalog.ids(1, where).tolist() for where in (one, Not(one))]
            unknown = [record.id for record in records if held(record, column, value) is None]
            assert sorted([*parts[0], *parts[1], *unknown]) == [record.id for record in records]


def test_no_terms_are_all_or_nothing(archive: tuple[Catalog, list[VolumeRecord]]) -> None:
    catalog, records = archive
    assert catalog.ids(1, And(())).tolist() == [record.id for record in records]
    assert catalog.ids(1, Or(())).tolist() == []


def test_a_filter_of_the_greatest_length_still_runs(archive: tuple[Catalog, list[VolumeRecord]]) -> None:
    catalog, records = archive
    text = " OR ".join(["grade=1"] * 363)
    assert len(text) > 3900
    assert catalog.ids(1, parse_where(text)).tolist() == []
    assert len(catalog.ids(1, parse_where("NOT " * 40 + "modality = 'CT'"))) > 0
    assert len(records) == 40


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("modalty = 'CT'", "no column 'modalty': did you mean modality"),
        ("xyzzy = 'CT'", "no column 'xyzzy': expected one of modality, "),
        ("modality = 3", "modality is compared with 3.0; expected text in single quotes"),
        ("age > 'old'", "age is compared with 'old'; expected a number"),
        ("age BETWEEN 'a' AND 'b'", "expected a number"),
        ("age IN ('a')", "expected a number"),
        ("contrast_agent = 1", "expected TRUE or FALSE"),
        ("contrast_agent > TRUE", "by order"),
        ("contrast_agent BETWEEN FALSE AND TRUE", "by order"),
        ("modality", "modality alone asks for yes or no, which it does not hold; compare it: expected text"),
        ("grade", "expected text in single quotes, or a number"),
        ("patient_key IS NULL", "no column 'patient_key'"),
    ],
)
def test_columns_and_types_are_checked(archive: tuple[Catalog, list[VolumeRecord]], where: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        archive[0].ids(1, parse_where(where))


def test_case_of_a_column_does_not_matter_while_it_is_clear(
    archive: tuple[Catalog, list[VolumeRecord]], tmp_path: Path
) -> None:
    catalog, _ = archive
    assert (
        catalog.ids(1, parse_where("MODALITY = 'CT'")).tolist()
        == catalog.ids(1, parse_where("modality = 'CT'")).tolist()
    )
    where = Comparison("GRADE", "=", "II")
    assert catalog.ids(1, where).tolist() == catalog.ids(1, dataclasses.replace(where, column="grade")).tolist()
