"""Reads server-sent events as a browser does."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anyio
import httpx2

from tests.dashboard.serving import Served
from tests.waiting import PATIENCE


class Event(NamedTuple):
    """An event: its name, and what it says."""

    kind: str
    data: dict[str, Any]


class Stream:
    """A stream that is open."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def next(self) -> Event:
        """Return the next event; what is no event is passed over."""
        kind = ""

        with anyio.fail_after(PATIENCE):
            async for line in self._lines:
                name, _, value = line.partition(": ")

                if name == "event":
                    kind = value
                elif name == "data":
                    return Event(kind, json.loads(value))

        raise AssertionError("the stream has ended")

    async def until(self, kind: str) -> list[Event]:
        """Return the events up to the first of a kind, with that one."""
        seen = [await self.next()]

        while seen[-1].kind != kind:
            seen.append(await self.next())

        return seen

    async def fragment(self, part: str, holding: str) -> str:
        """Return the HTML of a part of the page as soon as it holds a text."""
        while True:
            kind, data = await self.next()

            if kind == "fragment" and data["id"] == part and holding in data["html"]:
                return str(data["html"])

    async def output(self, end: str) -> str:
        """Return what a job wrote from here to a text that it ends with."""
        text = ""

        while not text.endswith(end):
            kind, data = await self.next()
            text += str(data["text"]) if kind == "output" else ""

        return text

    async def ended_well(self) -> bool:
        """Read to the end, and return whether the server ended it, and did not break it off."""
        with anyio.fail_after(PATIENCE):
            try:
                async for _ in self._lines:
                    pass
            except httpx2.RemoteProtocolError:
                return False

        return True


@asynccontextmanager
async def streaming(site: Served, path: str) -> AsyncIterator[Stream]:
    """Open a stream as somebody who has the token."""
    async with site.client.stream("GET", path, headers={"accept": "text/event-stream"}) as answer:
        assert answer.status_code == 200, await answer.aread()
        yield Stream(answer)
