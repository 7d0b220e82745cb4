"""What a person does on the pages, click by click."""

import asyncio
import re

import pytest
from playwright.async_api import Page, Route, expect

from queuectl import JobNotFoundError, JobState, QueueEngine
from tests.browser.conftest import OpenTab
from tests.browser.tabs import PHONE, Tab
from tests.waiting import wait_until

# Playwright does nothing on a page that waits for the next: so the page clicks by itself.
_CLICK_ONE_AFTER_THE_OTHER = """names => names.forEach((name, number) => setTimeout(
    () => document.querySelector(`[aria-label="${name}"]`).click(), 100 * number))"""


@pytest.fixture
async def dead(engine: QueueEngine) -> list[str]:
    """Jobs in the dead letter queue: two of one cause, one of another."""
    ids = ["dead-1", "dead-2", "dead-3"]

    for job_id, code in zip(ids, (3, 3, 4), strict=True):
        await engine.enqueue(f"exit {code}", id=job_id, max_retries=0)

    async with engine.workers(concurrency=3):
        await engine.wait_all(ids)

    return ids


async def _states(engine: QueueEngine, ids: list[str]) -> list[JobState]:
    return [(await engine.get(job_id)).state for job_id in ids]


async def _is_told(page: Page, words: str) -> None:
    await expect(page.locator("p.notice")).to_contain_text(words)


async def test_a_dead_job_is_retried_and_its_row_goes(
    tab: Tab, engine: QueueEngine, dead: list[str]
) -> None:
    page = await tab.go("dlq")
    await page.get_by_role("button", name="Retry dead-2", exact=True).click()

    await _is_told(page, "1 job")
    await expect(page.locator("tr[data-key^=dead-2]")).to_have_count(0)
    await expect(page.locator("tr[data-key^=dead-1]")).to_be_visible()
    assert await _states(engine, dead) == [JobState.DEAD, JobState.PENDING, JobState.DEAD]


async def test_ticked_dead_jobs_are_retried(tab: Tab, engine: QueueEngine, dead: list[str]) -> None:
    page = await tab.go("dlq")
    retry = page.locator(".bulk").get_by_role("button", name="Retry")
    await expect(retry).to_be_disabled()
    await page.get_by_role("checkbox", name="Select dead-1").check()
    await page.get_by_role("checkbox", name="Select dead-3").check()
    await retry.click()

    await _is_told(page, "2 jobs")
    assert await _states(engine, dead) == [JobState.PENDING, JobState.DEAD, JobState.PENDING]


async def test_shift_ticks_all_between(tab: Tab, dead: list[str]) -> None:
    page = await tab.go("dlq")
    await page.get_by_role("checkbox", name=f"Select {dead[0]}").click()
    await page.get_by_role("checkbox", name=f"Select {dead[2]}").click(modifiers=["Shift"])

    await expect(page.locator("[data-selected]")).to_have_text("3 selected")


async def test_what_can_be_done_with_ticked_jobs_stays_in_sight(
    open_tab: OpenTab, engine: QueueEngine
) -> None:
    await engine.enqueue_many(["true"] * 30)
    page = await (await open_tab(width=PHONE)).go("jobs")
    await page.get_by_role("checkbox").nth(25).check()

    await expect(page.locator("[data-selected]")).to_have_text("1 selected")
    await expect(page.locator("[data-selected]")).to_be_in_viewport()

    for name in ("Retry", "Run now", "Cancel…", "Delete…"):
        button = page.locator(".bulk").get_by_role("button", name=name)
        await expect(button).to_be_in_viewport(ratio=1)


async def test_the_jobs_of_one_cause_are_shown_and_retried(
    tab: Tab, engine: QueueEngine, dead: list[str]
) -> None:
    page = await tab.go("dlq")
    await page.get_by_role("link", name="exit_code=3").click()
    await expect(page.locator("tbody tr")).to_have_count(2)
    await page.get_by_role("button", name="Retry 2 jobs: exit_code=3").click()
    await page.get_by_role("button", name="Retry them").click()

    await _is_told(page, "2 jobs")
    assert await _states(engine, dead) == [JobState.PENDING, JobState.PENDING, JobState.DEAD]


