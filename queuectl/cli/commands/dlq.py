"""``dlq``: the dead letter queue, the jobs that failed for good."""

from typing import TYPE_CHECKING, Annotated

import typer

from queuectl import JobState
from queuectl.cli import options, render, screen
from queuectl.cli.commands.jobs import print_retried, purge_states
from queuectl.cli.errors import UsageError
from queuectl.cli.session import with_engine

if TYPE_CHECKING:
    from queuectl import QueueEngine

app: typer.Typer = typer.Typer(
    name="dlq", help="Look at, retry and purge jobs that failed for good.", no_args_is_help=True
)


@app.command("list")
def list_dead(
    context: typer.Context, as_json: options.AsJson = False, quiet: options.Quiet = False
) -> None:
    """List the dead jobs, with why and when they died."""

    async def work(engine: "QueueEngine") -> None:
        jobs = engine.iterate(JobState.DEAD)
        await render.print_dead(jobs, render.form_of(as_json=as_json, quiet=quiet))

    with_engine(context, work)


@app.command("retry")
def retry_dead(
    context: typer.Context,
    job_ids: options.SomeJobIds = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead jobs.")] = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """
    Put dead jobs back to pending.

    All of them or none; their attempts count from 0 again.
    """
    ids = job_ids or []

    if bool(ids) == everything:
        raise UsageError("give ids, or --all", hint="see them with: queuectl dlq list")

    if not everything:
        jobs = with_engine(context, lambda engine: engine.dlq.retry(*ids))
        print_retried(jobs, render.form_of(as_json=as_json, quiet=quiet))
        return

    count = with_engine(context, lambda engine: engine.dlq.retry_all())

    if as_json:
        render.print_json({"retried": count})
    elif not quiet:
        screen.write_line(f"Retrying {count} {'job' if count == 1 else 'jobs'}")


@app.command("purge")
def purge_dead(
    context: typer.Context, yes: options.Yes = False, as_json: options.AsJson = False
) -> None:
    """
    Delete all dead jobs, with their attempts and outputs.

    It asks first; where nobody is at a terminal to answer, --yes must be given.
    """
    purge_states(context, [JobState.DEAD], None, yes=yes, as_json=as_json)
