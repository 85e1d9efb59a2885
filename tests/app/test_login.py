"""Pages by role, as a login would have it: what the provider says is given, the rest is the page's own."""

import time
from pathlib import Path
from typing import Any

import pytest
import streamlit as st

from app import login
from raptor_search.archive import Archive
from raptor_search.errors import AccessError
from tests.app.archive import SmallArchive
from tests.app.conftest import OpenPage
from tests.app.test_main import BANNER, said
from tests.app.test_search_page import hits

ROLES = """
[users]
"vic@clinic.example" = "viewer"
"rae@clinic.example" = "researcher"
"cleo@clinic.example" = "curator"
"ada@clinic.example" = "admin"
"""


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the provider says; empty as long as nobody has logged in."""
    said_: dict[str, Any] = {}
    (tmp_path / "access.toml").write_text(ROLES)
    monkeypatch.setenv("RAPTOR_ACCESS_FILE", str(tmp_path / "access.toml"))
    monkeypatch.setenv("RAPTOR_AUTH_FILE", str(tmp_path / "auth.toml"))
    monkeypatch.setattr(login, "_claims", lambda: said_ or None)
    return said_


def test_before_the_login_nothing_of_the_archive_is_shown(
    small: SmallArchive, page: OpenPage, claims: dict[str, Any]
) -> None:
    app = page(case="1")
    assert not app.exception
    assert BANNER in said(app)
    assert [title.value for title in app.title] == ["Log in"]
    assert [button.label for button in app.button] == ["Log in"]
    assert hits(app) == []
    assert not app.image


def test_a_login_without_a_role_is_one_sentence_and_a_way_out(
    small: SmallArchive, page: OpenPage, claims: dict[str, Any]
) -> None:
    claims["email"] = "eve@clinic.example"
    app = page(case="1")
    assert not app.exception
    (error,) = app.error
    assert "has no role here" in error.value
    assert [button.label for button in app.button] == ["Log out"]
    assert not app.image


def test_a_viewer_searches_and_the_audit_log_names_them(
    small: SmallArchive, page: OpenPage, claims: dict[str, Any]
) -> None:
    claims["email"] = "vic@clinic.example"
    app = page(case="1")
    assert not app.error
    assert len(hits(app)) == 10
    assert "vic@clinic.example (viewer)" in said(app)
    with Archive.open(small.home) as archive:
        assert archive.catalog.audits()[0].author == "vic@clinic.example"


def test_a_role_that_is_taken_away_is_gone_with_the_next_run(
    small: SmallArchive, page: OpenPage, claims: dict[str, Any], tmp_path: Path
) -> None:
    claims["email"] = "vic@clinic.example"
    app = page(case="1")
    assert len(hits(app)) == 10
    (tmp_path / "access.toml").write_text("")
    app.run()
    assert hits(app) == []
    assert "has no role here" in app.error[0].value
    (tmp_path / "access.toml").write_text("not toml at all [")
    app.run()
    assert hits(app) == []
    assert "is no TOML file" in app.error[0].value


def test_an_expired_token_is_no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    class User:
        is_logged_in = True
        until: object = time.time() + 60

        def to_dict(self) -> dict[str, object]:
            return {"email": "ada@clinic.example", "exp": self.until}

    user = User()
    monkeypatch.setattr(st, "user", user)
    assert login._claims() == user.to_dict()
    for until in (time.time() - 1, None, "later"):
        user.until = until
        assert login._claims() is None


@pytest.mark.parametrize("address", ["0.0.0.0", "", "10.0.0.7", "::"])
def test_a_page_that_others_reach_without_a_login_shows_nothing(
    small: SmallArchive, page: OpenPage, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.delenv("RAPTOR_AUTH_FILE", raising=False)
    monkeypatch.setattr(login.st, "get_option", {"server.address": address}.get)
    with pytest.raises(AccessError, match="other machines reach this page"):
        login.current()


def test_without_a_login_the_page_says_that_whoever_uses_it_may_do_everything(
    small: SmallArchive, page: OpenPage
) -> None:
    assert "whoever uses this machine is admin: no login" in said(page())