async def test_all_dead_jobs_are_retried(tab: Tab, engine: QueueEngine, dead: list[str]) -> None:
    page = await tab.go("dlq")
    await page.get_by_role("button", name="Retry all").click()
    await page.get_by_role("link", name="Go back").click()
    assert await _states(engine, dead) == [JobState.DEAD] * 3

    await page.get_by_role("button", name="Retry all").click()
    await page.get_by_role("button", name="Retry them").click()
    await expect(page.get_by_role("heading", name="No dead letters")).to_be_visible()
    assert await _states(engine, dead) == [JobState.PENDING] * 3


async def test_what_destroys_asks_first(tab: Tab, engine: QueueEngine, dead: list[str]) -> None:
    page = await tab.go("dlq")
    await page.get_by_role("button", name="Delete all").click()
    await page.get_by_role("link", name="Keep, and go back").click()
    assert await _states(engine, dead) == [JobState.DEAD] * 3

    await page.get_by_role("button", name="Delete 1 job: exit_code=4").click()
    await page.get_by_role("button", name="Delete them").click()

    await _is_told(page, "1 job")
    with pytest.raises(JobNotFoundError):
        await engine.get("dead-3")
    assert await _states(engine, dead[:2]) == [JobState.DEAD] * 2


async def test_a_job_is_cancelled_with_a_reason_and_deleted(tab: Tab, engine: QueueEngine) -> None:
    await engine.enqueue("true", id="job-1", delay=3600)
    page = await tab.go("jobs/job-1")
    await page.get_by_role("button", name="Cancel job-1").click()
    await page.get_by_label("Reason").fill("not needed")
    await page.get_by_role("button", name="Cancel 1 job").click()
    await expect(page.locator("#head")).to_contain_text("not needed")
    assert (await engine.get("job-1")).reason == "not needed"

    await page.get_by_role("button", name="Delete job-1").click()
    await page.get_by_role("button", name="Delete 1 job").click()
    await _is_told(page, "1 job")
    await expect(page.get_by_role("heading", name="No jobs yet")).to_be_visible()


async def test_a_scheduled_job_runs_now(tab: Tab, engine: QueueEngine) -> None:
    await engine.enqueue("true", id="later-1", delay=3600)
    page = await tab.go("scheduled")
    await page.get_by_role("button", name="Run now later-1").click()

    await expect(page.get_by_role("heading", name="Nothing is scheduled")).to_be_visible()
    assert (await engine.get("later-1")).run_at <= engine.now()


@pytest.mark.parametrize(("button", "asks"), [("Drain", False), ("Stop now", True)])
async def test_a_worker_is_sent_away(
    tab: Tab, engine: QueueEngine, button: str, *, asks: bool
) -> None:
    async with engine.workers() as _:
        [worker] = await engine.list_workers()
        page = await tab.go("workers")
        await page.get_by_role("button", name=f"{button} {worker.id}").click()

        if asks:
            await page.get_by_role("button", name="Stop 1 worker").click()

        await _is_told(page, "1 worker")
        await expect(page.get_by_role("heading", name="No worker is running")).to_be_visible()


async def test_the_config_is_changed_and_set_back(tab: Tab, engine: QueueEngine) -> None:
    page = await tab.go("config")
    retries = page.get_by_label("max-retries", exact=True)
    save = page.get_by_role("button", name="Save max-retries")
    await retries.fill("7")
    await save.click()
    await _is_told(page, "Saved")
    assert await engine.config.get("max-retries") == 7

    await page.get_by_role("button", name="Set max-retries back to its default").click()
    await expect(retries).to_have_value("3")
    assert await engine.config.get("max-retries") == 3


async def test_a_refused_value_stays_in_its_field_with_the_reason(tab: Tab) -> None:
    page = await tab.go("config")
    retries = page.get_by_label("max-retries", exact=True)
    await retries.fill("many")
    await page.get_by_role("button", name="Save max-retries").click()

    await expect(retries).to_have_value("many")
    await expect(retries).to_have_attribute("aria-invalid", "true")
    await expect(retries).to_be_focused()
    await expect(page.locator("#problem-max-retries")).to_be_visible()
    # The browser tells of the status, which is right.
    assert tab.said(but_not_loaded=True) == []
    tab.forget()


