"""``dlq``: the dead letter queue, the jobs that failed for good."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from queuectl import JobState, escape_line
from queuectl.cli import options, render, screen
from queuectl.cli.commands.jobs import print_retried, purge_agreed
from queuectl.cli.errors import UsageError
from queuectl.cli.session import with_engine

if TYPE_CHECKING:
    from queuectl import QueueEngine

_MOST_CAUSES: Final = 1000

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


@app.command("causes")
def list_causes(context: typer.Context, as_json: options.AsJson = False) -> None:
    """
    List the reasons for which jobs are dead, the most frequent one in front.

    These are the words for --cause. With --json an array.
    """
    causes = with_engine(context, lambda engine: engine.dlq.causes(limit=_MOST_CAUSES))
    render.print_causes(causes, render.form_of(as_json=as_json))


@app.command("retry")
def retry_dead(
    context: typer.Context,
    job_ids: options.SomeJobIds = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead jobs.")] = False,
    cause: options.Cause = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """
    Put dead jobs back to pending.

    All of them or none; their attempts count from 0 again.
    """
    ids = job_ids or []

    if bool(ids) + everything + (cause is not None) != 1:
        raise UsageError(
            "give ids, --all or --cause, and only one of them",
            hint="see them with: queuectl dlq list",
        )

    if ids:
        jobs = with_engine(context, lambda engine: engine.dlq.retry(*ids))
        print_retried(jobs, render.form_of(as_json=as_json, quiet=quiet))
        return

    count = with_engine(context, lambda engine: engine.dlq.retry_all(cause))

    if as_json:
        render.print_json({"retried": count})
    elif not quiet:
        screen.write_line(f"Retrying {count} {'job' if count == 1 else 'jobs'}")


@app.command("purge")
def purge_dead(
    context: typer.Context,
    cause: options.Cause = None,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """
    Delete all dead jobs, or all of one cause, with their attempts and outputs.

    It asks first; where nobody is at a terminal to answer, --yes must be given.
    """
    which = "" if cause is None else f" with the reason {escape_line(cause)}"
    purge_agreed(
        context,
        f"Delete all dead jobs{which}, with their outputs?",
        lambda engine: engine.dlq.purge(cause),
        yes=yes,
        as_json=as_json,
    )
