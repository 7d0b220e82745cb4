"""What keeps an open page up to date: the live parts of a pane, and the output of a job."""

import asyncio
import codecs
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from typing import Final, TypeVar, cast

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from queuectl import QueueCtlError, QueueEngine, StoreError
from queuectl.dashboard import sse
from queuectl.dashboard.feeds import Parts
from queuectl.dashboard.links import PATHS
from queuectl.dashboard.panes.registry import PANES, Pane
from queuectl.dashboard.state import state_of
from queuectl.dashboard.templates import render_fragment
from queuectl.dashboard.text import readable_output

T = TypeVar("T")

# Bytes of an output that an open page begins with: more is slow to show, and is there
# to be downloaded.
_BEGINNING: Final = 256 * 1024

# What may be the beginning of a colour, or of a line's end, that goes on in the next piece.
_UNFINISHED: Final = re.compile(r"(?:\x1b(?:\[[0-9;:]{0,64})?|\r)\Z")


def routes() -> list[BaseRoute]:
    """Return the routes of the streams."""
    return [
        Route(PATHS["live"], _live, name="live"),
        Route(PATHS["live_output"], _live_output, name="live_output"),
    ]


async def _live(request: Request) -> Response:
    """Stream the parts of a pane that differ from what was sent last."""
    name = request.path_params["pane"]
    pane = PANES.get(name)

    if pane is None or not pane.parts:
        raise HTTPException(404)

    state = state_of(request)
    params = dict(request.query_params)

    # What is wrong with the question is answered as such: a browser does not ask again
    # then. Where the database is busy it shall.
    with suppress(StoreError):
        await pane.refresh(state.engine, params, state.engine.now())

    return sse.EventStream(_telling(_fragments(request, name, pane, params)), state.stopping)


async def _telling(events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """
    Yield events, and where the engine fails one that says so, which is the last.

    The browser asks again, and is answered then.
    """
    try:
        async with aclosing(events):
            async for event in events:
                yield event
    except QueueCtlError as error:
        yield sse.event("problem", {"message": str(error)})


async def _fragments(
    request: Request, name: str, pane: Pane, params: Mapping[str, str]
) -> AsyncGenerator[bytes, None]:
    state = state_of(request)
    loop = asyncio.get_running_loop()
    sent: Parts = {}
    last = loop.time()

    async def look() -> Parts:
        view = await pane.refresh(state.engine, params, state.engine.now())
        return {part: render_fragment(request, name, part, view) for part in pane.parts}

    # Links in what is shown begin with the path of the mount.
    key = (name, frozenset(params.items()), request.scope.get("root_path", ""))

    async with aclosing(state.feeds.follow(key, look)) as views:
        async for shown in views:
            news = [part for part in pane.parts if sent.get(part) != shown[part]]
            sent = shown

            for part in news:
                yield sse.event("fragment", {"id": part, "html": shown[part]})

            if news:
                last = loop.time()
            elif loop.time() - last >= sse.PING_SECONDS:
                # It is looked up often enough for this.
                last = loop.time()
                yield sse.PING


async def _live_output(request: Request) -> Response:
    """Stream what a job writes, as text, until the job is finished."""
    state = state_of(request)
    job_id = request.path_params["job_id"]
    attempt = _attempt(request)

    # An unknown one is refused here, as an answer.
    with suppress(StoreError):
        await state.engine.output_bytes(job_id, attempt=attempt, last=0)

    return sse.EventStream(_telling(_output(state.engine, job_id, attempt)), state.stopping)


async def _output(
    engine: QueueEngine, job_id: str, attempt: int | None
) -> AsyncGenerator[bytes, None]:
    # A browser that asks again after a break is sent all of it again.
    yield sse.event("start", {})
    text = _Text()

    async with _closing(engine.follow(job_id, attempt=attempt, last=_BEGINNING)) as pieces:
        async for piece in pieces:
            if words := text.take(piece):
                yield sse.event("output", {"text": words})

    if words := text.rest():
        yield sse.event("output", {"text": words})

    yield sse.event("end", {})


class _Text:
    """Makes readable text of an output that comes in pieces, which may end inside anything."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="backslashreplace")
        self._held = ""

    def take(self, piece: bytes) -> str:
        """Return what of the output can be shown now."""
        text = self._held + self._decoder.decode(piece)
        unfinished = _UNFINISHED.search(text)
        whole = text if unfinished is None else text[: unfinished.start()]
        self._held = text[len(whole) :]
        return readable_output(whole)

    def rest(self) -> str:
        """Return what is left when nothing more comes."""
        return readable_output(self._held + self._decoder.decode(b"", final=True))


def _attempt(request: Request) -> int | None:
    given = request.query_params.get("attempt")

    if not given:
        return None

    if not (given.isascii() and given.isdigit() and len(given) < 10):  # noqa: PLR2004 (digits)
        raise HTTPException(400, "attempt is not a number")

    return int(given)


def _closing(source: AsyncIterator[T]) -> aclosing[AsyncGenerator[T, None]]:
    """Close what the engine yields from as soon as nobody reads on."""
    return aclosing(cast("AsyncGenerator[T, None]", source))
