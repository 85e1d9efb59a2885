"""The filter language: what it takes, and that it takes nothing else."""

import re
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raptor_search.errors import QueryError
from raptor_search.filters import And, Between, Comparison, In, IsNull, Not, Or, parse_where

AGE_IS_NULL = IsNull("age")
MODALITY_IS_CT = Comparison("modality", "=", "CT")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("modality = 'CT'", MODALITY_IS_CT),
        ("modality == 'CT'", MODALITY_IS_CT),
        ("'CT' = modality", MODALITY_IS_CT),
        ("modality = 'CT' -- the chest ones", MODALITY_IS_CT),
        ("5 < age", Comparison("age", ">", 5.0)),
        ("5 >= age", Comparison("age", "<=", 5.0)),
        ("age <> -2.5", Comparison("age", "!=", -2.5)),
        ("age != 1e2", Comparison("age", "!=", 100.0)),
        ("age = .5", Comparison("age", "=", 0.5)),
        ("sex = 'it''s'", Comparison("sex", "=", "it's")),
        ("sex = 'a\\'", Comparison("sex", "=", "a\\")),
        ("\"my label\" = ''", Comparison("my label", "=", "")),
        ("group = 'A'", Comparison("group", "=", "A")),
        ("oriented", Comparison("oriented", "=", True)),
        ("NOT oriented", Not(Comparison("oriented", "=", True))),
        ("oriented = FALSE", Comparison("oriented", "=", False)),
        ("age IS NULL", AGE_IS_NULL),
        ("age IS NOT NULL", Not(AGE_IS_NULL)),
        ("age BETWEEN 1 AND 2", Between("age", 1.0, 2.0)),
        ("age NOT BETWEEN 1 AND 2", Not(Between("age", 1.0, 2.0))),
        ("sex in ('F', 'M')", In("sex", ("F", "M"))),
        ("age NOT IN (1, 2)", Not(In("age", (1.0, 2.0)))),
        ("((modality = 'CT'))", MODALITY_IS_CT),
        (
            "a = 1 OR b = 2 AND c = 3",
            Or((Comparison("a", "=", 1.0), And((Comparison("b", "=", 2.0), Comparison("c", "=", 3.0))))),
        ),
        ("a = 1 AND b = 2 AND age IS NULL", And((Comparison("a", "=", 1.0), Comparison("b", "=", 2.0), AGE_IS_NULL))),
        ("NOT a = 1 AND age IS NULL", And((Not(Comparison("a", "=", 1.0)), AGE_IS_NULL))),
    ],
)
def test_a_condition_becomes_the_filter_it_describes(text: str, expected: object) -> None:
    assert parse_where(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "modality =",
        "= 'CT'",
        "(modality = 'CT'",
        "modality = 'CT",
        "modality = 'CT' AND",
        "modality = 'CT'; DROP TABLE volume",
        "modality = 'CT' UNION SELECT 1",
        "SELECT 1",
        "DROP TABLE volume",
        "1 = 1",
        "TRUE",
        "*",
        "lower(modality) = 'ct'",
        "modality || 'x' = 'CTx'",
        "modality LIKE 'C%'",
        "modality ~ 'C'",
        "modality = E'CT'",
        "modality = N'CT'",
        "modality = body_part",
        "modality = ('CT')",
        "volume.modality = 'CT'",
        "age + 1 = 2",
        "age::int = 3",
        "CAST(age AS INT) = 3",
        "age = NULL",
        "age IN (1, NULL)",
        "age IN ()",
        "age IN (SELECT 1)",
        "age IN (1, 'a')",
        "age IN UNNEST(x)",
        "age BETWEEN 1 AND 'a'",
        "age BETWEEN SYMMETRIC 2 AND 1",
        "age = - -1",
        "age = 1e999",
        "age = 0x10",
        "age = ?",
        "age = :x",
        "age = $1",
        "age IS TRUE",
        "age IS DISTINCT FROM 1",
        "age <=> 1",
        "age = ANY(SELECT 1)",
        "EXISTS (SELECT 1)",
        "CASE WHEN oriented THEN TRUE END",
        "(a, b) = (1, 2)",
        "date = DATE '2020-01-01'",
        "age = 1 ORDER BY age",
        "age = 1 LIMIT 1",
        "modality = 'a\0b'",
        "(" * 900 + "a = 1" + ")" * 900,
        "NOT " * 900 + "oriented",
        "a = '" + "x" * 4000 + "'",
    ],
)
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_where(text)
    assert "\n" not in caught.value.message
    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) < 300


def test_double_quotes_around_a_value_are_explained() -> None:
    with pytest.raises(QueryError, match="text takes single quotes, 'CT'"):
        parse_where('modality = "CT"')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sex = 'M", "the quote ' at character 7 is not closed (within text, ' is written twice)"),
        ("name = 'it's'", "the quote ' at character 13 is not closed"),
        ('modality = "CT AND age > 60', 'the quote " at character 12 is not closed'),
        ("age > 1e400", "uses '1e400', which is too large; expected a number below 1.8e308"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    with pytest.raises(QueryError, match=re.escape(words)):
        parse_where(text)


def test_null_is_explained() -> None:
    with pytest.raises(QueryError, match="IS NULL"):
        parse_where("age = NULL")


@given(st.text(max_size=60) | st.text("aA1'\"()=<>!, %;-*/\\ \n", max_size=60))
@settings(deadline=None)
def test_any_text_is_a_filter_or_a_query_error(text: str) -> None:
    with suppress(QueryError):
        parse_where(text)


def test_values_of_two_types_are_refused_in_filters_built_by_hand() -> None:
    with pytest.raises(QueryError, match="differ in type"):
        In("age", (1, "a"))
    with pytest.raises(QueryError, match="differ in type"):
        In("age", (1, True))
    with pytest.raises(QueryError, match="differ in type"):
        Between("age", 1.0, "2")
    with pytest.raises(QueryError, match="at least one value"):
        In("age", ())
    assert In("age", (1, 2.5)).values == (1, 2.5)
