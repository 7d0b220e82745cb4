"""Pages that are left open, and follow what happens."""

from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread
from playwright.async_api import Browser, Page, expect

from queuectl import QueueEngine
from tests.browser.tabs import Tab, signed_in
from tests.cli.program import run_process
from tests.dashboard.serving import Served, served
from tests.waiting import wait_until

# What a page that is loaded again has forgotten.
_MARK = "window.mark = 'the same page'"
_READ_MARK = "window.mark"


async def test_a_job_that_another_process_enqueues_appears_without_a_reload(
    tab: Tab, db_path: Path
) -> None:
    page = await tab.go("jobs")
    await expect(page.get_by_role("heading", name="No jobs yet")).to_be_visible()
    await page.evaluate(_MARK)

    words = ("--db", str(db_path), "enqueue", "--id", "elsewhere-1", "--", "echo", "hi")
    result = await to_thread.run_sync(partial(run_process, *words))

    assert result.code == 0
    await expect(page.get_by_role("link", name="elsewhere-1")).to_be_visible()
    assert await page.evaluate(_READ_MARK) == "the same page"


async def test_the_overview_counts_on(tab: Tab, engine: QueueEngine) -> None:
    page = await tab.go("")
    await expect(page.get_by_role("heading", name="The queue is empty")).to_be_visible()

    await engine.enqueue_many(["exit 1", "true", "true"])

    await expect(page.locator("a.kpi.pending strong")).to_have_text("3")


