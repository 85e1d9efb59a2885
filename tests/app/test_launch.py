"""The page's server stops when it is told to, whoever still holds a connection."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import streamlit

from tests.browser.served import RAPTOR, free_port

AT_ONCE = 8
"""Requests for the largest file of the page: more than the buffers between server and browser hold."""


def test_it_stops_though_a_browser_does_not_read_on(tmp_path: Path) -> None:
    static = Path(streamlit.__file__).parent / "static"
    largest = max((static / "static/js").iterdir(), key=lambda file: file.stat().st_size)
    port = free_port()
    asked = f"GET /{largest.relative_to(static)} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    command = [sys.executable, "-c", RAPTOR, "app", "--home", str(tmp_path), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            while b"URL" not in process.stdout.readline():
                assert process.poll() is None
            with socket.create_connection(("127.0.0.1", port), timeout=60) as browser:
                browser.sendall(asked * AT_ONCE)
                assert browser.recv(12) == b"HTTP/1.1 200"
                process.send_signal(signal.SIGTERM)
                assert process.wait(60) == 0
        finally:
            process.kill()
