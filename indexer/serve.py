"""Starting the page: Streamlit on the loopback address, or on another one where users log in."""

import importlib.util
import os
import socket
import sys
import tomllib
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from raptor_search.access import AccessSettings, is_loopback
from raptor_search.errors import UsageError

__all__ = ["ADDRESS", "AUTH_VARIABLE", "serve"]

ADDRESS = "127.0.0.1"
MAX_UPLOAD_MB = 1024

LOCAL_NAMES = ("127.0.0.1", "localhost", "::1")
"""Names that a browser may know the page by: another site whose name was turned to this address gets nothing."""

AUTH_VARIABLE = "RAPTOR_AUTH_FILE"
"""Tells the page that users log in, by the file of the provider; absent, it serves whoever runs it."""

AUTH_KEYS = ("redirect_uri", "cookie_secret", "client_id", "client_secret", "server_metadata_url")

COOKIE_SECRET = 32
"""Characters of the secret that login cookies are signed with, at least."""


def serve(home: Path, *, port: int, address: str = ADDRESS, auth: Path | None = None) -> NoReturn:
    """Become the server of the page for one archive, so that stopping this process stops it.

    Args:
        home: the archive's folder.
        port: to listen on.
        address: to listen on; other than the loopback address, only with `auth`.
        auth: TOML file whose table [auth] names an OpenID Connect provider: everybody has to log in.

    Raises:
        UsageError: the port is taken, the address needs a login, or the login's files are not as they are to be.
    """
    environment = os.environ | {"RAPTOR_HOME": str(home.expanduser().resolve())}
    settings: dict[str, object] = {
        "server.address": address,
        "server.port": port,
        "server.headless": "true",
        "server.maxUploadSize": MAX_UPLOAD_MB,
        "server.enableXsrfProtection": "true",
        "server.enableStaticServing": "false",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.showErrorDetails": "none",
        "client.toolbarMode": "minimal",
    }
    hosts = [*LOCAL_NAMES]
    if auth is not None:
        own, host = _login(auth.expanduser().absolute(), address)
        settings |= own
        hosts.append(host)
        environment[AUTH_VARIABLE] = str(auth.expanduser().absolute())
    elif not is_loopback(address):
        raise UsageError(
            f"--address {address}: other machines reach it, so users have to log in: give the provider by `--auth FILE`"
        )
    _check_free(address, port)
    flags = [f"--{name}={value}" for name, value in settings.items()]
    flags += [f"--server.allowedHosts={host}" for host in hosts]
    # -P: a folder named app or migrations where the user stands is not the program's.
    command = [sys.executable, "-P", "-m", "app.launch", "run", str(_page()), *flags]
    sys.stdout.flush()
    os.execve(sys.executable, command, environment)


def _login(auth: Path, address: str) -> tuple[dict[str, object], str]:
    """Streamlit's settings for a login, and the name that browsers know the page by.

    Raises:
        UsageError: the file or the roles are not as they are to be, or a package is missing.
    """
    try:
        table = tomllib.loads(auth.read_text("utf-8")).get("auth")
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--auth {auth} cannot be read: {error}") from error
    given = table if isinstance(table, dict) else {}
    missing = [key for key in AUTH_KEYS if not isinstance(given.get(key), str) or not given[key]]
    if missing:
        raise UsageError(f"--auth {auth}: the table [auth] lacks {', '.join(missing)}; see the README")
    if len(given["cookie_secret"]) < COOKIE_SECRET:
        raise UsageError(f"--auth {auth}: cookie_secret is to have {COOKIE_SECRET} random characters at least")
    back = urlsplit(given["redirect_uri"])
    if not back.hostname or back.path != "/oauth2callback":
        raise UsageError(f"--auth {auth}: redirect_uri is to be the page's address followed by /oauth2callback")
    if back.scheme != "https" and not is_loopback(back.hostname):
        raise UsageError(f"--auth {auth}: redirect_uri is to begin with https, as other machines reach it")
    if importlib.util.find_spec("authlib") is None:
        raise UsageError("a login needs Authlib: run `pip install 'raptor-search[cpu,login]'`")
    AccessSettings.load()
    settings: dict[str, object] = {"secrets.files": auth, "browser.serverAddress": back.hostname}
    if not is_loopback(address) and back.port is None:
        settings["browser.serverPort"] = 443 if back.scheme == "https" else 80
    return settings, back.hostname


def _check_free(address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise UsageError(
                f"port {port} on {address} cannot be used ({error.strerror}): give another with `--port`"
            ) from error


def _page() -> Path:
    spec = importlib.util.find_spec("app")
    if spec is None or not spec.submodule_search_locations:
        raise UsageError("the page is not installed: run `pip install 'raptor-search[cpu]'`")
    return Path(spec.submodule_search_locations[0]) / "main.py"