async def test_output_flows_while_the_job_runs(
    tab: Tab, engine: QueueEngine, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    command = f"echo first; until [ -e {gate} ]; do sleep 0.02; done; echo second"
    job = await engine.enqueue(command, id="job-1")

    async with engine.workers():
        page = await tab.go(f"jobs/{job.id}")
        output = page.locator("pre.output")
        await expect(output).to_have_text("first\n")
        await expect(page.locator("#head .state")).to_have_text("processing")
        await expect(page.locator("#output-title")).to_have_text("Output, live")
        gate.touch()
        await expect(output).to_have_text("first\nsecond\n")
        await expect(page.locator("#head .state")).to_have_text("completed")
        await expect(page.locator("#output-title")).to_have_text("Output of run 1")


async def test_the_end_of_a_long_output_stays_in_view(
    tab: Tab, engine: QueueEngine, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    command = f"seq 500; until [ -e {gate} ]; do sleep 0.02; done; seq 501 1000"
    job = await engine.enqueue(command, id="job-1")

    async with engine.workers():
        page = await tab.go(f"jobs/{job.id}")
        output = page.locator("pre.output")
        await expect(output).to_contain_text("\n500\n")
        gate.touch()
        await expect(output).to_contain_text("\n1000\n")

    below = await output.evaluate("pre => pre.scrollHeight - pre.scrollTop - pre.clientHeight")
    assert below < 25


async def test_of_a_flood_of_lines_the_last_are_kept(
    tab: Tab, engine: QueueEngine, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    begin = f"echo first; until [ -e {gate} ]; do sleep 0.02; done"
    job = await engine.enqueue(f"{begin}; seq 300000; echo last", id="job-1")

    async with engine.workers():
        page = await tab.go(f"jobs/{job.id}")
        output = page.locator("pre.output")
        await expect(output).to_have_text("first\n")
        gate.touch()
        # A page that shows all of it answers nobody for minutes.
        await expect(output).to_contain_text("\n300000\nlast\n")

    await expect(page.get_by_text("Its end: some 2,000 lines")).to_be_visible()
    text = await output.evaluate("pre => pre.textContent")
    lines = text.splitlines()
    assert 2000 <= len(lines) <= 3024
    assert lines[:-1] == [str(number) for number in range(300_002 - len(lines), 300_001)]


async def test_what_is_said_of_an_output_is_of_the_run_that_is_shown(
    tab: Tab, engine: QueueEngine, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    await engine.enqueue(f"[ -e {gate} ] || {{ seq 3000; exit 1; }}", id="job-1", max_retries=0)

    async with engine.workers():
        await engine.wait("job-1")
        page = await tab.go("jobs/job-1")
        cut = page.get_by_text("Its end: some 2,000 lines")
        await expect(cut).to_be_visible()
        gate.touch()
        await engine.retry("job-1")
        await expect(page.locator("#output-title")).to_have_text("Output of run 2")
        output = page.locator("pre.output")
        await expect(output).to_have_attribute("data-empty", "It wrote nothing.")
        await expect(cut).to_be_hidden()


async def test_of_a_line_without_an_end_the_last_is_kept(
    tab: Tab, engine: QueueEngine, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    begin = f"echo first; until [ -e {gate} ]; do sleep 0.02; done"
    job = await engine.enqueue(
        f"{begin}; head -c 1000000 /dev/zero | tr '\\0' x; printf last", id="job-1"
    )

    async with engine.workers():
        page = await tab.go(f"jobs/{job.id}")
        output = page.locator("pre.output")
        await expect(output).to_have_text("first\n")
        gate.touch()
        await expect(output).to_contain_text("xlast")

    text = await output.evaluate("pre => pre.textContent")
    assert len(text) <= 256 * 1024
    assert text == "x" * (len(text) - 4) + "last"


async def test_the_page_of_a_job_that_is_deleted_elsewhere_says_so(
    tab: Tab, engine: QueueEngine
) -> None:
    await engine.enqueue("true", id="job-1", delay=3600)
    page = await tab.go("jobs/job-1")
    await expect(page.get_by_role("button", name="Delete job-1")).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    await engine.delete("job-1")

    await expect(page.locator("#head .lead")).to_have_text("This job was deleted")
    await expect(page.locator("#link")).to_have_text("This job was deleted")
    await expect(page.locator("main button")).to_have_count(0)
    # One that is seen again would ask again where it is not over.
    await _show(page, "hidden")
    await _show(page, "visible")
    assert asked == []


async def test_a_page_that_was_not_seen_when_its_job_was_deleted_says_so(
    tab: Tab, engine: QueueEngine
) -> None:
    await engine.enqueue("true", id="job-1", delay=3600)
    page = await tab.go("jobs/job-1")
    await _show(page, "hidden")
    await engine.delete("job-1")
    await _show(page, "visible")

    await expect(page.locator("#head .lead")).to_have_text("This job was deleted")


async def test_ticks_and_focus_stay_when_rows_move(tab: Tab, engine: QueueEngine) -> None:
    await engine.enqueue_many(["true", "true"])
    first = await engine.enqueue("true", id="mine")
    page = await tab.go("jobs")
    box = page.get_by_role("checkbox", name=f"Select {first.id}")
    await box.check()
    await box.focus()

    for number in range(3):
        await engine.enqueue("true", id=f"new-{number}")
        await expect(page.get_by_role("link", name=f"new-{number}")).to_be_visible()

    await expect(box).to_be_checked()
    await expect(box).to_be_focused()
    await expect(page.locator("[data-selected]")).to_have_text("1 selected")


async def test_a_hidden_tab_holds_no_connection_and_catches_up_when_it_is_seen(
    tab: Tab, engine: QueueEngine
) -> None:
    page = await tab.go("jobs")
    await expect(page.get_by_role("heading", name="No jobs yet")).to_be_visible()
    ended: list[str] = []
    page.on("requestfailed", lambda request: ended.append(request.url))

    await _show(page, "hidden")
    await wait_until(lambda: any("/live/jobs" in url for url in ended))
    await engine.enqueue("true", id="meanwhile")
    await _show(page, "visible")

    await expect(page.get_by_role("link", name="meanwhile")).to_be_visible()


async def test_a_page_left_open_goes_on_when_the_server_is_back(
    browser: Browser, engine: QueueEngine, tmp_path: Path
) -> None:
    async with served(engine, tmp_path) as before, signed_in(browser, before.server) as window:
        port = before.stranger.base_url.port
        tab = Tab(await window.new_page(), before.server.link)
        page = await tab.go("jobs")
        await expect(page.get_by_role("heading", name="No jobs yet")).to_be_visible()
        await page.evaluate(_MARK)

        before.server.stop()
        with anyio.fail_after(2):
            await before.stopped.wait()

        await expect(page.locator("#link")).to_have_text("Connection lost, trying again")
        await engine.enqueue("true", id="meanwhile")

        async with served(engine, tmp_path, port=port):
            await expect(page.get_by_role("link", name="meanwhile")).to_be_visible()
            await expect(page.locator("#link")).to_be_hidden()

        assert await page.evaluate(_READ_MARK) == "the same page"
        assert tab.said(but_not_loaded=True) == []


async def test_seven_pages_of_one_window_are_all_open(
    browser: Browser, site: Served, engine: QueueEngine
) -> None:
    # A browser opens six connections to a host; a page that waits for one shows nothing.
    async with signed_in(browser, site.server) as window:
        for number in range(7):
            tab = Tab(await window.new_page(), site.server.link)
            page = await tab.go("jobs")

            for other in window.pages:
                await _show(other, "visible" if other is page else "hidden")

            await engine.enqueue("true", id=f"job-{number}")
            await expect(page.get_by_role("link", name=f"job-{number}")).to_be_visible()


async def test_five_pages_that_are_all_seen_are_all_open(
    browser: Browser, site: Served, engine: QueueEngine
) -> None:
    # Each has one stream, so two of a job leave room for more.
    await engine.enqueue("echo working; sleep 60", id="running-1")

    async with (
        engine.workers(grace=0),
        signed_in(browser, site.server) as window,
    ):
        for path in ("", "", "jobs/running-1", "jobs/running-1"):
            tab = Tab(await window.new_page(), site.server.link)
            page = await tab.go(path)
            await expect(page.locator("main")).to_contain_text("running-1")
            await expect(page.locator("main")).to_contain_text("working")

        page = await Tab(await window.new_page(), site.server.link).go("jobs")
        await expect(page.get_by_role("link", name="running-1")).to_be_visible()
        await engine.enqueue("true", id="later-1", delay=3600)
        await expect(page.get_by_role("link", name="later-1")).to_be_visible()


async def _show(page: Page, state: str) -> None:
    """Tell a page that it is seen, or not: a browser without windows never does."""
    await page.evaluate(
        """state => {
            Object.defineProperty(document, "visibilityState", {value: state, configurable: true});
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        state,
    )
