"""Pages that are left open while something is wrong: they say what."""

from pathlib import Path

from playwright.async_api import Browser, expect

from queuectl import QueueEngine
from tests.browser.tabs import Tab, signed_in
from tests.dashboard.serving import Served, served, token_file
from tests.waiting import wait_until

# Keeps what the page has said of its connection.
_HEAR = """
window.said = [];
new MutationObserver(() => window.said.push(document.getElementById("link").textContent))
    .observe(document.getElementById("link"), {childList: true});
"""

# Whether the notice lies where the output does, and what is seen there is the notice.
_IS_ON_TOP = """() => {
    tell("Connection lost, trying again");
    const pre = document.querySelector("pre.output");
    pre.scrollIntoView({block: "end"});
    const place = document.getElementById("link").getBoundingClientRect();
    const [x, y] = [place.x + place.width / 2, place.y + place.height / 2];
    const below = document.elementsFromPoint(x, y);
    return [below.includes(pre), below[0].id === "link"];
}"""


async def test_what_is_wrong_is_told_until_the_page_goes_on(
    browser: Browser, site: Served, engine: QueueEngine
) -> None:
    async with signed_in(browser, site.server) as window:
        tab = Tab(await window.new_page(), site.server.link)
        page = await tab.go("jobs")
        await expect(page.get_by_role("heading", name="No jobs yet")).to_be_visible()
        await page.evaluate(_HEAR)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))

        away = engine.database.rename(engine.database.with_suffix(".away"))
        await expect(page.locator("#link")).to_contain_text("database")
        await wait_until(lambda: sum("/live/" in url for url in asked) >= 2)
        away.rename(engine.database)

        await expect(page.locator("#link")).to_be_hidden()
        said = await page.evaluate("window.said")

    assert {words for words in said if "database" not in words} == {""}


async def test_what_is_told_lies_over_the_output(tab: Tab, engine: QueueEngine) -> None:
    await engine.enqueue("seq 2000", id="long-1")

    async with engine.workers():
        await engine.wait("long-1")

    page = await tab.go("jobs/long-1")
    await page.set_viewport_size({"width": 1280, "height": 720})

    assert await page.evaluate(_IS_ON_TOP) == [True, True]


async def test_who_is_signed_out_is_told_to_open_the_link_again(
    browser: Browser, engine: QueueEngine, tmp_path: Path
) -> None:
    async with served(engine, tmp_path) as before, signed_in(browser, before.server) as window:
        port = before.stranger.base_url.port
        tab = Tab(await window.new_page(), before.server.link)
        page = await tab.go("jobs")
        await expect(page.get_by_role("heading", name="No jobs yet")).to_be_visible()
        before.server.stop()
        await before.stopped.wait()
        (tmp_path / "other").mkdir()
        token = token_file(tmp_path / "other", "another token than before")

        async with served(engine, tmp_path, port=port, token_file=token):
            await expect(page.locator("#link")).to_contain_text("open the link")
