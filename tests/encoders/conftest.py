"""A model hub on this machine."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.encoders.hub import point_hub_at

COMMIT = "ed25f3a31f01632728cabb09d1542f84ab7b0056"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A hub that serves the bytes set as `content`, but no file named in `absent`; nothing while `content` is None."""

    class Handler(http.server.BaseHTTPRequestHandler):
        content: bytes | None = None
        absent: tuple[str, ...] = ()
        asked: ClassVar[list[str]] = []

        def do_HEAD(self) -> None:
            self.asked.append(self.path)
            if self.content is None or self.path.endswith(self.absent):
                self.send_response(404)
                if self.content is not None:
                    self.send_header("X-Error-Code", "EntryNotFound")
                self.end_headers()
                return
            self.send_response(200)
            for name, value in {
                "ETag": '"e"',
                "X-Repo-Commit": COMMIT,
                "Content-Length": len(self.content),
            }.items():
                self.send_header(name, str(value))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            if self.content is not None and not self.path.endswith(self.absent):
                self.wfile.write(self.content)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        point_hub_at(f"http://127.0.0.1:{server.server_port}", monkeypatch)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        yield Handler
        server.shutdown()
        thread.join()
