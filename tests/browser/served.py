"""A real demo archive, the page serving it, and a browser that may talk to nobody else."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page

from indexer.demo.archive import DemoArchive, build_demo
from indexer.pipeline import index
from indexer.recipe import Options
from raptor_search.archive import Archive

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # Whatever is asked for outside fails at once instead of leaving the machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
START_S = 120
STOP_S = 60
RAPTOR = "from indexer.cli import main; main()"
NOTICE = "Demo: every scan is derived from one of a few real volumes."


def find_browser() -> str | None:
    """Debian's Chromium, or a browser that takes the same flags."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def make_archive(folder: Path, *, whole: bool) -> DemoArchive:
    """The demo's scans in the archive `folder / "home"`, with its map and one broken file.

    Unless the whole is asked for, only each subject's first two scans and DICOM series: enough to find it by.
    """
    demo = build_demo(folder / "demo")
    paths = [demo.path(scan) for scan in demo.scans if whole or scan.session < 3 or scan.kind == "dicom"]
    bad = demo.root / "broken.nii.gz"
    bad.write_bytes(b"\x1f\x8b not a scan")
    home = folder / "home"
    index([*paths, bad], home=home, options=Options(encoder="efficientnet-lite0"), labels=demo.tables)
    with Archive.open(home) as archive:
        archive.catalog.set_setting("notice", NOTICE)
        archive.draw_map()
    return demo


def free_port() -> int:
    """A port of the loopback address that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(home: Path, *, port: int | None = None, options: Sequence[str] = ()) -> Iterator[str]:
    """The page on a free port of the loopback address, as `raptor app` serves it; gives its address."""
    port = port or free_port()
    command = [sys.executable, "-c", RAPTOR, "app", "--home", str(home), "--port", str(port), *options]
    address = f"http://127.0.0.1:{port}"
    with running(command, f"{address}/_stcore/health"):
        yield address


@contextmanager
def running(command: Sequence[str], url: str) -> Iterator[None]:
    """A server in a process of its own, from when it answers at a URL."""
    process = subprocess.Popen(command, start_new_session=True, env=os.environ | {"OMP_NUM_THREADS": "2"})
    try:
        _wait_for(url, process)
        yield
    finally:
        with suppress(ProcessLookupError):  # it may have failed to start
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=STOP_S)
        finally:
            process.kill()  # one that does not stop is a failure, and must not outlive it
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the page stopped with status {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"{url} did not answer within {START_S} s")


@dataclass
class Watch:
    """What a page asked for, and what it complained of."""

    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    def over(self, page: Page) -> None:
        """Listen to everything the page does."""
        page.on("request", lambda request: self._asked(request.url))
        page.on("websocket", lambda socket_: self._asked(socket_.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob", "about"):
            self.hosts.add(parts.hostname or url)


def pictures_shown(page: Page, within: str) -> Sequence[int]:
    """Width in pixels of each picture inside the elements of a selector, 0 where it did not load."""
    widths: list[int] = page.eval_on_selector_all(f"{within} img", "images => images.map(image => image.naturalWidth)")
    return widths
