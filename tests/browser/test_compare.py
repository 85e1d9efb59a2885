"""Search's viewer and the Compare page in a real browser: with WebGL, without it, on a phone; nothing from outside."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser, FrameLocator, Page, expect
from pydicom import dcmread

from indexer.demo.archive import DemoArchive
from raptor_search.archive import Archive
from raptor_search.viewing import view_of
from tests.browser.conftest import TIMEOUT_MS, VIEWPORT
from tests.browser.served import FLAGS, Watch, find_browser
from tests.browser.test_pages import HITS, hit, keep, open_page, settled, upload

pytestmark = pytest.mark.browser

PHONE = {"width": 400, "height": 860}
PROMISED_GIB = 2


def viewer(page: Page) -> FrameLocator:
    """The viewer on the page, once it has drawn."""
    frame = page.frame_locator("iframe[title*=viewer]")
    expect(frame.locator("#viewer[data-ready]")).to_be_attached()
    return frame


def places(frame: FrameLocator) -> list[list[float]]:
    """Where the crosshair of each scan is, in mm from its middle."""
    texts = frame.locator("canvas.gl").evaluate_all("all => all.map(one => one.dataset.position)")
    return [[float(part) for part in text.split()] for text in texts]


def point_at(page: Page, frame: FrameLocator, number: int, across: float, down: float) -> None:
    stage = frame.locator(".stage").nth(number)
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])


def pixels(frame: FrameLocator, kind: str = "over") -> list[str]:
    """A digest of what each canvas shows."""
    drawn = frame.locator(f"canvas.{kind}").evaluate_all("all => all.map(one => one.toDataURL())")
    return [hashlib.sha256(one.encode()).hexdigest() for one in drawn]


def shot(frame: FrameLocator, number: int = 0) -> bytes:
    """What the user sees of one scan."""
    return frame.locator(".stage").nth(number).screenshot()


def test_an_upload_is_seen_at_once_then_compared_side_by_side(
    page: Page, address: str, demo: tuple[DemoArchive, Path], screenshots: Path | None
) -> None:
    open_page(page, address)
    upload(page, demo[0].path(demo[0].held_out[1]))  # a CT in a zip
    viewer(page)
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()  # it is not embedded yet
    keep(page, screenshots, "upload-seen-at-once")
    expect(hit(page, HITS)).to_be_visible()
    hit(page, 1).get_by_role("button", name="Compare").click()
    frame = viewer(page)
    expect(frame.locator("canvas.gl")).to_have_count(2)
    expect(page).to_have_url(re.compile(r"/compare\?hit=\d+$"))
    assert places(frame) == [[0, 0, 0], [0, 0, 0]]
    expect(page.get_by_text("Each cell is an average along its plane's normal")).to_be_visible()
    frame.locator("header select").first.select_option(label="Lung")
    for foot in frame.locator("footer").all():
        expect(foot).to_contain_text("window -1350 to 150")
        expect(foot).to_contain_text("share of the score here: axial")
        expect(foot).to_contain_text(re.compile(r"voxels of \d+\.\d\d x"))
    settled(page)
    frame.locator(".stage").first.scroll_into_view_if_needed()
    keep(page, screenshots, "compare-side-by-side")


def test_scrolling_can_be_linked_in_the_scanners_coordinates(
    page: Page, address: str, demo: tuple[DemoArchive, Path]
) -> None:
    with Archive.open(demo[1]) as archive:
        ids = archive.catalog.ids(archive.spec().id).tolist()
        middles = {case: np.array(view_of(archive.open_source(case).scan.volume).middle) for case in ids[:12]}
    here = middles[ids[0]]
    case, there = max(middles.items(), key=lambda item: float(np.abs(item[1] - here).max()))
    assert np.abs(there - here).max() > 1
    page.goto(f"{address}/compare?case={ids[0]}&hit={case}")
    frame = viewer(page)
    frame.locator("#origin").select_option("scanner")
    first, second = places(frame)
    assert np.array(first) + here == pytest.approx(np.array(second) + there, abs=2e-3)


def test_wheel_drag_and_keys_move_both_scans_by_the_same_millimetres(page: Page, address: str) -> None:
    page.goto(f"{address}/compare?case=1&hit=5")
    frame = viewer(page)
    point_at(page, frame, 0, 0.2, 0.75)  # the axial plane
    page.mouse.wheel(0, 300)
    frame.locator("canvas.gl[data-position$=' 0.000']").first.wait_for(state="detached")
    first, second = places(frame)
    assert first[2] != 0
    assert second == pytest.approx(first, abs=2e-3)
    page.mouse.down()
    point_at(page, frame, 0, 0.3, 0.85)
    page.mouse.up()
    dragged, other = places(frame)
    assert dragged[0] != first[0]
    assert other == pytest.approx(dragged, abs=2e-3)
    frame.locator("#linked").uncheck()
    page.keyboard.press("PageUp")
    frame.locator("canvas.gl").first.press("PageUp")
    alone, still = places(frame)
    assert alone[2] > dragged[2]
    assert still == pytest.approx(other)
    frame.locator("#reset").click()
    assert places(frame) == [[0, 0, 0], [0, 0, 0]]


def test_sides_overlay_window_and_zoom_change_what_is_seen(page: Page, address: str) -> None:
    page.goto(f"{address}/compare?case=1&hit=5")
    frame = viewer(page)
    expect(frame.locator("#least")).to_have_text(re.compile(r"^-0\.\d{4}$"))
    expect(frame.locator("#most")).to_have_text(re.compile(r"^\+0\.\d{4}$"))
    full, seen = pixels(frame), shot(frame)
    frame.locator("#opacity").fill("0")
    assert all(a != b for a, b in zip(full, pixels(frame), strict=True))
    bare = shot(frame)
    assert bare != seen
    frame.locator("#radiological").uncheck()
    assert shot(frame) != bare
    frame.locator("#radiological").check()
    assert shot(frame) == bare
    frame.locator("#drag").select_option("windowing")
    point_at(page, frame, 0, 0.2, 0.75)
    page.mouse.down()
    point_at(page, frame, 0, 0.3, 0.85)
    page.mouse.up()
    expect(frame.locator("header select").first).to_have_value("")
    expect(frame.locator("header select").nth(1)).to_have_value("0")
    frame.locator("#drag").select_option("pan")
    point_at(page, frame, 0, 0.2, 0.75)
    page.mouse.wheel(0, -300)
    zooms = frame.locator("canvas.gl").evaluate_all("all => all.map(one => Number(one.dataset.zoom))")
    assert max(zooms) == pytest.approx(1.1, abs=0.01)
    assert min(zooms) > 1 / 1.1


OVERLAY_CHECK = """() => panels.map(({nv, over, scan}) => {
  const context = over.getContext("2d"), here = nv.frac2mm(nv.scene.crosshairPos), found = {seen: 0, wrong: 0};
  for (const tile of nv.screenSlices) {
    const [left, top, width, height] = tile.leftTopWidthHeight, plane = tile.axCorSag;
    for (let i = 1; i < 24; i++) for (let j = 1; j < 24; j++) {
      const x = Math.floor(left + width * i / 24), y = Math.floor(top + height * j / 24);
      const mm = [...nv.frac2mm(nv.canvasPos2frac([x + 0.5, y + 0.5]))].slice(0, 3);
      const at = (by) => cellAt(mm.map((part) => part + by), plane, why.rows, why.columns, scan.span);
      const edges = [x - left, left + width - x, y - top, top + height - y];
      const apart = mm.filter((part, axis) => Math.abs(part - here[axis]) < 3).length; // the slice's own axis always
      const nearLines = Math.min(...edges) < 24 || apart > 1;
      if (at(-2) !== at(2) || at(0) === null || nearLines) continue;
      const wanted = why.colours.slice(4 * at(0), 4 * at(0) + 4), drawn = context.getImageData(x, y, 1, 1).data;
      const far = wanted.some((part, k) => Math.abs(part - drawn[k]) > (k === 3 ? 2 : 1000 / (wanted[3] + 1)));
      found.seen += 1;
      found.wrong += far;
    }
  }
  return found;
})"""
"""Compares the overlay, pixel by pixel, with where NiiVue itself says that a pixel lies."""


LETTERS = """() => panels.flatMap(({nv}) => nv.screenSlices.map((tile) => {
  const [left, top, width, height] = tile.leftTopWidthHeight, [x, y] = [left + width / 2, top + height / 2];
  // Not at the edges: NiiVue knows no place beyond the smaller scan.
  const ends = [[x - width / 8, y], [x + width / 8, y], [x, y - height / 8], [x, y + height / 8]];
  const mm = ends.map((place) => [...nv.frac2mm(nv.canvasPos2frac(place))].slice(0, 3));
  const words = mm.map((place, edge) => {
    const step = place.map((part, axis) => part - mm[edge ^ 1][axis]);
    const axis = step.map(Math.abs).indexOf(Math.max(...step.map(Math.abs)));
    return ["LR", "PA", "IS"][axis][step[axis] > 0 ? 1 : 0];
  });
  return [words.join(""), lettersOf(tile).join("")];
}))"""
"""What each edge points to by NiiVue's own reckoning, and the letters that stand there: left, right, top, bottom."""


