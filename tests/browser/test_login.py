"""Logging in at an OpenID Connect provider of this machine with a role, a lesser one, and none; and out again."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from indexer.demo.archive import DemoArchive
from raptor_search.archive import Archive
from tests.browser.served import free_port, running, serving
from tests.browser.test_pages import BANNER, HITS, hit, keep, settled

pytestmark = pytest.mark.browser

USERS = (
    {"sub": "ada", "email": "ada@clinic.example", "email_verified": True},
    {"sub": "vic", "email": "vic@clinic.example", "email_verified": True},
    {"sub": "eve", "email": "eve@clinic.example", "email_verified": True},
)
ROLES = """
[users]
"ada@clinic.example" = "admin"
"vic@clinic.example" = "viewer"
"""
AUTH = """
[auth]
redirect_uri = "{page}/oauth2callback"
cookie_secret = "a secret of forty characters for tests.."
client_id = "raptor-search"
client_secret = "of no importance here"
server_metadata_url = "{provider}/.well-known/openid-configuration"
"""


@pytest.fixture(scope="module")
def guarded(demo: tuple[DemoArchive, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The demo archive, served to those alone who log in."""
    folder = tmp_path_factory.mktemp("login")
    port, provider_port = free_port(), free_port()
    provider = f"http://127.0.0.1:{provider_port}"
    (folder / "access.toml").write_text(ROLES)
    (folder / "auth.toml").write_text(AUTH.format(page=f"http://127.0.0.1:{port}", provider=provider))
    users = [json.dumps(user) for user in USERS]
    command = [sys.executable, "-m", "tests.browser.provider", str(provider_port), *users]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAPTOR_ACCESS_FILE", str(folder / "access.toml"))
        with (
            running(command, f"{provider}/.well-known/openid-configuration"),
            serving(demo[1], port=port, options=["--auth", str(folder / "auth.toml")]) as address,
        ):
            yield address


def log_in(page: Page, address: str, user: str) -> None:
    page.goto(address)
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    expect(page.get_by_text(BANNER)).to_be_visible()
    expect(page.locator("img[alt*=Case]")).to_have_count(0)
    page.get_by_role("button", name="Log in").click()
    page.locator("input[name=sub]").fill(user)
    page.get_by_role("button", name="Authorize").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def log_out(page: Page) -> None:
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("button", name="End session").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_an_admin_logs_in_searches_under_their_name_and_logs_out(
    page: Page, guarded: str, demo: tuple[DemoArchive, Path], screenshots: Path | None
) -> None:
    log_in(page, guarded, "ada")
    expect(page.get_by_text("ada@clinic.example (admin)")).to_be_visible()
    page.goto(f"{guarded}/?case=1")
    expect(hit(page, HITS)).to_be_visible()
    settled(page)
    keep(page, screenshots, "login")
    with Archive.open(demo[1]) as archive:
        assert archive.catalog.audits(1)[0].author == "ada@clinic.example"
    page.goto(f"{guarded}/archive")
    expect(page.get_by_role("heading", name="Archive", exact=True)).to_be_visible()
    log_out(page)
    page.goto(f"{guarded}/?case=1")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    expect(page.locator(".rs-score")).to_have_count(0)


def test_a_viewer_may_search_and_finds_no_page_that_takes_more(page: Page, guarded: str) -> None:
    log_in(page, guarded, "vic")
    expect(page.get_by_text("vic@clinic.example (viewer)")).to_be_visible()
    page.goto(f"{guarded}/?case=1")
    expect(hit(page, HITS)).to_be_visible()
    for name in ("Evaluate", "Labels"):
        expect(page.get_by_role("link", name=name)).to_have_count(0)
    page.goto(f"{guarded}/labels")
    settled(page)
    expect(page.get_by_role("button", name="Accept")).to_have_count(0)


def test_a_login_without_a_role_sees_one_sentence_and_nothing_else(page: Page, guarded: str) -> None:
    log_in(page, guarded, "eve")
    for path in ("", "?case=1", "cohort", "archive"):
        page.goto(f"{guarded}/{path}")
        expect(page.get_by_text("eve@clinic.example has no role here")).to_be_visible()
        settled(page)
        expect(page.locator("img[alt*=Case]")).to_have_count(0)
        expect(page.locator(".rs-score")).to_have_count(0)
    log_out(page)
