"""The site in Chromium, opened from disk: sorting, filtering, the keyboard, the address, and what axe-core says."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.leaderboards.factory import build_quickly
from tests.leaderboards.test_budgets import write_budgets
from tests.leaderboards.test_website import write_suite

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test-browser")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: make test-browser")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
"""On PATH; None is playwright's own, which `playwright install chromium` brings."""
pytestmark = pytest.mark.browser

PAGES = [
    *("index.html", "details.html", "data.html", "cited.html", "algorithms/grpo.html", "cells/ppo-s0-*.html"),
    *("pairs/grpo--ppo.html", "problems/countdown-test-*-0000.html", "sections/countdown-test-*.html"),
    *("problems/countdown-ood-????????.html", "findings.html", "changelog.html"),
]
"""One of each kind, as patterns."""
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small site, which no test changes. It has the pages that only the published records have as well."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("leaderboards.changelog.is_about", lambda entries: True)
        build_quickly(write_suite(folder / "runs" / "countdown"), folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Chromium. Its sandbox needs rights that root in a container lacks, and all that it opens here is ours."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, site: Path) -> Iterator[object]:
    """The front page at desktop width. It fails the test if anything is logged or asked for outside of the disk."""
    yield from opened(browser, site / "index.html")


def opened(browser, path: Path, width: str = "desktop", **options: object) -> Iterator[object]:
    context = browser.new_context(
        viewport=dict(zip(("width", "height"), WIDTHS[width], strict=True)), reduced_motion="reduce", **options
    )
    page = context.new_page()
    odd: list[str] = []
    page.on("console", lambda message: odd.append(message.text))
    page.on("pageerror", lambda error: odd.append(str(error)))
    page.on("requestfailed", lambda request: odd.append(f"failed: {request.url}"))
    page.on("request", lambda request: None if request.url.startswith("file://") else odd.append(request.url))
    page.goto(path.as_uri())
    yield page
    context.close()
    assert odd == []


def names(page) -> list[str]:
    """The algorithms that are visible, from the top."""
    return page.locator(".league tbody tr:visible th").evaluate_all("cells => cells.map(cell => cell.dataset.value)")


def test_sort(page):
    assert names(page)[:3] == ["base", "ppo", "grpo"]
    gap = page.locator(".league:visible thead th", has_text="gap").first
    gap.get_by_role("button").click()
    assert gap.get_attribute("aria-sort") == "ascending"
    values = page.locator(".league:visible tbody tr td:nth-child(2)").evaluate_all(
        "cells => cells.map(cell => Number(cell.dataset.value))"
    )
    assert values == sorted(values) and len(set(values)) == 4
    gap.get_by_role("button").click()
    assert gap.get_attribute("aria-sort") == "descending" and "sort=1-" in page.url
    page.reload()
    assert page.locator(".league:visible thead th", has_text="gap").first.get_attribute("aria-sort") == "descending"


def test_filter(page):
    page.get_by_label("filter rows").fill("grpo")
    assert names(page) == ["grpo"] and "filter=grpo" in page.url
    page.reload()
    assert names(page) == ["grpo"]
    page.get_by_label("filter rows").fill("")
    assert len(names(page)) == 4


def test_the_address_keeps_the_dataset(page):
    assert page.locator(".view:visible h2").all_inner_texts() == ["countdown: test, by answer"]
    page.get_by_label("dataset").select_option("ood")
    assert page.locator(".view:visible h2").all_inner_texts() == ["countdown: ood, by answer"]
    page.reload()
    assert page.locator(".view:visible h2").all_inner_texts() == ["countdown: ood, by answer"]


def test_the_address_keeps_the_budget(browser, tmp_path: Path):
    build_quickly(write_budgets(tmp_path / "runs"), tmp_path / "site")
    for page in opened(browser, tmp_path / "site" / "index.html"):
        assert page.locator(".view:visible h2").all_inner_texts() == ["countdown: test, by answer"]
        page.get_by_label("budget").select_option("equal generated tokens")
        heads = ["countdown: test, by answer, at equal generated tokens"]
        assert (
            page.locator(".view:visible h2").all_inner_texts() == heads and "budget=equal+generated+tokens" in page.url
        )
        page.reload()
        assert page.locator(".view:visible h2").all_inner_texts() == heads
        assert page.locator(".view:visible p", has_text="1,000 generated tokens").is_visible()
        assert axe.Axe().run(page).response["violations"] == []


def test_one_budget_is_no_choice(page):
    assert page.get_by_label("budget").count() == 0 and page.get_by_label("dataset").count() == 1


def test_the_foot_leads_to_the_data_and_back(page):
    page.get_by_role("link", name="BibTeX").click()
    assert page.url.endswith("data.html#cite") and page.get_by_text("@misc{rlvr_gap_leaderboard,").is_visible()
    page.get_by_role("link", name="Front page").click()
    page.get_by_role("link", name="Numbers of the paper").click()
    assert page.locator("table.cited").count() == 6


def test_keyboard(page):
    page.get_by_label("filter rows").focus()
    seen = []
    for _ in range(4):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.getAttribute('role') || document.activeElement.textContent"))
    assert seen[:3] == ["region", "algorithm", "gap"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert page.locator(".league:visible th[aria-sort]").inner_text().strip().startswith("gap")


def test_pictures_are_drawn(page):
    image = page.locator(".view:visible img")
    image.scroll_into_view_if_needed()
    page.wait_for_function("element => element.complete && element.naturalWidth > 0", arg=image.element_handle())


def test_without_a_script_all_tables_are_there(browser, site: Path):
    for page in opened(browser, site / "index.html", java_script_enabled=False):
        assert page.locator(".league:visible").count() == 2 and page.locator("#controls:visible").count() == 0


def test_on_a_phone_the_gap_is_in_sight_and_stays(browser, site: Path):
    for page in opened(browser, site / "index.html", "phone"):
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        gap = page.locator(".league:visible tbody tr").first.locator("td").first
        before = gap.bounding_box()
        assert before["x"] + before["width"] <= 390 and before["y"] + before["height"] <= 844
        page.locator(".box:visible").evaluate("box => { box.scrollLeft = 300; }")
        assert page.locator(".box:visible").evaluate("box => box.scrollLeft") > 100
        assert gap.bounding_box()["x"] == pytest.approx(before["x"], abs=12)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(browser, site: Path, name: str, width: str, scheme: str, tmp_path: Path):
    [path] = site.glob(name)
    for page in opened(browser, path, width, color_scheme=scheme):
        found = axe.Axe().run(page).response["violations"]
        folder = Path(os.environ.get("RLVR_GAP_SCREENSHOTS") or tmp_path)
        folder.mkdir(parents=True, exist_ok=True)
        kind = path.parent.name if path.parent != site else ""
        page.screenshot(path=folder / f"{kind}-{path.stem.split('-')[0]}-{width}-{scheme}.png".lstrip("-"))
        assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width][0]
        assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found] == []


@pytest.mark.parametrize("name", ["pairs/grpo--ppo.html", "problems/countdown-test-*-0000.html"])
def test_what_is_folded_opens_by_the_keyboard(browser, site: Path, name: str):
    [path] = site.glob(name)
    for page in opened(browser, path, "phone"):
        opened_before = page.locator("details[open]").count()
        page.locator("details:not([open])").first.locator("summary").focus()
        page.keyboard.press("Enter")
        assert page.locator("details[open]").count() == opened_before + 1
        found = axe.Axe().run(page).response["violations"]
        assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS["phone"][0]
