"""The cohort map as it is used: drawn around, counted, labelled, searched from; with and without WebGL."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from indexer.demo.archive import DemoArchive
from raptor_search.keys import VERSION_LINE
from tests.archives import draw, drawn_archive
from tests.browser.served import pictures_shown, serving
from tests.browser.test_pages import hit, keep, open_page, settled, upload

pytestmark = pytest.mark.browser

LARGE = 2_100
"""Scans of a map that is drawn by WebGL where there is one."""

NO_WEBGL = """
const real = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind.includes("webgl") ? null : real.call(this, kind, ...rest);
};
"""


def draw_around(page: Page, left: float, top: float, right: float, bottom: float) -> None:
    """A lasso over a part of the map, in shares of its width and height."""
    box = page.locator(".st-key-map .js-plotly-plot .nsewdrag").first.bounding_box()
    assert box is not None
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top + 0.02)]
    for place, (x, y) in enumerate(corners):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        if place == 0:
            page.mouse.down()
    page.mouse.up()


def picked(page: Page) -> int:
    """How many scans are inside what was drawn."""
    header = page.get_by_role("heading", name=re.compile("inside what you drew"))
    expect(header).to_be_visible()
    settled(page)
    return int(header.inner_text().split()[0].replace(",", ""))


def test_a_click_on_the_map_opens_the_case(page: Page, address: str, screenshots: Path | None) -> None:
    open_page(page, address, "cohort")
    page.get_by_text("Click opens a case").click()
    settled(page)
    expect(page.locator('.st-key-map .modebar-btn.active[data-val="pan"]')).to_be_visible()
    settled(page)
    page.locator(".st-key-map .scatterlayer .point").first.click(force=True)
    expect(page.get_by_role("heading", name=re.compile(r"^Case \d+$"))).to_be_visible()
    settled(page)
    assert all(pictures_shown(page, ".stMain"))
    keep(page, screenshots, "cohort-case")


def test_a_lasso_is_counted_labelled_exported_and_searched_from(
    page: Page, address: str, screenshots: Path | None
) -> None:
    open_page(page, address, "cohort")
    expect(page.locator(".js-plotly-plot .point").first).to_be_visible()
    draw_around(page, 0.01, 0.02, 0.6, 0.98)
    scans = picked(page)
    assert scans > 1
    page.get_by_role("heading", name=re.compile("inside what you drew")).scroll_into_view_if_needed()
    assert all(pictures_shown(page, ".stMain"))
    keep(page, screenshots, "cohort-picked")
    page.get_by_text("Label these").click()
    fill_choice(page, "Label", "reviewed")
    fill_choice(page, "Value", "twice")
    page.get_by_role("button", name=re.compile(f"Give twice to {scans} scan")).click()
    expect(page.get_by_text(f"{scans} scans got reviewed: twice")).to_be_visible()
    settled(page)
    keep(page, screenshots, "cohort-labelled")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("got reviewed: twice")).to_have_count(0)
    settled(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as CSV").click()
    assert len(download.value.path().read_text().splitlines()) == scans + 1
    page.get_by_role("button", name="Search like these").click()
    expect(page).to_have_url(re.compile(r"case=\d+.*like="))
    expect(hit(page, 1)).to_be_visible()
    expect(page.locator(".st-key-query")).to_contain_text("more like case")


def fill_choice(page: Page, name: str, text: str) -> None:
    """Type a new option into one of the choices below the map."""
    page.locator(f".st-key-picked-{name.lower()}").get_by_label(name, exact=True).fill(text)
    page.keyboard.press("Enter")
    settled(page)


def test_clusters_are_picked_without_a_mouse_and_colour_the_map(
    page: Page, address: str, screenshots: Path | None
) -> None:
    open_page(page, address, "cohort")
    page.get_by_label("Colour by").focus()
    page.keyboard.type("Cluster")
    page.keyboard.press("Enter")
    settled(page)
    page.locator(".st-key-cluster-0").get_by_role("button", name="Select its scans").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=re.compile("of cluster 1"))).to_be_visible()
    settled(page)
    assert all(pictures_shown(page, ".st-key-cluster-0"))
    keep(page, screenshots, "cohort-clusters")


def test_an_uploaded_scan_is_placed_on_the_map(
    page: Page, address: str, demo: tuple[DemoArchive, Path], screenshots: Path | None
) -> None:
    open_page(page, address)
    upload(page, demo[0].path(demo[0].held_out[0]))
    expect(hit(page, 1)).to_be_visible()
    settled(page)
    page.get_by_role("link", name="Cohort").click()
    expect(page.get_by_role("heading", name="Cohort", exact=True)).to_be_visible()
    settled(page)
    page.get_by_role("radio", name="Place a scan").or_(page.get_by_role("button", name="Place a scan")).first.click()
    page.get_by_role("button", name=re.compile(r"^Place .*\.nii")).click()
    expect(page.get_by_text("Confidence of placing")).to_be_visible()
    settled(page)
    expect(page.locator(".st-key-map .legendtext", has_text=".nii")).to_have_count(1)
    keep(page, screenshots, "cohort-placed")


@pytest.mark.parametrize(("name", "scheme"), [("cohort", "dark"), ("labels", "light"), ("evaluate", "dark")])
def test_a_phone_shows_the_page_in_its_width_with_words_for_every_picture(
    browser: Browser, address: str, screenshots: Path | None, name: str, scheme: str
) -> None:
    with browser.new_context(viewport={"width": 400, "height": 850}, color_scheme=scheme) as context:  # type: ignore[arg-type]
        page = context.new_page()
        open_page(page, address, name)
        if name == "cohort":
            expect(page.locator(".js-plotly-plot .point").first).to_be_visible()
        if name == "labels":
            expect(page.get_by_role("button", name=re.compile("^Accept"))).to_be_visible()
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        wide = "images => images.filter(image => image.getBoundingClientRect().right > 401).length"
        assert page.eval_on_selector_all(".stMain img", wide) == 0
        assert page.eval_on_selector_all(".stMain img", "images => images.filter(image => !image.alt).length") == 0
        keep(page, screenshots, f"phone-{name}-{scheme}")


@pytest.fixture(scope="module")
def large(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page over a map of drawn points, too many for SVG; few of its scans are still there."""
    folder = tmp_path_factory.mktemp("large")
    made = drawn_archive(folder / "home")
    made.add(draw(1, 20))
    ids = np.arange(1, LARGE + 1)
    places = np.random.default_rng(2).normal(size=(LARGE, 2)).astype(np.float32)
    made.catalog.save_map(made.stored.id, ids, places, {"seed": 0})
    made.catalog.close()
    key = folder / "archive.key"
    key.write_text(f"{VERSION_LINE}\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAPTOR_KEY_FILE", str(key))
        patch.delenv("RAPTOR_DATABASE_URL", raising=False)
        with serving(made.home) as served:
            yield served


def test_many_points_are_drawn_by_webgl_and_picked_exactly(page: Page, large: str) -> None:
    open_page(page, large, "cohort")
    expect(page.locator(".st-key-map .gl-canvas").first).to_be_visible()
    settled(page)
    draw_around(page, 0.001, 0.001, 0.999, 0.999)
    assert picked(page) == LARGE


def test_without_webgl_fewer_points_are_drawn_it_is_said_and_all_are_picked(browser: Browser, large: str) -> None:
    with browser.new_context(viewport={"width": 1440, "height": 1000}) as context:
        context.add_init_script(NO_WEBGL)
        page = context.new_page()
        open_page(page, large, "cohort")
        expect(page.get_by_text("This browser draws no WebGL")).to_be_visible()
        expect(page.get_by_text(re.compile("of 2,100 points are drawn"))).to_be_visible()
        expect(page.locator(".st-key-map .point").first).to_be_visible()
        settled(page)
        assert page.locator(".st-key-map .point").count() <= 2_000
        draw_around(page, 0.001, 0.001, 0.999, 0.999)
        assert picked(page) == LARGE
