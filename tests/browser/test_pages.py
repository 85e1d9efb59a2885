"""The pages as a user has them: a real archive, a real server, a real browser, nothing outside this machine."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from indexer.demo.archive import DemoArchive
from tests.browser.served import pictures_shown, serving

pytestmark = pytest.mark.browser

BANNER = "Research use only; not a medical device."
HITS = 10
PAGES = {
    "search": "Find similar scans",
    "compare": "Compare",
    "cohort": "Cohort",
    "labels": "Labels",
    "evaluate": "Evaluate",
    "archive": "Archive",
}


def open_page(page: Page, address: str, name: str = "search", query: str = "") -> None:
    page.goto(f"{address}/{'' if name == 'search' else name}{query}")
    expect(page.get_by_role("heading", name=PAGES[name], exact=True)).to_be_visible()
    settled(page)


def settled(page: Page) -> None:
    """Wait until the page's script has run to its end, and nothing in it broke."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
    expect(page.get_by_test_id("stException")).to_have_count(0)


def upload(page: Page, *files: Path | dict[str, str | bytes]) -> None:
    expect(page.locator("input[type=file]")).to_have_count(1)  # the one before goes with the end of the run
    page.locator("input[type=file]").set_input_files(list(files))


def hit(page: Page, rank: int) -> Locator:
    return page.locator(f".st-key-hit-{rank}")


def keep(page: Page, folder: Path | None, name: str) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png")


@pytest.mark.parametrize("number", [0, 1], ids=["nifti", "zip-of-dicom"])
def test_an_uploaded_scan_finds_ten_cases_with_pictures_its_own_source_first(
    page: Page, address: str, demo: tuple[DemoArchive, Path], screenshots: Path | None, number: int
) -> None:
    scan = demo[0].held_out[number]
    open_page(page, address)
    upload(page, demo[0].path(scan))
    expect(hit(page, HITS)).to_be_visible()
    settled(page)
    for rank in range(1, HITS + 1):
        assert pictures_shown(page, f".st-key-hit-{rank}")[0] > 0
    expect(hit(page, 1).locator(".rs-chip", has_text=re.compile("^source"))).to_have_text(f"source{scan.source.name}")
    assert pictures_shown(page, ".st-key-query")[0] > 0
    keep(page, screenshots, f"search-{scan.kind}")


def test_the_files_of_a_series_at_once_are_one_scan_and_its_duplicate_is_marked(
    page: Page, address: str, demo: tuple[DemoArchive, Path]
) -> None:
    series = next(scan for scan in demo[0].scans if scan.kind == "dicom")
    open_page(page, address)
    upload(page, *sorted(demo[0].path(series).iterdir()))
    expect(hit(page, 1)).to_contain_text("1.000")
    expect(hit(page, 1)).to_contain_text("same bytes as the query")
    expect(hit(page, 1)).to_contain_text("same patient")


def test_filters_narrow_the_hits_without_embedding_again(
    page: Page, address: str, demo: tuple[DemoArchive, Path]
) -> None:
    open_page(page, address)
    upload(page, demo[0].path(demo[0].held_out[0]))
    expect(hit(page, 1)).to_be_visible()
    page.get_by_role("textbox", name="Condition").fill("modality = 'PT'")
    page.get_by_role("textbox", name="Condition").press("Enter")
    expect(hit(page, 1)).to_contain_text("PT")
    expect(page.get_by_test_id("stProgress")).to_have_count(0)


def test_a_hit_says_why_it_matches_and_opens_as_a_new_query(page: Page, address: str, screenshots: Path | None) -> None:
    open_page(page, address, query="?case=1")
    expect(hit(page, 1)).to_be_visible()
    hit(page, 1).get_by_role("button", name="Why they match").click()
    expect(page.get_by_role("dialog").locator(".js-plotly-plot")).to_have_count(2)
    settled(page)
    keep(page, screenshots, "why-they-match")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    hit(page, 1).get_by_role("button", name="Search from here").click()
    expect(page).to_have_url(re.compile(r"case=(?!1\b)\d+&k=10$"))
    expect(hit(page, HITS)).to_be_visible()
    settled(page)
    page.go_back()
    expect(page).to_have_url(re.compile(r"case=1&k=10$"))  # one step


