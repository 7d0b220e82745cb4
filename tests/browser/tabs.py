"""Tabs of a browser that is signed in, and what must hold in each."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page

from queuectl.dashboard.server import DashboardServer
from tests.dashboard.serving import TOKEN

DESK: Final = 1600
PHONE: Final = 375
_HEIGHT: Final = 900

# What Chromium itself says of an answer that is an error, or does not come.
_NOT_LOADED: Final = re.compile(r"Failed to load resource: ")


class Tab:
    """
    A tab that is signed in.

    Args:
        page: The tab.
        address: Of the dashboard, with a slash at its end.
    """

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self._address = address
        self._said: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self._said.append(f"pageerror: {error}"))
        page.on("dialog", lambda dialog: self._said.append(f"dialog: {dialog.message}"))

    async def go(self, path: str) -> Page:
        """Open a page of the dashboard."""
        await self.page.goto(f"{self._address}{path}")
        return self.page

    def said(self, *, but_not_loaded: bool = False) -> list[str]:
        """
        Return what it wrote to its console, and what it showed without being asked.

        Args:
            but_not_loaded: Leave out what the browser says where no answer comes.
        """
        return [words for words in self._said if not (but_not_loaded and _NOT_LOADED.match(words))]

    def forget(self) -> None:
        """Forget what was said so far, which was expected."""
        self._said.clear()

    def _hear(self, message: ConsoleMessage) -> None:
        self._said.append(message.text)


@asynccontextmanager
async def signed_in(
    browser: Browser, server: DashboardServer, *, width: int = DESK, **options: Any
) -> AsyncIterator[BrowserContext]:
    """Open a window that has been to the link which `queuectl dashboard` prints."""
    window = await browser.new_context(
        viewport={"width": width, "height": _HEIGHT}, reduced_motion="reduce", **options
    )

    try:
        page = await window.new_page()
        await page.goto(f"{server.link}?token={quote(TOKEN)}")
        assert "token" not in page.url
        await page.close()
        yield window
    finally:
        await window.close()
