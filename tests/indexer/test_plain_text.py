"""What a hostile name does to a terminal: nothing."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from indexer import parameters
from indexer.plain_text import cell, plain, say


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Köln, 頭部\u3000CT\u00a05 mm 😀", "Köln, 頭部\u3000CT\u00a05 mm 😀"),
        ("a\nb\r\t\0", r"a\nb\r\t\x00"),
        ("\x1b[31mred\x9b0m", r"\x1b[31mred\x9b0m"),
        ("gpj.\u202egnp", r"gpj.\u202egnp"),
        ("caf\udce9", r"caf\udce9"),
        ("line\u2028break", r"line\u2028break"),
        ("C:\\new", "C:\\new"),
    ],
)
def test_what_is_no_sign_is_written_out(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_lines_and_cells_have_no_control_and_no_markup() -> None:
    name = "[red]a\nb\x1b[31m[/red]"
    stream = io.StringIO()
    out = Console(file=stream, force_terminal=True, no_color=True, width=80)
    say(out, name)
    assert stream.getvalue() == "[red]a\\nb\\x1b[31m[/red]\n"
    table = Table("name")
    table.add_row(cell(name))
    out.print(table)
    assert r"[red]a\nb\x1b[31m[/red]" in stream.getvalue()
    assert "\x1b[31m" not in stream.getvalue()


def test_colons_in_a_message_are_no_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    text = "--device cuda:-1: expected another; /data/:smile:/scan.nii"
    say(parameters.out, text)
    say(parameters.err, text)
    assert tuple(capsys.readouterr()) == (f"{text}\n", f"{text}\n")
