"""
What open pages are shown, looked up once for all who look at the same.

Ten tabs of one page cost the database what one does.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Mapping
from contextlib import aclosing
from typing import TypeAlias, cast

import anyio

from queuectl import QueueEngine

# The HTML of each part of a page, by its id.
Parts: TypeAlias = Mapping[str, str]
Look: TypeAlias = Callable[[], Awaitable[Parts]]


class Feeds:
    """
    The feeds that somebody reads; each begins with its first reader and ends with its last.

    Args:
        engine: Whose changes are followed.
    """

    def __init__(self, engine: QueueEngine) -> None:
        self._engine = engine
        self._feeds: dict[Hashable, _Feed] = {}

    async def follow(self, key: Hashable, look: Look) -> AsyncGenerator[Parts, None]:
        """
        Yield what is shown now, and again whenever it was looked up.

        Args:
            key: The same for all who are shown the same.
            look: Looks it up.

        Raises:
            QueueCtlError: It could not be looked up; who asks again begins anew.
        """
        feed = self._feeds.get(key)

        if feed is None or feed.is_over:
            feed = self._feeds[key] = _Feed(self._engine, look)

        feed.readers += 1

        try:
            seen = feed.number
            # Not what the others were shown last: the page may know better already.
            yield await look()

            while True:
                await feed.wait_for_next(seen)
                seen = feed.number
                yield feed.parts
        finally:
            feed.readers -= 1

            if not feed.readers:
                await self._end(key, feed)

    async def _end(self, key: Hashable, feed: "_Feed") -> None:
        if self._feeds.get(key) is feed:
            del self._feeds[key]

        # Whoever reads may have been cancelled; the feed must be gone all the same.
        with anyio.CancelScope(shield=True):
            await feed.end()


class _Feed:
    """
    One thing that is looked up at every change.

    Attributes:
        readers: How many read it.
        number: How often it was looked up.
        parts: What was found last.
    """

    def __init__(self, engine: QueueEngine, look: Look) -> None:
        self.readers = 0
        self.number = 0
        self.parts: Parts = {}
        self._told = asyncio.Event()
        # Of its own, for it outlives the reader that it began with.
        self._task = asyncio.create_task(self._run(engine, look))
        self._task.add_done_callback(lambda _: self._told.set())

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes."""
        return self._task.done()

    async def wait_for_next(self, seen: int) -> None:
        """
        Return when it was looked up again.

        Args:
            seen: The number of what the reader knows.

        Raises:
            QueueCtlError: It could not be looked up.
        """
        while self.number == seen:
            if self._task.done():
                self._task.result()

            await self._told.wait()

    async def end(self) -> None:
        """Look nothing up any more."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self, engine: QueueEngine, look: Look) -> None:
        changes = cast("AsyncGenerator[None, None]", engine.changes())

        async with aclosing(changes):
            async for _ in changes:
                self.parts = await look()
                self.number += 1
                told, self._told = self._told, asyncio.Event()
                told.set()
