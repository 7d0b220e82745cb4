"""A browser, a dashboard on a real port, and tabs that are signed in."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, async_playwright, expect

from queuectl import QueueEngine
from tests.browser.chromium import ARGUMENTS, find_chromium
from tests.browser.tabs import Tab, signed_in
from tests.dashboard.serving import Served, served
from tests.waiting import PATIENCE

OpenTab = Callable[..., Awaitable[Tab]]


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests; each has windows of its own, which share nothing."""
    expect.set_options(timeout=1000 * PATIENCE)

    async with async_playwright() as playwright:
        path = find_chromium(Path(playwright.chromium.executable_path))
        browser = await playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))

        yield browser

        await browser.close()


@pytest.fixture
async def engine(db_path: Path) -> AsyncIterator[QueueEngine]:
    async with QueueEngine(db_path) as engine:
        yield engine


@pytest.fixture
async def site(engine: QueueEngine, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(engine, tmp_path, allow_enqueue=True) as site:
        yield site


@pytest.fixture
async def open_tab(browser: Browser, site: Served) -> AsyncIterator[OpenTab]:
    """A function that opens a tab in a window of its own; none of them may complain."""
    tabs: list[Tab] = []

    async with AsyncExitStack() as windows:

        async def open_one(**options: Any) -> Tab:
            window = await windows.enter_async_context(signed_in(browser, site.server, **options))
            tabs.append(Tab(await window.new_page(), site.server.link))
            return tabs[-1]

        yield open_one

        assert [tab.said() for tab in tabs] == [[] for _ in tabs]


@pytest.fixture
async def tab(open_tab: OpenTab) -> Tab:
    return await open_tab()
