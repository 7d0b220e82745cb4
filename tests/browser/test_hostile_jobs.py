"""Commands, tags, reasons and output that want to be more than text."""

import pytest
from playwright.async_api import Page, expect

from queuectl import QueueEngine
from tests.browser.tabs import Tab

# Each would be heard: on the console, as a dialog, or as an element of ours that is not.
TAG = "<img/src=x/onerror=alert(1)>"
REASON = "</bdi><script>alert(2)</script>\u202e"
COMMAND = (
    "printf '%s' '</pre><script>alert(3)</script><img src=x onerror=alert(4)>"
    "<b>bold</b>\x1b]0;title\x07\x1b[31mred\x1b[0m'; exit 9"
    ' # "onmouseover=alert(5) {{7*7}} {% raw %} javascript:alert(6) &amp; \u202e'
)
_INJECTED = "main :is(script, img, b, iframe, [onerror], [onmouseover])"


@pytest.fixture
async def hostile(engine: QueueEngine) -> None:
    """Hostile jobs in three states."""
    await engine.enqueue(COMMAND, id="dead-1", tags=[TAG], max_retries=0)

    async with engine.workers():
        await engine.wait("dead-1")

    await engine.enqueue(COMMAND, id="later-1", tags=[TAG], delay=3600)
    await engine.enqueue(COMMAND, id="cancelled-1", tags=[TAG])
    await engine.cancel("cancelled-1", reason=REASON)


async def _has_nothing_injected(page: Page) -> bool:
    return await page.locator(_INJECTED).count() == 0


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("", "<b>bold</b>"),
        ("jobs", "</bdi><script>alert(2)</script>\\u202e"),
        ("jobs/dead-1", "{{7*7}} {% raw %} javascript:alert(6) &amp; \\u202e"),
        ("jobs/cancelled-1", "</bdi><script>alert(2)</script>\\u202e"),
        ("dlq", "<img/src=x/onerror=alert(1)>"),
        ("scheduled", "<img/src=x/onerror=alert(1)>"),
        ("jobs?tag=%3Cimg/src%3Dx/onerror%3Dalert(1)%3E", "<img/src=x/onerror=alert(1)>"),
        ("jobs?search=%3Cscript%3E", "<script>alert(3)</script>"),
        ("dlq?reason=%3Cscript%3Ealert(7)%3C/script%3E", "<script>alert(7)</script>"),
        ("confirm/delete?job=%3Cscript%3Ealert(8)%3C/script%3E", "<script>alert(8)</script>"),
        ("confirm/cancel?job=x&back=javascript:alert(9)", "Cancel 1 job?"),
        ("?done=%3Cscript%3E&count=%3Cscript%3E", "<b>bold</b>"),
    ],
)
async def test_what_is_hostile_is_shown_as_text(tab: Tab, path: str, shown: str) -> None:
    page = await tab.go(path)

    await expect(page.locator("main")).to_contain_text(shown)
    assert await _has_nothing_injected(page)
    assert await page.locator("a[href^=javascript]").count() == 0


@pytest.mark.usefixtures("hostile")
async def test_hostile_output_is_text(tab: Tab) -> None:
    page = await tab.go("jobs/dead-1")

    await expect(page.locator("pre.output")).to_have_text(
        "</pre><script>alert(3)</script><img src=x onerror=alert(4)>"
        "<b>bold</b>\\x1b]0;title\\x07red"
    )
    assert await _has_nothing_injected(page)


async def test_what_is_hostile_stays_text_when_it_comes_live(tab: Tab, engine: QueueEngine) -> None:
    page = await tab.go("jobs")
    await expect(page.get_by_role("heading", name="No jobs yet")).to_be_visible()
    await engine.enqueue(COMMAND, id="job-1", tags=[TAG], delay=3600)
    await expect(page.locator("tr[data-key^=job-1]")).to_contain_text("<b>bold</b>")
    await engine.cancel("job-1", reason=REASON)
    await expect(page.locator("tr[data-key^=job-1]")).to_contain_text("<script>alert(2)</script>")

    assert await _has_nothing_injected(page)


async def test_hostile_output_that_comes_live_is_text(tab: Tab, engine: QueueEngine) -> None:
    await engine.enqueue(COMMAND, id="job-1", max_retries=0)
    page = await tab.go("jobs/job-1")

    async with engine.workers():
        await expect(page.locator("pre.output")).to_contain_text("<b>bold</b>\\x1b]0;title\\x07red")

    assert await _has_nothing_injected(page)
