"""Starting the page: Streamlit on the loopback address, with the settings that keep it there."""

import importlib.util
import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

from raptor_search.errors import UsageError

__all__ = ["serve"]

ADDRESS = "127.0.0.1"
MAX_UPLOAD_MB = 1024


def serve(home: Path, *, port: int) -> NoReturn:
    """Become the server of the page for one archive, so that stopping this process stops it.

    Raises:
        UsageError: where the port is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError as error:
            raise UsageError(
                f"port {port} on {ADDRESS} cannot be used ({error.strerror}): give another with `--port`"
            ) from error
    settings = {
        "server.address": ADDRESS,
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
    flags = [f"--{name}={value}" for name, value in settings.items()]
    # -P: a folder named app or migrations where the user stands is not the program's.
    command = [sys.executable, "-P", "-m", "streamlit", "run", str(_page()), *flags]
    sys.stdout.flush()
    os.execve(sys.executable, command, os.environ | {"RAPTOR_HOME": str(home.expanduser().resolve())})


def _page() -> Path:
    spec = importlib.util.find_spec("app")
    if spec is None or not spec.submodule_search_locations:
        raise UsageError("the page is not installed: run `pip install 'raptor-search[cpu]'`")
    return Path(spec.submodule_search_locations[0]) / "main.py"
