"""
Server-sent events (WHATWG HTML, 9.2): a body that goes on until somebody has enough.

It ends where its sources end, the browser goes, or the server is about to stop. The
last is what keeps an open page from holding up the server: a response that goes on for
ever is waited for otherwise. A page has one, for all that it follows: browsers open no
more than six connections to a host.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

import anyio
import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

# What a source yields last to end the whole stream, and not only its own part of it.
END: Final = b""

# The browser asks again after so long, in milliseconds, when a stream has ended.
RETRY: Final = b"retry: 1000\n\n"

# A line that means nothing, so that nobody between takes the stream for dead.
PING: Final = b": ping\n\n"
PING_SECONDS: Final = 15.0

# Seconds that the end of a stream may take: its reader may have stopped reading.
_FAREWELL: Final = 0.2

_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # nginx would keep it until there is enough of it.
    (b"x-accel-buffering", b"no"),
)


def event(kind: str, data: object) -> bytes:
    """
    Return an event as it is sent.

    Args:
        kind: Its name: one word.
        data: What it says; sent as JSON, which is one line.
    """
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), msgspec.json.encode(data))


class EventStream(Response):
    """
    A response of server-sent events.

    Args:
        sources: Each yields events as they are sent; all at once.
        stopping: Set when the server is about to stop.
    """

    def __init__(
        self, sources: Sequence[AsyncGenerator[bytes, None]], stopping: asyncio.Event
    ) -> None:
        super().__init__()
        self.raw_headers: list[tuple[bytes, bytes]] = list(_HEADERS)
        self._sources = sources
        self._stopping = stopping
        self._sending = anyio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the end."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

        # Who asks for the headers alone does not wait for the rest.
        if scope["method"] != "HEAD":
            try:
                await self._stream(receive, send)
            except asyncio.CancelledError:
                if not _is_for_us_alone():
                    raise

        with anyio.move_on_after(_FAREWELL):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _stream(self, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._end_with_server, tasks.cancel_scope)
            tasks.start_soon(_end_with_reader, receive, tasks.cancel_scope)
            await _send(send, RETRY)

            async with anyio.create_task_group() as passing:
                for source in self._sources:
                    passing.start_soon(self._pass_on, source, send, tasks.cancel_scope)

            tasks.cancel_scope.cancel()

    async def _pass_on(
        self, source: AsyncGenerator[bytes, None], send: Send, scope: anyio.CancelScope
    ) -> None:
        async with aclosing(source):
            async for chunk in source:
                if chunk == END:
                    scope.cancel()
                    return

                # One after the other: servers need not expect anything else.
                async with self._sending:
                    await _send(send, chunk)

    async def _end_with_server(self, scope: anyio.CancelScope) -> None:
        await self._stopping.wait()
        scope.cancel()


def _is_for_us_alone() -> bool:
    """
    Take note of a cancellation, and return whether nobody around us waits for it.

    So does a server cancel what goes on when it stops, where we are mounted in somebody
    else's application and are not told. To end is then enough: whatever is raised is logged
    as a failure. Where a scope around us was cancelled, that has to hear of it.
    """
    if anyio.current_effective_deadline() == -math.inf:
        return False

    if (task := asyncio.current_task()) is not None:
        task.uncancel()

    return True


async def _end_with_reader(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

    scope.cancel()


async def _send(send: Send, chunk: bytes) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": True})
