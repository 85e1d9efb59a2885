"""Labels and their evaluation as they are used: a queue decided by keys, many at once, by hand; classes too rare."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.served import pictures_shown
from tests.browser.test_pages import keep, open_page, settled

pytestmark = pytest.mark.browser


SHOWN = ".st-key-proposal h3"
KEYS = {"accept": "a", "reject": "x", "skip": "s", "undo": "u"}


def press(page: Page, button: str) -> None:
    """The key of a button that is there."""
    expect(page.locator(f".st-key-{button} button")).to_be_visible()
    settled(page)
    page.keyboard.press(KEYS[button])
    page.wait_for_timeout(300)  # the key is on its way to the server
    settled(page)


def part(page: Page, name: str) -> None:
    page.locator(".st-key-part").get_by_text(name, exact=True).click()
    settled(page)


def case_shown(page: Page) -> str:
    return page.locator(SHOWN).inner_text()


def test_proposals_are_decided_by_keys_and_taken_back(page: Page, address: str, screenshots: Path | None) -> None:
    open_page(page, address, "labels")
    expect(page.locator(".st-key-accept button")).to_be_visible()
    settled(page)
    assert all(pictures_shown(page, ".stMain"))
    keep(page, screenshots, "labels")
    first = case_shown(page)
    press(page, "accept")
    expect(page.get_by_text(re.compile(f"{first}: .* accepted by"))).to_be_visible()
    expect(page.locator(SHOWN)).not_to_have_text(first)
    second = case_shown(page)
    keep(page, screenshots, "labels-decided")
    part(page, "Decisions")
    expect(page.get_by_text("1 accepted here")).to_be_visible()
    expect(page.get_by_text(re.compile(f"{first}: .* accepted at .* by .*UTC"))).to_be_visible()
    part(page, "Review")
    press(page, "undo")
    expect(page.locator(SHOWN)).to_have_text(first)
    press(page, "skip")
    expect(page.locator(SHOWN)).to_have_text(second)
    press(page, "reject")
    expect(page.get_by_text(re.compile(f"{second}: .* rejected by"))).to_be_visible()
    press(page, "undo")
    expect(page.locator(SHOWN)).to_have_text(second)
    page.get_by_role("button", name="Bring back 1 scan").click()
    expect(page.locator(SHOWN)).to_have_text(first)
    part(page, "Decisions")
    expect(page.get_by_text("accepted here")).to_have_count(0)


def test_many_proposals_are_accepted_at_once_and_taken_back(page: Page, address: str, screenshots: Path | None) -> None:
    open_page(page, address, "labels")
    expect(page.locator(".st-key-accept button")).to_be_visible()
    part(page, "Many at once")
    page.get_by_role("slider", name="Confidence at or above").press("Home")
    accept = page.get_by_role("button", name=re.compile("^Accept these [1-9]"))
    expect(accept).to_be_enabled()
    settled(page)
    number = int(accept.inner_text().split()[-1])
    keep(page, screenshots, "labels-many")
    accept.click()
    expect(page.get_by_text(re.compile(rf"{number} proposals? accepted by"))).to_be_visible()
    settled(page)
    page.get_by_role("button", name=re.compile("^Undo")).click()
    expect(page.get_by_role("button", name=f"Accept these {number}")).to_be_visible()


def test_a_new_label_begins_with_a_value_by_hand(page: Page, address: str) -> None:
    open_page(page, address, "labels")
    page.get_by_label("Label", exact=True).fill("quality")
    page.keyboard.press("Enter")
    expect(page.get_by_text("No scan has a value of quality yet")).to_be_visible()
    settled(page)
    part(page, "By hand")
    page.get_by_label("Case number").fill("1")
    page.keyboard.press("Enter")
    expect(page.get_by_text("quality now: no value")).to_be_visible()
    settled(page)
    page.get_by_label("Value", exact=True).fill("good")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Give this value").click()
    settled(page)
    part(page, "Decisions")
    expect(page.get_by_text("Case 1: good given by hand")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("No scan has a value of this label.")).to_be_visible()


def test_a_label_with_a_class_of_one_subject_is_judged_by_leaving_one_out(
    page: Page, address: str, screenshots: Path | None
) -> None:
    open_page(page, address, "evaluate")
    page.get_by_label("Label", exact=True).fill("Modality")
    page.keyboard.press("Enter")
    settled(page)
    page.get_by_role("button", name="Evaluate", exact=True).click()
    expect(page.get_by_text("Folds of subjects cannot judge this")).to_be_visible()
    expect(page.get_by_text(re.compile("The majority baseline: always"))).to_be_visible()
    settled(page)
    keep(page, screenshots, "evaluate-left-out")
