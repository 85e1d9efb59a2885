"""Where the page may be served, and what a login needs; the server itself is not started here."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from indexer.serve import serve
from raptor_search.errors import UsageError

AUTH = """
[auth]
redirect_uri = "{uri}"
cookie_secret = "{secret}"
client_id = "raptor"
client_secret = "x"
server_metadata_url = "https://id.clinic.example/.well-known/openid-configuration"
"""
SECRET = "0123456789abcdef" * 2
PAGE = "https://raptor.clinic.example/oauth2callback"

Started = list[tuple[Sequence[str], dict[str, str]]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Started:
    """What would have been run instead of this process."""
    found: Started = []
    monkeypatch.setattr(os, "execve", lambda _, command, environment: found.append((command, environment)))
    monkeypatch.setenv("RAPTOR_ACCESS_FILE", str(tmp_path / "access.toml"))
    monkeypatch.delenv("RAPTOR_AUTH_FILE", raising=False)
    (tmp_path / "access.toml").write_text('[users]\n"ada@clinic.example" = "admin"\n')
    return found


def auth(folder: Path, uri: str = PAGE, secret: str = SECRET) -> Path:
    file = folder / "auth.toml"
    file.write_text(AUTH.format(uri=uri, secret=secret))
    return file


def test_it_is_served_on_the_loopback_address_and_settings_keep_it_there(started: Started, tmp_path: Path) -> None:
    serve(tmp_path / "home", port=48731)
    ((command, environment),) = started
    assert command[0] == sys.executable
    assert {
        "--server.address=127.0.0.1",
        "--client.showErrorDetails=none",
        "--server.maxUploadSize=1024",
        "--server.enableStaticServing=false",
        "--server.allowedHosts=127.0.0.1",
        "--server.allowedHosts=localhost",
    } <= set(command)
    assert "RAPTOR_AUTH_FILE" not in environment
    assert environment["RAPTOR_HOME"] == str(tmp_path / "home")


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.1.2.3", "raptor.clinic.example", ""])
def test_another_address_is_refused_without_a_login(started: Started, tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError, match="users have to log in: give the provider by `--auth FILE`"):
        serve(tmp_path, port=48731, address=address)
    assert started == []


def test_with_a_login_another_address_is_served_and_the_page_is_told(started: Started, tmp_path: Path) -> None:
    file = auth(tmp_path)
    serve(tmp_path, port=48731, address="0.0.0.0", auth=file)
    ((command, environment),) = started
    assert {
        "--server.address=0.0.0.0",
        f"--secrets.files={file}",
        "--browser.serverAddress=raptor.clinic.example",
        "--browser.serverPort=443",
        "--server.allowedHosts=raptor.clinic.example",
    } <= set(command)
    assert environment["RAPTOR_AUTH_FILE"] == str(file)


@pytest.mark.parametrize(
    ("uri", "secret", "match"),
    [
        (PAGE, "short", "cookie_secret is to have 32"),
        ("", SECRET, "lacks redirect_uri"),
        ("https://raptor.clinic.example/elsewhere", SECRET, "followed by /oauth2callback"),
        ("http://raptor.clinic.example/oauth2callback", SECRET, "begin with https"),
    ],
)
def test_a_login_that_is_not_safe_is_refused(
    started: Started, tmp_path: Path, uri: str, secret: str, match: str
) -> None:
    with pytest.raises(UsageError, match=match):
        serve(tmp_path, port=48731, auth=auth(tmp_path, uri, secret))
    assert started == []


def test_a_login_without_roles_or_without_its_file_is_refused(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        serve(tmp_path, port=48731, auth=tmp_path / "absent.toml")
    monkeypatch.setenv("RAPTOR_ACCESS_FILE", str(tmp_path / "absent.toml"))
    with pytest.raises(UsageError, match="nobody may log in"):
        serve(tmp_path, port=48731, auth=auth(tmp_path))
    assert started == []