def test_a_box_on_the_picture_steers_the_search_and_a_link_reopens_it(
    page: Page, browser: Browser, address: str, screenshots: Path | None
) -> None:
    open_page(page, address, query="?case=1")
    page.get_by_text("Compare a part of the picture only").click()
    grid = page.locator(".st-key-part .js-plotly-plot .nsewdrag").first
    expect(grid).to_be_visible()
    settled(page)
    grid.scroll_into_view_if_needed()
    box = grid.bounding_box()
    assert box is not None
    across, down = box["width"], box["height"]
    page.mouse.move(box["x"] + 0.08 * across, box["y"] + 0.25 * down)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.15 * across, box["y"] + 0.5 * down, steps=4)
    page.mouse.move(box["x"] + 0.24 * across, box["y"] + 0.75 * down, steps=4)
    page.mouse.up()
    expect(page.locator(".st-key-query")).to_contain_text("compared in axial:")
    hit(page, 2).get_by_role("button", name="More like this").click()
    expect(page.locator(".st-key-query")).to_contain_text("more like case")
    expect(page).to_have_url(re.compile("region=axial"))
    settled(page)
    keep(page, screenshots, "search-steered")
    found = [hit(page, rank).locator(".rs-head").inner_text() for rank in range(1, HITS + 1)]
    with page.expect_download() as download:
        page.get_by_role("button", name="Hits as CSV").click()
    assert len(download.value.path().read_text().splitlines()) == HITS + 1
    with page.expect_download() as download:
        page.get_by_role("button", name="For the record").click()
    assert download.value.path().read_text().count("<img ") == HITS + 1
    with browser.new_context() as other:
        again = other.new_page()
        again.goto(page.url)
        expect(hit(again, HITS)).to_be_visible()
        settled(again)
        assert [hit(again, rank).locator(".rs-head").inner_text() for rank in range(1, HITS + 1)] == found


def test_an_evaluation_shows_figures_and_gives_a_report_that_needs_nothing_beside_it(
    page: Page, address: str, screenshots: Path | None, tmp_path: Path
) -> None:
    open_page(page, address, "evaluate")
    page.get_by_role("button", name="Evaluate", exact=True).click()
    expect(page.get_by_text("Which classes are mixed up").first).to_be_visible()
    expect(page.get_by_role("heading", name="Leaks")).to_be_visible()
    expect(page.get_by_test_id("stAlertContentError")).to_have_count(0)
    settled(page)
    keep(page, screenshots, "evaluate")
    with page.expect_download() as download:
        page.get_by_role("button", name="Report as HTML").click()
    report = tmp_path / "evaluation.html"
    download.value.save_as(report)
    text = report.read_text()
    assert "<h2>Leaks</h2>" in text
    assert not re.search(r"(src|href)=|@import|url\(", text)


def test_an_upload_that_is_no_scan_gives_one_sentence_and_the_session_lives_on(
    page: Page, address: str, demo: tuple[DemoArchive, Path]
) -> None:
    open_page(page, address)
    for name, content in {"notes.txt": b"a letter", "empty.nii.gz": b"", "cut.nii.gz": b"\x1f\x8b\x08"}.items():
        upload(page, {"name": name, "mimeType": "application/octet-stream", "buffer": content})
        alert = page.get_by_test_id("stAlert").get_by_test_id("stMarkdownContainer")
        expect(alert).to_contain_text(name)
        settled(page)
        expect(alert).to_have_count(1)
        assert len(alert.inner_text().strip().splitlines()) == 1
        assert "raptor-upload-" not in alert.inner_text()
    upload(page, demo[0].path(demo[0].held_out[0]))
    expect(hit(page, HITS)).to_be_visible()


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_with_the_banner_and_without_an_error(
    page: Page, address: str, screenshots: Path | None, name: str
) -> None:
    open_page(page, address, name)
    expect(page.get_by_text(BANNER)).to_be_visible()
    expect(page.get_by_text("every scan is derived")).to_be_visible()
    expect(page.get_by_test_id("stAlertContentError")).to_have_count(0)
    if name == "labels":
        expect(page.locator(".st-key-accept button")).to_be_visible()
        settled(page)
    keep(page, screenshots, name)


def test_an_empty_archive_says_which_commands_to_run(page: Page, browser: Browser, tmp_path: Path) -> None:
    with serving(tmp_path / "nothing") as empty:
        for name in PAGES:
            page.goto(f"{empty}/{'' if name == 'search' else name}")
            expect(page.get_by_text("raptor index /path/to/scans")).to_be_visible()
            settled(page)
