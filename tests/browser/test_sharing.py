"""Several users at once: nothing of one reaches another, uploads wait in turn, and each may go."""

import re
import shutil
import socket
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, WebSocket, expect

from indexer.demo.archive import DemoArchive
from tests.browser.served import serving
from tests.browser.test_pages import HITS, hit, keep, open_page, settled, upload

pytestmark = pytest.mark.browser

CANARIES = ("canary-of-ada", "canary-of-bob")


def listening(page: Page) -> list[bytes]:
    """All that the server says to a page from now on."""
    heard: list[bytes] = []

    def hear(frame: str | bytes) -> None:
        heard.append(frame.encode() if isinstance(frame, str) else frame)

    def follow(socket: WebSocket) -> None:
        socket.on("framereceived", hear)

    page.on("websocket", follow)
    return heard


def test_nothing_of_one_session_appears_in_another(
    browser: Browser, address: str, demo: tuple[DemoArchive, Path]
) -> None:
    content = demo[0].path(demo[0].held_out[0]).read_bytes()
    with browser.new_context() as ada, browser.new_context() as bob:
        pages = [context.new_page() for context in (ada, bob)]
        heard = [listening(page) for page in pages]
        for page, canary in zip(pages, CANARIES, strict=True):
            open_page(page, address)
            upload(page, {"name": f"{canary}.nii.gz", "mimeType": "application/gzip", "buffer": content})
            expect(hit(page, HITS)).to_be_visible()
            page.get_by_role("textbox", name="Condition").fill(f"modality != '{canary}'")
            page.get_by_role("textbox", name="Condition").press("Enter")
            expect(page.locator(".st-key-query")).to_contain_text(canary)
            settled(page)
        for name in ("cohort", "archive", "search"):
            for page in pages:
                open_page(page, address, name)
        for mine, other in ((0, 1), (1, 0)):
            assert any(CANARIES[mine].encode() in frame for frame in heard[mine])
            assert not any(CANARIES[other].encode() in frame for frame in heard[mine])
            assert CANARIES[other] not in pages[mine].content()


def test_uploads_wait_in_turn_with_their_place_and_one_may_leave(
    browser: Browser, address: str, demo: tuple[DemoArchive, Path]
) -> None:
    scan = demo[0].path(demo[0].held_out[0])
    with browser.new_context() as context:
        pages = [context.new_page() for _ in range(3)]
        for page in pages:
            open_page(page, address)
        for page in pages:
            upload(page, scan)
        expect(pages[2].get_by_text(re.compile("In the queue: [12] before you"))).to_be_visible()
        pages[2].get_by_role("button", name="Cancel").click()
        expect(pages[2].get_by_test_id("stProgress")).to_have_count(0)
        for page in pages[:2]:
            expect(hit(page, HITS)).to_be_visible()
        settled(pages[2])
        expect(hit(pages[2], 1)).to_have_count(0)
        upload(pages[2], scan)
        expect(hit(pages[2], HITS)).to_be_visible()


def test_a_folder_is_indexed_from_the_page_and_scans_are_removed_by_typing(
    page: Page, demo: tuple[DemoArchive, Path], tmp_path: Path, screenshots: Path | None
) -> None:
    home, scans = tmp_path / "home", tmp_path / "more"
    shutil.copytree(demo[1], home)
    scans.mkdir()
    shutil.copy(demo[0].path(demo[0].held_out[0]), scans)
    (scans / "broken.nii.gz").write_bytes(b"\x1f\x8b not a scan")
    with serving(home) as address:
        open_page(page, address, "archive")
        page.get_by_role("textbox", name="Folder or file on the server").fill(str(scans))
        page.get_by_role("button", name="Index it").click()
        expect(page.get_by_test_id("stProgress")).to_be_visible()
        expect(page.get_by_text(re.compile("1 scans? added, .* 1 quarantined"))).to_be_visible()
        settled(page)
        keep(page, screenshots, "archive-run")
        page.get_by_role("textbox", name="Case numbers").fill("1, 2")
        page.get_by_role("textbox", name="Case numbers").press("Enter")
        expect(page.get_by_text("2 scans: case 1, 2.")).to_be_visible()
        expect(page.get_by_role("button", name="Remove", exact=True)).to_be_disabled()
        page.get_by_role("textbox", name="to confirm").fill("remove 2 scans")
        page.get_by_role("textbox", name="to confirm").press("Enter")
        page.get_by_role("button", name="Remove", exact=True).click()
        expect(page.get_by_text("2 scans removed.")).to_be_visible()
        page.goto(f"{address}/?case=1")
        expect(page.get_by_test_id("stAlert").filter(has_text="1")).to_be_visible()


def test_a_file_beyond_the_limit_is_refused_and_the_session_lives_on(
    page: Page, address: str, demo: tuple[DemoArchive, Path], tmp_path: Path
) -> None:
    large = tmp_path / "large.nii"
    with large.open("wb") as file:
        file.truncate(2 * 2**30)
    open_page(page, address)
    upload(page, large)
    expect(page.get_by_text(re.compile("must be .* or smaller|exceeds the maximum", re.IGNORECASE))).to_be_visible()
    open_page(page, address)
    upload(page, demo[0].path(demo[0].held_out[0]))
    expect(hit(page, HITS)).to_be_visible()


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1", b"101"), ("localhost", b"101"), ("evil.example", b"403")])
def test_a_site_whose_name_was_turned_to_this_address_gets_no_session(address: str, host: str, status: bytes) -> None:
    port = int(address.rpartition(":")[2])
    lines = (
        "GET /_stcore/stream HTTP/1.1",
        f"Host: {host}:{port}",
        f"Origin: http://{host}:{port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: streamlit",
    )
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        assert connection.recv(12).split()[1] == status
