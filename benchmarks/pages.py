"""The pages over an archive of many scans: how long a page's script runs, and how long a browser takes to draw the map.

    python benchmarks/pages.py [--scans N] [--home DIR] [--part script|browser] [--quick] [--json FILE]

The scans are drawn, their metadata, labels, proposals and the map's clusters too (see pages_archive.py). "first" is
the first run of a page's script in a new process but for the imports, "change" the run after another colour, or a label
with a proposal for every scan without it, was chosen, "again" the median of three more; by Streamlit's AppTest, without
a browser. The browser is headless
Chromium, which draws WebGL in software here: "paint" is from the address to the first frame with points by WebGL,
"colour" from the choice of another colour to its first frame, "lasso" one of 24 steps of drawing around, "answer" from
letting go to the scans that were picked. Each is the median of three; the server has been asked once before.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pages_archive import make
from playwright.sync_api import Page, sync_playwright
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.browser.served import FLAGS, find_browser, serving  # noqa: E402

CHANGES = {"cohort": ("colour", "body_part"), "labels": ("label", "kind")}
PAGES = ("cohort", "labels", "evaluate", "archive")
REPEATS = 3


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def scripts() -> dict[str, dict[str, float]]:
    """Seconds of each page's script."""
    app = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=600)
    app.run()
    found = {}
    for page in PAGES:
        app.switch_page(f"views/{page}.py")
        row = {"first": timed(app.run)}
        if page in CHANGES:
            key, value = CHANGES[page]
            app.selectbox(key=key).select(value)
            row["change"] = timed(app.run)
        row["again"] = statistics.median(timed(app.run) for _ in range(REPEATS))
        assert not app.exception, [one.value for one in app.exception]
        found[page] = row
    return found


@contextmanager
def browser_page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(300_000)
        yield page
        browser.close()


def frame(page: Page) -> None:
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def settled(page: Page) -> None:
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")


def drawing(page: Page, address: str) -> dict[str, float]:
    """Seconds of the map in a browser, once over."""
    found = {}
    begin = time.perf_counter()
    page.goto(f"{address}/cohort")
    page.wait_for_selector(".st-key-map .gl-canvas")
    frame(page)
    found["paint"] = time.perf_counter() - begin
    settled(page)
    page.get_by_label("Colour by").click()
    page.get_by_role("option", name="Body part", exact=True).click()
    begin = time.perf_counter()
    drawn = "plot => plot.data && plot.data.some(one => one.name === 'HEAD') && plot.querySelector('.gl-canvas')"
    page.wait_for_function(f"() => [...document.querySelectorAll('.st-key-map .js-plotly-plot')].some({drawn})")
    frame(page)
    found["colour"] = time.perf_counter() - begin
    settled(page)
    box = page.locator(".st-key-map .nsewdrag").first.bounding_box()
    assert box is not None
    corners = [(0.2, 0.2), (0.6, 0.2), (0.6, 0.8), (0.2, 0.8), (0.2, 0.25)]
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    begin = time.perf_counter()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    frame(page)
    found["lasso"] = (time.perf_counter() - begin) / 24
    page.mouse.up()
    begin = time.perf_counter()
    page.get_by_role("heading", name="inside what you drew").wait_for()
    settled(page)
    found["answer"] = time.perf_counter() - begin
    return found


def in_browser(home: Path) -> dict[str, float]:
    with serving(home) as address, browser_page() as page:
        drawing(page, address)
        runs = [drawing(page, address) for _ in range(REPEATS)]
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def table(scans: int, pages: dict[str, dict[str, float]], browser: dict[str, float]) -> str:
    lines = [f"{scans:,} drawn scans"]
    if pages:
        lines += ["", "script, s    first  change   again"]
    for page, row in pages.items():
        change = f"{row['change']:.2f}" if "change" in row else "-"
        lines.append(f"{page:<10}{row['first']:>8.2f}{change:>8}{row['again']:>8.2f}")
    if browser:
        lines += ["", "map in headless Chromium, s", "".join(f"{name:>9}" for name in browser)]
        lines.append("".join(f"{value:>9.2f}" for value in browser.values()))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=100_000)
    parser.add_argument("--home", type=Path, help="keep the archive here, or take the one that is there")
    parser.add_argument("--part", choices=("script", "browser"), help="one of the two tables alone")
    parser.add_argument("--quick", action="store_true", help="5,000 scans")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    scans = 5_000 if asked.quick else asked.scans
    with tempfile.TemporaryDirectory() as folder:
        home = asked.home or Path(folder) / "home"
        if not home.exists():
            home.parent.mkdir(parents=True, exist_ok=True)
            make(home, scans)
        os.environ |= {"RAPTOR_HOME": str(home), "RAPTOR_KEY_FILE": str(home.with_name(f"{home.name}.key"))}
        os.environ.pop("RAPTOR_DATABASE_URL", None)
        pages = scripts() if asked.part != "browser" else {}
        browser = in_browser(home) if asked.part != "script" else {}
    print(table(scans, pages, browser))
    if asked.json:
        asked.json.write_text(json.dumps({"scans": scans, "script": pages, "browser": browser}, indent=1))


if __name__ == "__main__":
    main()
