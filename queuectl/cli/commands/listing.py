"""``list``: jobs in the order of their arrival, or of their time."""

import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Final

import typer

from queuectl import JobState
from queuectl.cli import options, render
from queuectl.cli.session import with_engine

if TYPE_CHECKING:
    from queuectl import Job, QueueEngine

_LIST_EXAMPLES: Final = """
\b
Examples:
  queuectl list --state dead
  queuectl list --limit 20
  queuectl list --search ffmpeg
  queuectl list --scheduled --limit 10
  queuectl list --state dead --tag nightly -q | xargs queuectl retry
"""
_PAGE: Final = 500

app: typer.Typer = typer.Typer()


@app.command("list", epilog=_LIST_EXAMPLES)
def list_jobs(
    context: typer.Context,
    state: options.State = None,
    limit: options.Limit = None,
    tag: options.Tag = None,
    search: options.Search = None,
    scheduled: Annotated[
        bool,
        typer.Option(
            "--scheduled",
            help="Only jobs that wait for a time to come, the next in front; with --limit the"
            " next N.",
        ),
    ] = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """List jobs in the order of their arrival."""
    form = render.form_of(as_json=as_json, quiet=quiet)

    async def work(engine: "QueueEngine") -> None:
        if scheduled:
            jobs = _scheduled(engine, state, tag, search, limit)
            await render.print_scheduled(jobs, form)
        else:
            await render.print_jobs(_jobs(engine, state, tag, search, limit), form)

    with_engine(context, work)


async def _jobs(
    engine: "QueueEngine",
    state: JobState | None,
    tag: str | None,
    search: str | None,
    limit: int | None,
) -> AsyncIterator["Job"]:
    if limit is None:
        async for job in engine.iterate(state, tag=tag, search=search):
            yield job
    else:
        for job in await engine.list(state, tag=tag, search=search, limit=limit):
            yield job


async def _scheduled(
    engine: "QueueEngine",
    state: JobState | None,
    tag: str | None,
    search: str | None,
    limit: int | None,
) -> AsyncIterator["Job"]:
    left = sys.maxsize if limit is None else limit
    before: int | None = None
    # A page may begin in front again, where jobs were moved meanwhile.
    shown: set[int] = set()

    while left > 0:
        page = await engine.page(
            state,
            tag=tag,
            search=search,
            scheduled=True,
            before=before,
            limit=min(left, _PAGE),
        )

        for job in page.jobs:
            if job.seq not in shown:
                shown.add(job.seq)
                left -= 1
                yield job

        before = page.older

        if before is None:
            return
