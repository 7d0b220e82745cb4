"""The pages in a browser that runs no JavaScript: forms and links do all that decides."""

import pytest
from playwright.async_api import expect

from queuectl import JobNotFoundError, JobState, QueueEngine
from tests.browser.conftest import OpenTab
from tests.browser.tabs import Tab


@pytest.fixture
async def plain(open_tab: OpenTab) -> Tab:
    return await open_tab(java_script_enabled=False)


@pytest.fixture
async def dead(engine: QueueEngine) -> None:
    for job_id in ("dead-1", "dead-2"):
        await engine.enqueue("echo last words; exit 3", id=job_id, max_retries=0)

    async with engine.workers(concurrency=2):
        await engine.wait_all(["dead-1", "dead-2"])


@pytest.mark.usefixtures("dead")
async def test_jobs_are_retried(plain: Tab, engine: QueueEngine) -> None:
    page = await plain.go("dlq")
    await page.get_by_role("button", name="Retry dead-1").click()
    await expect(page.locator("p.notice")).to_contain_text("1 job")
    await page.get_by_role("checkbox", name="Select dead-2").check()
    await page.locator(".bulk").get_by_role("button", name="Retry").click()
    await expect(page.get_by_role("heading", name="No dead letters")).to_be_visible()

    assert (await engine.stats()).counts[JobState.PENDING] == 2


@pytest.mark.usefixtures("dead")
async def test_jobs_are_found_read_and_deleted(plain: Tab, engine: QueueEngine) -> None:
    page = await plain.go("jobs")
    await page.get_by_label("Search in ids").fill("dead-2")
    await page.get_by_role("button", name="Find").click()
    await page.get_by_role("link", name="dead-2").click()
    await expect(page.locator("pre.output")).to_have_text("last words\n")
    await page.get_by_role("button", name="Delete dead-2").click()
    await page.get_by_role("button", name="Delete 1 job").click()
    await expect(page.locator("p.notice")).to_be_visible()

    with pytest.raises(JobNotFoundError):
        await engine.get("dead-2")


async def test_a_job_is_enqueued(plain: Tab, engine: QueueEngine) -> None:
    page = await plain.go("enqueue")
    await page.get_by_label("Command").fill("echo hi")
    await page.get_by_role("button", name="Enqueue").click()
    await expect(page.locator("pre.command-full")).to_have_text("echo hi")

    assert (await engine.stats()).counts[JobState.PENDING] == 1


async def test_the_overview_asks_again_by_itself(plain: Tab) -> None:
    page = await plain.go("")

    await expect(page.locator("noscript meta[http-equiv=refresh]")).to_have_count(1)


async def test_what_needs_a_script_is_not_shown(plain: Tab) -> None:
    page = await plain.go("")

    await expect(page.locator("code", has_text="enqueue -- echo hello")).to_be_visible()
    await expect(page.locator("[data-copy]")).to_have_count(2)
    await expect(page.locator("[data-copy]").first).to_be_hidden()