def test_the_letters_say_which_side_is_which(page: Page, address: str) -> None:
    page.goto(f"{address}/compare?case=1&hit=5")
    frame = viewer(page)
    radiological = frame.locator("body").evaluate(LETTERS)
    frame.locator("#radiological").uncheck()
    neurological = frame.locator("body").evaluate(LETTERS)
    assert sorted(drawn for _, drawn in radiological) == sorted(2 * ["RLAP", "RLSI", "APSI"])
    assert sorted(drawn for _, drawn in neurological) == sorted(2 * ["LRAP", "LRSI", "APSI"])
    assert [reckoned for reckoned, _ in radiological + neurological] == [d for _, d in radiological + neurological]


def test_each_cell_lies_over_its_place_whatever_the_side_and_the_zoom(page: Page, address: str) -> None:
    page.goto(f"{address}/compare?case=1&hit=5")
    frame = viewer(page)
    frame.locator("#opacity").fill("1")
    for change in (None, "radiological", "zoom"):
        if change == "radiological":
            frame.locator("#radiological").uncheck()
        if change == "zoom":
            frame.locator("#drag").select_option("pan")
            point_at(page, frame, 0, 0.2, 0.75)
            for _ in range(4):
                page.mouse.wheel(0, -300)
        for found in frame.locator("body").evaluate(OVERLAY_CHECK):
            assert found["seen"] > 300
            assert found["wrong"] == 0


