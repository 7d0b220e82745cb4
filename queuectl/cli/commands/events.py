"""``events``: what has happened to jobs."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from queuectl import event_record
from queuectl.cli import options, render, screen
from queuectl.cli.session import with_engine

if TYPE_CHECKING:
    from queuectl import Event, QueueEngine

_EXAMPLES: Final = """
\b
Examples:
  queuectl events --limit 20
  queuectl events -f
  queuectl events --job job1
  queuectl events --json --since 1200 | jq -r 'select(.kind == "died") | .job_id'

With -f Ctrl-C ends it. Events are kept for as long as the config key event-retention says.
"""

_LARGEST: Final = 2**63 - 1

app: typer.Typer = typer.Typer()


@app.command("events", epilog=_EXAMPLES)
def show_events(
    context: typer.Context,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what happens from now on.")
    ] = False,
    since: Annotated[
        int | None,
        typer.Option(
            "--since",
            min=0,
            max=_LARGEST,
            metavar="N",
            help="Begin behind the event of this number; else, with -f, with what happens from"
            " now on, and without it with the first that is kept.",
        ),
    ] = None,
    job_id: Annotated[
        str | None,
        typer.Option(
            "--job", parser=options.text, metavar="ID", help="Only what happens to this job."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=1,
            max=2**31 - 1,
            metavar="N",
            help="Begin with the last N, 100000 at the most; with --since, end after N.",
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """
    Print what has happened to jobs, an event a line.

    Each has a number, which never goes back: a script that keeps the last one goes on
    behind it with --since, and misses nothing. With --json an object a line.
    """
    wanted = _Wanted(follow=follow, since=since, job_id=job_id, limit=limit)

    async def follow_events(engine: "QueueEngine") -> None:
        async with screen.ended_with_reader():
            await print_events(engine)

    async def print_events(engine: "QueueEngine") -> None:
        is_empty = True

        async for event in _events(engine, wanted):
            is_empty = False

            if as_json:
                render.print_json_line(event_record(event))
            else:
                screen.write_line(render.event_line(event))
                screen.flush()

        if is_empty:
            await _tell_why(engine, wanted)

    with_engine(context, follow_events if follow else print_events)


class _Wanted(NamedTuple):
    """What is to be shown; see the options."""

    follow: bool
    since: int | None
    job_id: str | None
    limit: int | None


async def _tell_why(engine: "QueueEngine", wanted: _Wanted) -> None:
    """
    Say why there is no event, where it is not that none is behind a number.

    Raises:
        JobNotFoundError: There is no such job, and no event of one that was deleted.
    """
    if wanted.job_id is None:
        if not wanted.since:
            is_new = await engine.last_event() == 0
            screen.note("nothing has happened yet" if is_new else "no events are kept any more")

        return

    async for _ in engine.past_events(last=1, job_id=wanted.job_id):
        return

    job = await engine.get(wanted.job_id)
    screen.note(f"no events of job {job.id} are kept any more")


def _events(engine: "QueueEngine", wanted: _Wanted) -> AsyncIterator["Event"]:
    """Return the events that are wanted, as they come."""
    if wanted.since is None and wanted.follow:
        return _from_now_on(engine, wanted)

    if wanted.since is None:
        return engine.past_events(last=wanted.limit, job_id=wanted.job_id)

    if wanted.follow:
        events = engine.events(since=wanted.since, job_id=wanted.job_id)
    else:
        events = engine.past_events(since=wanted.since, job_id=wanted.job_id)

    return events if wanted.limit is None else _first(wanted.limit, events)


async def _from_now_on(engine: "QueueEngine", wanted: _Wanted) -> AsyncIterator["Event"]:
    """Yield the last events, where some are wanted, and what follows them."""
    # Before the last ones are read, so that nothing is missed between them and the next.
    newest = await engine.last_event()

    if wanted.limit is not None:
        async for event in engine.past_events(last=wanted.limit, job_id=wanted.job_id):
            yield event
            newest = max(newest, event.seq)

    async for event in engine.events(since=newest, job_id=wanted.job_id):
        yield event


async def _first(number: int, events: AsyncIterator["Event"]) -> AsyncIterator["Event"]:
    left = number

    async for event in events:
        yield event
        left -= 1

        if not left:
            return
