"""``status``: the queue at a glance."""

import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from queuectl import JobState, escape_line, format_time
from queuectl.cli import options, render, screen
from queuectl.cli.session import with_engine

if TYPE_CHECKING:
    from queuectl import QueueEngine

_EXAMPLES: Final = """
\b
Examples:
  queuectl status
  queuectl status --tag nightly
  queuectl status --watch --interval 5s
  queuectl status --json | jq .counts.pending
  queuectl status --json | jq .activity.hour.wait_sec.p95
"""

app: typer.Typer = typer.Typer()


@app.command("status", epilog=_EXAMPLES)
def show_status(
    context: typer.Context,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again at every change, until Ctrl-C.")
    ] = False,
    interval: options.Interval = None,
    tag: options.Tag = None,
    as_json: options.AsJson = False,
) -> None:
    """
    Show the number of jobs in each state, the workers, and what happened lately.

    For the last minute, hour and day: how many runs ended, failed and died, and for how
    long they waited and ran. p95: 19 of 20 took no longer.
    """

    async def work(engine: "QueueEngine") -> None:
        if not watch and as_json:
            render.print_status(await engine.stats(tag=tag))
        elif not watch:
            screen.write(await _glance(engine, tag))
        elif not as_json and screen.is_animated(sys.stdout):
            await _watch_live(engine, tag, _looks(engine, interval))
        else:
            async with screen.ended_with_reader():
                await _watch_plainly(engine, tag, _looks(engine, interval), as_json=as_json)

    with_engine(context, work)


def _looks(engine: "QueueEngine", interval: timedelta | None) -> AsyncIterator[None]:
    """Yield when it is time to look again: at changes, or as often as was asked for."""
    if interval is None:
        return engine.changes()

    seconds = interval.total_seconds()
    return engine.changes(at_most_every=seconds, at_least_every=seconds)


async def _glance(engine: "QueueEngine", tag: str | None) -> str:
    """Return the queue at a glance, with the jobs that cannot go on."""
    stats = await engine.stats(tag=tag)
    running = [job async for job in engine.iterate(JobState.PROCESSING, tag=tag)]
    return render.status_text(stats, [job for job in running if job.stuck])


async def _watch_live(engine: "QueueEngine", tag: str | None, looks: AsyncIterator[None]) -> None:
    from rich.text import Text

    from queuectl.cli.live import live_view

    with live_view() as view:
        async for _ in looks:
            view.show(Text(await _glance(engine, tag)))


async def _watch_plainly(
    engine: "QueueEngine", tag: str | None, looks: AsyncIterator[None], *, as_json: bool
) -> None:
    """Print a snapshot at each look: an object a line, or lines with an empty one between."""
    async for _ in looks:
        if as_json:
            render.print_status_line(await engine.stats(tag=tag))
        else:
            glance = await _glance(engine, tag)
            screen.write_line(f"{_title(engine)}\n{glance}")
            screen.flush()


def _title(engine: "QueueEngine") -> str:
    """Return the name of the database and the time, as `top` has them, with the day."""
    return f"queuectl  {escape_line(str(engine.database))}  {format_time(engine.now())}"
