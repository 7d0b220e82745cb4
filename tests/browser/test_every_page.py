"""What holds on every page: the console is empty, axe is content, all of it fits every screen."""

from collections.abc import AsyncIterator
from typing import Any, Final, Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from queuectl import EventKind, QueueEngine
from tests.browser.conftest import OpenTab
from tests.browser.tabs import DESK, PHONE
from tests.dashboard.serving import Served
from tests.waiting import wait_for_event

# Together every scheme and every width; they do not depend on each other.
LOOKS: Final[tuple[tuple[Literal["light", "dark"], int], ...]] = (("light", DESK), ("dark", PHONE))
LONG: Final = "a" * 128

# From the smallest telephone on; with what stands at the side, and with it on top.
WIDTHS: Final = (320, PHONE, 720, 768, 900, 1024, 1100, 1280, 1400, DESK)

# How wide the page is, with what sticks out of it; and the cards that something sticks out of.
_OVERFLOW: Final = "document.documentElement.scrollWidth"
_TOO_NARROW: Final = """
    [...document.querySelectorAll(".panel, .kpi, .copy")]
        .filter(card => card.scrollWidth > card.clientWidth)
        .map(card => card.textContent.trim().slice(0, 40))
"""
_LARGE_NUMBERS: Final = """
    document.querySelectorAll(".numbers td").forEach((cell, place) => {
        cell.textContent = place % 11 < 5 ? "17,345,678" : "17 m 30 s";
    })
"""

PAGES = {
    "overview": "",
    "jobs": "jobs",
    "jobs of a state": "jobs?state=failed&done=retried&count=2",
    "no job found": "jobs?search=nothing-is-called-so",
    "a dead job": "jobs/dead-1",
    "a running job": "jobs/running-1",
    "a job with a long name": f"jobs/{LONG}",
    "dead letters": "dlq",
    "dead letters of a cause": "dlq?reason=exit_code%3D3",
    "scheduled": "scheduled",
    "workers": "workers",
    "config": "config",
    "database": "database",
    "database, looked at": "database?check=yes",
    "enqueue": "enqueue",
    "a question": f"confirm/cancel?job={LONG}&job=dead-1",
}
REFUSED = {
    "no such job": "jobs/nothing-is-called-so",
    "no such page": "nothing-is-called-so",
    "makes no sense": "jobs?state=nonsense",
}


async def fill(engine: QueueEngine) -> None:
    """Add jobs in every state, with names and commands that need room."""
    await engine.enqueue("echo hi; exit 3", id="dead-1", max_retries=0, tags=["nightly", "b" * 128])
    await engine.enqueue("exit 4", id="failed-1", max_retries=3, backoff_base=1000)
    await engine.enqueue("x" * 3000, id=LONG, max_retries=0)
    await engine.enqueue("yes | head -n 100", id="completed-1")
    await engine.enqueue("true", id="later-1", delay=3600)
    await engine.enqueue("true", id="cancelled-1", delay=3600)
    await engine.cancel("cancelled-1", reason="c" * 300)
    await engine.enqueue("echo working; sleep 60", id="running-1")


@pytest.fixture
async def filled(engine: QueueEngine) -> AsyncIterator[None]:
    """A queue with something to show on every page, and a worker."""
    await fill(engine)

    async with engine.workers(concurrency=4):
        await engine.wait_all(["dead-1", LONG, "completed-1"])
        await wait_for_event(engine, EventKind.FAILED, "failed-1")

        yield

        await engine.cancel("running-1")


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES.keys())
async def test_a_page_fits_every_screen_and_axe_is_content(open_tab: OpenTab, path: str) -> None:
    tab = await open_tab()
    await _look(await tab.go(path))


@pytest.mark.usefixtures("filled")
async def test_large_numbers_fit_every_screen(open_tab: OpenTab) -> None:
    page = await (await open_tab()).go("")
    await expect(page.locator(".numbers td").first).to_be_visible()
    # What comes live would put the small ones back.
    await page.evaluate("document.getElementById('durations').id = 'still'")
    await page.evaluate(_LARGE_NUMBERS)
    await _fits(page)


@pytest.mark.parametrize("path", REFUSED.values(), ids=REFUSED.keys())
async def test_so_does_a_page_that_says_no(open_tab: OpenTab, path: str) -> None:
    tab = await open_tab()
    await _look(await tab.go(path))
    assert tab.said(but_not_loaded=True) == []
    tab.forget()


@pytest.mark.parametrize("path", ["", "jobs", "dlq", "scheduled", "workers"])
async def test_so_does_a_page_with_nothing_to_show(open_tab: OpenTab, path: str) -> None:
    tab = await open_tab()
    await _look(await tab.go(path))


async def test_so_does_the_page_of_a_stranger(browser: Browser, site: Served) -> None:
    async with await browser.new_page() as page:
        await page.goto(site.server.link)
        await expect(page.get_by_label("Or paste the token")).to_be_visible()
        await _look(page)


async def _look(page: Page) -> None:
    """Look at a page as people do."""
    await _fits(page)

    for scheme, width in LOOKS:
        await page.emulate_media(color_scheme=scheme)
        await page.set_viewport_size({"width": width, "height": 900})

        assert await _complaints(page) == [], f"{scheme}, {width} pixels"


async def _fits(page: Page) -> None:
    """Look at a page on screens of every width."""
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 900})

        assert await page.evaluate(_OVERFLOW) <= width
        assert await page.evaluate(_TOO_NARROW) == [], f"{width} pixels"


async def _complaints(page: Page) -> list[str]:
    """Return what axe finds, from what is moderate on."""
    found: dict[str, Any] = (await Axe().run(page)).response
    return [
        f"{rule['impact']}: {rule['id']}: {node['html']}"
        for rule in found["violations"]
        if rule["impact"] != "minor"
        for node in rule["nodes"]
    ]
