import html

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from app.words import count, literal, literal_html, shown, when


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_markdown_shows_any_text_as_it_is(text: str) -> None:
    rendered = MarkdownIt("commonmark").renderInline(literal(text))
    assert html.unescape(rendered) == " ".join(text.split())


@pytest.mark.parametrize("mark", ["**b**", "<script>x</script>", "$x$", ":red[x]", "`x`", "[a](b)", "# x"])
def test_no_mark_survives_unescaped(mark: str) -> None:
    escaped = literal(mark)
    assert all(escaped[at - 1] == "\\" for at, letter in enumerate(escaped) if letter in "*<>$:[]`(#")


def test_html_is_escaped() -> None:
    assert literal_html('<a href="x">&') == "&lt;a href=&quot;x&quot;&gt;&amp;"


@pytest.mark.parametrize(
    ("value", "words"), [(None, "unknown"), ("", "unknown"), (True, "yes"), (False, "no"), (64.0, "64"), ("CT", "CT")]
)
def test_values_in_words(value: str | float | bool | None, words: str) -> None:
    assert shown(value) == words


def test_counts_and_times() -> None:
    assert [count(n, "scan") for n in (0, 1, 1204)] == ["0 scans", "1 scan", "1,204 scans"]
    assert when(0) == "1970-01-01 00:00 UTC"
