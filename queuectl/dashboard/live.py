"""What keeps an open page up to date: the live parts of a pane, and the output of a job."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from typing import Final, TypeVar, cast

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from queuectl import (
    JobNotFoundError,
    OutputMissingError,
    QueueCtlError,
    QueueEngine,
    RunNotFoundError,
    StoreError,
)
from queuectl.dashboard import sse
from queuectl.dashboard.feeds import Parts
from queuectl.dashboard.links import PATHS
from queuectl.dashboard.panes import params as asked
from queuectl.dashboard.panes.job import same_job
from queuectl.dashboard.panes.registry import PANES, Pane
from queuectl.dashboard.state import state_of
from queuectl.dashboard.templates import render_fragment
from queuectl.dashboard.text import OutputText

T = TypeVar("T")

# Bytes of an output that an open page begins with: more is slow to show, and is there
# to be downloaded.
_BEGINNING: Final = 256 * 1024


def routes() -> list[BaseRoute]:
    """Return the routes of the streams."""
    return [Route(PATHS["live"], _live, name="live")]


async def _live(request: Request) -> Response:
    """
    Stream the parts of a pane that differ from what was sent last.

    The page of a job that asks for it is also sent what that writes.
    """
    name = request.path_params["pane"]
    pane = PANES.get(name)

    if pane is None or not pane.parts:
        raise HTTPException(404)

    state = state_of(request)
    params = dict(request.query_params)

    # What is wrong with the question is answered as such: a browser does not ask again
    # then. Where the database is busy it shall; and of a job that was deleted while nobody
    # looked the page is told in the stream, for it cannot read the answer.
    is_gone = False

    with suppress(StoreError):
        try:
            await pane.refresh(state.engine, params, state.engine.now())
        except JobNotFoundError:
            is_gone = True

    sources = [_telling(_fragments(request, name, pane, params))]

    if name == "job" and "output" in params and not is_gone:
        sources.append(_telling(_outputs(state.engine, params)))

    return sse.EventStream(sources, state.stopping)


async def _telling(events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """
    Yield events, and where the engine fails one that says so, which is the last.

    The browser asks again, and is answered then; but not for a job that is gone.
    """
    try:
        async with aclosing(events):
            async for event in events:
                yield event
    except JobNotFoundError:
        yield sse.event("gone", {"message": "This job was deleted"})
        yield sse.END
    except QueueCtlError as error:
        yield sse.event("problem", {"message": str(error)})
        yield sse.END


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


async def _outputs(engine: QueueEngine, params: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
    """
    Yield what a job writes, run by run, each from its beginning.

    Of one run alone where one was chosen. Where the page shows what there is of one, it
    begins with the run behind that. Of those that were over before they could be shown,
    the last is.
    """
    chosen = asked.number(params, "attempt")
    # 0 before the first.
    shown = asked.number(params, "shown", least=0)

    if shown is None:
        shown = max((await same_job(engine, params)).run_count - 1, 0)

    while True:
        number = await _run_behind(engine, params, shown) if chosen is None else chosen

        async with aclosing(_output(engine, asked.text(params, "job") or "", number)) as events:
            try:
                async for event in events:
                    yield event
            except OutputMissingError:
                yield sse.event("missing", {})
            except RunNotFoundError:
                # It was given back before it began.
                pass

        yield sse.event("end", {})

        if chosen is not None:
            return

        # The next may have the number of one that was given back.
        shown = min(number, (await same_job(engine, params)).run_count)


async def _run_behind(engine: QueueEngine, params: Mapping[str, str], number: int) -> int:
    """Return the number of a job's latest run, when that is behind another."""
    latest = number

    async with _closing(engine.changes()) as changes:
        async for _ in changes:
            latest = (await same_job(engine, params)).run_count

            if latest > number:
                break

    return latest


async def _output(engine: QueueEngine, job_id: str, number: int) -> AsyncGenerator[bytes, None]:
    """Yield what a run writes, as text, until it is recorded."""
    size = await engine.output_size(job_id, attempt=number)
    # A browser that asks again after a break is sent all of it again.
    yield sse.event("start", {"is_cut": size > _BEGINNING})
    text = OutputText()

    async with _closing(engine.follow(job_id, attempt=number, last=_BEGINNING)) as pieces:
        async for piece in pieces:
            async with aclosing(text.take(piece)) as shown:
                async for words in shown:
                    yield sse.event("output", {"text": words})

    if words := text.rest():
        yield sse.event("output", {"text": words})


def _closing(source: AsyncIterator[T]) -> aclosing[AsyncGenerator[T, None]]:
    """Close what the engine yields from as soon as nobody reads on."""
    return aclosing(cast("AsyncGenerator[T, None]", source))