def test_a_hit_opens_the_prior_in_the_users_own_viewer(
    page: Page, address: str, demo: tuple[DemoArchive, Path]
) -> None:
    series = next(scan for scan in demo[0].scans if scan.kind == "dicom")
    header = dcmread(next(demo[0].path(series).iterdir()), stop_before_pixels=True)
    with Archive.open(demo[1]) as archive:
        ids = archive.catalog.ids(archive.spec().id).tolist()
        sources = archive.catalog.locators(ids)
    case = next(i for i, source in zip(ids, sources, strict=True) if str(header.SeriesInstanceUID) in str(source))
    page.goto(f"{address}/compare?case=1&hit={case}")
    viewer(page)
    page.get_by_role("button", name="Open in your viewer").click()
    link = page.get_by_role("dialog").get_by_role("link", name=f"Open case {case}")
    expect(link).to_be_visible()
    wanted = urlsplit(link.get_attribute("href") or "")
    assert (wanted.hostname, wanted.path) == ("127.0.0.1", "/own-viewer")
    assert parse_qs(wanted.query) == {"study": [header.StudyInstanceUID], "series": [header.SeriesInstanceUID]}


def test_a_file_over_the_limit_is_refused_by_a_sentence_and_the_session_lives_on(
    page: Page, address: str, demo: tuple[DemoArchive, Path], tmp_path: Path
) -> None:
    large = tmp_path / "large.nii"
    with large.open("wb") as file:
        file.truncate(PROMISED_GIB * 2**30)  # a file of holes
    open_page(page, address)
    upload(page, large)
    expect(page.get_by_text("File must be 1.0GB or smaller.")).to_be_visible()
    open_page(page, address)
    upload(page, demo[0].path(demo[0].held_out[0]))
    expect(hit(page, HITS)).to_be_visible()


@pytest.fixture
def without_webgl(browser: Browser) -> Iterator[Page]:
    """A page in a browser that has no WebGL at all."""
    watch = Watch()
    poor = browser.browser_type.launch(executable_path=find_browser(), args=[*FLAGS, "--disable-3d-apis"])
    with poor.new_context(viewport=VIEWPORT) as context:
        opened = context.new_page()
        opened.set_default_timeout(TIMEOUT_MS)
        watch.over(opened)
        yield opened
    poor.close()
    assert watch.hosts <= {"127.0.0.1"}
    assert watch.complaints == []


def test_without_webgl_slices_are_pictures_with_sliders_and_the_page_says_so(
    without_webgl: Page, address: str, screenshots: Path | None
) -> None:
    page = without_webgl
    page.goto(f"{address}/compare?case=1&hit=5")
    expect(page.get_by_text("The scans are shown as pictures of slices")).to_be_visible()
    pictures = page.locator(".stMain img")
    expect(pictures).to_have_count(2)
    expect(page.locator("iframe[title*=viewer]")).to_have_count(0)
    settled(page)
    before = [picture.get_attribute("src") for picture in pictures.all()]
    page.get_by_role("slider", name="Axial plane at S (mm)").press("ArrowRight")
    for picture, source in zip(pictures.all(), before, strict=True):
        expect(picture).not_to_have_attribute("src", source or "")
    settled(page)
    keep(page, screenshots, "compare-without-webgl")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_wider_than_the_screen(
    browser: Browser, address: str, screenshots: Path | None, scheme: Literal["light", "dark"]
) -> None:
    watch = Watch()
    with browser.new_context(viewport=PHONE, color_scheme=scheme, has_touch=True) as context:
        page = context.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        watch.over(page)
        page.goto(f"{address}/?case=1")
        expect(hit(page, HITS)).to_be_visible()
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        keep(page, screenshots, f"search-phone-{scheme}")
        hit(page, 1).get_by_role("button", name="Compare").click()
        frame = viewer(page)
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        stages = [box for one in frame.locator(".stage").all() if (box := one.bounding_box())]
        assert len(stages) == 2
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"] for box in stages)
        assert stages[1]["y"] > stages[0]["y"] + stages[0]["height"]  # one below the other
        frame.locator(".stage").first.scroll_into_view_if_needed()
        keep(page, screenshots, f"compare-phone-{scheme}")
    assert watch.hosts <= {"127.0.0.1"}
    assert watch.complaints == []
