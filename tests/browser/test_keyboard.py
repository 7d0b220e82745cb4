"""The pages without a mouse."""

from typing import Final

import pytest
from playwright.async_api import Page, expect

from queuectl import JobState, QueueEngine
from tests.browser.tabs import Tab

# More than any page here has; who tabs on for ever is told.
_MOST: Final = 80

_FOCUSED: Final = (
    "(document.activeElement.ariaLabel || document.activeElement.innerText || '').trim()"
)
_OUTLINE: Final = """() => {
    const style = getComputedStyle(document.activeElement);
    return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
}"""


@pytest.fixture
async def dead(engine: QueueEngine) -> None:
    await engine.enqueue("exit 3", id="dead-1", max_retries=0)

    async with engine.workers():
        await engine.wait("dead-1")


async def _tab_to(page: Page, words: str) -> None:
    """Press the tabulator until something with these words has the focus."""
    seen = []

    for _ in range(_MOST):
        await page.keyboard.press("Tab")
        seen.append(await page.evaluate(_FOCUSED))

        if seen[-1] == words:
            assert await page.evaluate(_OUTLINE), f"nobody sees that {words} has the focus"
            return

    raise AssertionError(f"{words!r} is not reached, only {seen}")


async def test_the_first_stop_leads_past_the_navigation(tab: Tab) -> None:
    page = await tab.go("workers")
    await page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    await expect(skip).to_be_focused()
    await expect(skip).to_be_in_viewport()
    await page.keyboard.press("Enter")

    await expect(page.locator("main")).to_be_focused()


@pytest.mark.usefixtures("dead")
async def test_a_dead_job_is_retried_by_keys(tab: Tab, engine: QueueEngine) -> None:
    page = await tab.go("dlq")
    await _tab_to(page, "Retry dead-1")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="No dead letters")).to_be_visible()

    assert (await engine.get("dead-1")).state is JobState.PENDING


@pytest.mark.usefixtures("dead")
async def test_a_job_is_ticked_and_deleted_by_keys(tab: Tab, engine: QueueEngine) -> None:
    page = await tab.go("jobs")
    box = page.get_by_role("checkbox", name="Select dead-1")

    for _ in range(_MOST):
        await page.keyboard.press("Tab")

        if await box.evaluate("box => box === document.activeElement"):
            break

    await page.keyboard.press("Space")
    await expect(box).to_be_checked()
    await page.locator("main").focus()
    await _tab_to(page, "Delete…")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("link", name="Keep, and go back")).to_be_focused()
    await _tab_to(page, "Delete 1 job")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="No jobs yet")).to_be_visible()

    assert not await engine.list()


@pytest.mark.usefixtures("dead")
async def test_enter_pressed_twice_deletes_nothing(tab: Tab, engine: QueueEngine) -> None:
    page = await tab.go("jobs/dead-1")
    await page.get_by_role("button", name="Delete dead-1").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("link", name="Keep, and go back")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Jobs")).to_be_visible()

    assert (await engine.get("dead-1")).state is JobState.DEAD


@pytest.mark.usefixtures("dead")
async def test_every_page_of_the_navigation_is_reached(tab: Tab) -> None:
    page = await tab.go("")

    for name in ("Jobs", "Dead letters", "Scheduled", "Workers", "Config", "Database"):
        await _tab_to(page, name)
        await page.keyboard.press("Enter")
        await expect(page.locator("nav [aria-current=page]")).to_have_text(name)


async def test_output_is_scrolled_by_keys(tab: Tab, engine: QueueEngine) -> None:
    await engine.enqueue("seq 200", id="long-1")

    async with engine.workers():
        await engine.wait("long-1")

    page = await tab.go("jobs/long-1")
    await _tab_to(page, "What the job wrote")
    output = page.locator("pre.output")
    # The page shows its end from the start.
    await expect(output).not_to_have_js_property("scrollTop", 0)
    await page.keyboard.press("Home")
    await expect(output).to_have_js_property("scrollTop", 0)