async def test_a_job_is_enqueued_and_its_page_follows_it(tab: Tab, engine: QueueEngine) -> None:
    page = await tab.go("")
    await page.get_by_role("link", name="Enqueue").click()
    await page.get_by_label("Command").fill("printf 'a\\nb\\n'\necho c")
    await page.get_by_text("More: id, tags").click()
    await page.get_by_label("Id", exact=True).fill("mine")
    await page.get_by_role("button", name="Enqueue").click()
    await expect(page.get_by_role("heading", name="mine")).to_be_visible()

    async with engine.workers():
        await expect(page.locator("pre.output")).to_have_text("a\nb\nc\n")


async def test_who_clicks_twice_has_not_answered_the_question_that_comes(
    tab: Tab, dead: list[str]
) -> None:
    page = await tab.go("dlq")
    await page.get_by_role("button", name="Delete all…").click()
    button = page.get_by_role("button", name="Delete them")
    await expect(button).to_be_visible()

    # Below the first click, a moment later.
    assert await button.evaluate("(each) => getComputedStyle(each).pointerEvents") == "none"
    await button.click()
    await _is_told(page, f"{len(dead)} jobs")


async def test_enter_in_a_box_starts_nothing(
    tab: Tab, engine: QueueEngine, dead: list[str]
) -> None:
    page = await tab.go("dlq")
    await page.get_by_role("checkbox", name="Select dead-2").focus()
    await page.keyboard.press("Space")
    await page.keyboard.press("Enter")
    await page.get_by_role("checkbox", name="Select dead-1").check()

    await expect(page.get_by_role("checkbox", name="Select dead-2")).to_be_checked()
    assert set(await _states(engine, dead)) == {JobState.DEAD}


async def test_who_goes_back_from_a_question_has_ticked_no_other_job(
    tab: Tab, engine: QueueEngine
) -> None:
    await engine.enqueue("true", id="mine", delay=3600)
    page = await tab.go("jobs")
    await page.get_by_role("checkbox", name="Select mine").check()
    await page.get_by_role("button", name="Delete…").click()
    await expect(page.get_by_role("heading", name="Delete 1 job?")).to_be_visible()
    await engine.enqueue("true", id="others", delay=3600)
    await page.go_back()

    await expect(page.get_by_role("checkbox", name="Select others")).not_to_be_checked()
    await expect(page.get_by_role("button", name="Run now")).to_be_disabled()


async def test_what_is_clicked_again_while_the_answer_is_slow_is_done_once(
    tab: Tab, engine: QueueEngine, dead: list[str]
) -> None:
    answer = asyncio.Event()
    asked: list[str | None] = []

    async def delay(route: Route) -> None:
        asked.append(route.request.post_data)
        await answer.wait()
        await route.continue_()

    page = await tab.go("dlq")
    await page.route("**/actions/**", delay)
    # The last is of the same form, and meant.
    names = [f"Retry {dead[number]}" for number in (0, 0, 0, 1)]
    await page.evaluate(_CLICK_ONE_AFTER_THE_OTHER, names)
    await wait_until(lambda: "dead-2" in str(asked[-1:]))
    answer.set()

    await _is_told(page, "1 job")
    assert [re.findall(r"job=([\w-]+)", str(data)) for data in asked] == [["dead-1"], ["dead-2"]]
    assert (await engine.get("dead-2")).state is JobState.PENDING


async def test_jobs_are_searched(tab: Tab, engine: QueueEngine) -> None:
    await engine.enqueue("echo needle", id="job-1", tags=["a"])
    await engine.enqueue("echo hay", id="job-2", tags=["b"])
    page = await tab.go("jobs")
    await page.get_by_label("Search in ids").fill("NEEDLE")
    await page.get_by_role("button", name="Find").click()
    await expect(page.locator("tbody tr")).to_have_count(1)
    await expect(page.get_by_role("link", name="job-1")).to_be_visible()


async def test_finished_jobs_are_purged(tab: Tab, engine: QueueEngine, dead: list[str]) -> None:
    page = await tab.go("database")
    await page.get_by_role("checkbox", name="dead").check()
    await page.get_by_label("Finished for longer than").fill("0s")
    await page.get_by_role("button", name="Delete…").click()
    await page.get_by_role("button", name="Delete them").click()

    await _is_told(page, f"{len(dead)} jobs")
    await wait_until(lambda: _is_empty(engine))


async def _is_empty(engine: QueueEngine) -> bool:
    return not await engine.list()
