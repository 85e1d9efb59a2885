"""The demo archive served once for all browser tests, and a page that is watched."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from indexer.demo.archive import DemoArchive
from tests.browser.served import FLAGS, Watch, find_browser, make_archive, serving

VIEWPORT = {"width": 1440, "height": 1000}
TIMEOUT_MS = 90_000


@pytest.fixture(scope="session")
def screenshots() -> Path | None:
    folder = os.environ.get("RAPTOR_SCREENSHOTS")
    return Path(folder) if folder else None


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A browser of which no page, of whatever test, may ask anything outside this machine."""
    path = find_browser()
    if path is None:
        pytest.skip("no Chromium on this machine: install it with `apt-get install chromium`")
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        watch, new_context = Watch(), browser.new_context

        def watched(**options: Any) -> BrowserContext:
            context = new_context(**options)
            context.on("page", watch.over)
            return context

        browser.new_context = watched  # type: ignore[method-assign]
        yield browser
        browser.close()
    assert watch.hosts <= {"127.0.0.1"}


@pytest.fixture(scope="session")
def demo(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory, screenshots: Path | None
) -> Iterator[tuple[DemoArchive, Path]]:
    folder = tmp_path_factory.mktemp("browser")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAPTOR_KEY_FILE", str(folder / "archive.key"))
        patch.delenv("RAPTOR_DATABASE_URL", raising=False)
        yield make_archive(folder, whole=screenshots is not None), folder / "home"


@pytest.fixture(scope="session")
def address(demo: tuple[DemoArchive, Path]) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAPTOR_VIEWER_URL", "http://127.0.0.1:9/own-viewer?study={study}&series={series}")
        with serving(demo[1]) as served:
            yield served


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in a session of its own; whatever it asks outside this machine, or breaks on, fails the test."""
    with browser.new_context(viewport=VIEWPORT) as context:
        opened = context.new_page()
        opened.set_default_timeout(TIMEOUT_MS)
        watch = Watch()
        watch.over(opened)
        yield opened
    assert watch.hosts <= {"127.0.0.1"}
    assert watch.complaints == []
