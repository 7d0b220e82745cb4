"""``status``: the queue at a glance."""

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

import anyio
import typer

from queuectl import JobState
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
_USUAL_INTERVAL: Final = timedelta(seconds=2)

app: typer.Typer = typer.Typer()


@app.command("status", epilog=_EXAMPLES)
def show_status(
    context: typer.Context,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C.")
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
    pause = (interval or _USUAL_INTERVAL).total_seconds()

    async def work(engine: "QueueEngine") -> None:
        if not watch and as_json:
            render.print_status(await engine.stats(tag=tag))
        elif not watch:
            screen.write(await _glance(engine, tag))
        elif not as_json and screen.is_animated(sys.stdout):
            await _watch_live(engine, tag, pause)
        else:
            await _watch_plainly(engine, tag, pause, as_json=as_json)

    with_engine(context, work)


async def _glance(engine: "QueueEngine", tag: str | None) -> str:
    """Return the queue at a glance, with the jobs that cannot go on."""
    stats = await engine.stats(tag=tag)
    running = [job async for job in engine.iterate(JobState.PROCESSING, tag=tag)]
    return render.status_text(stats, [job for job in running if job.stuck])


async def _watch_live(engine: "QueueEngine", tag: str | None, pause: float) -> None:
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False) as live:
        while True:
            live.update(Text(await _glance(engine, tag)), refresh=True)
            await anyio.sleep(pause)


async def _watch_plainly(
    engine: "QueueEngine", tag: str | None, pause: float, *, as_json: bool
) -> None:
    """Print a snapshot an interval: an object a line, or lines with an empty one between."""
    while True:
        if as_json:
            render.print_status_line(await engine.stats(tag=tag))
        else:
            screen.write_line(await _glance(engine, tag))
            screen.flush()

        await anyio.sleep(pause)
