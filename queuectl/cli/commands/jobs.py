"""``info``, ``wait``, ``cancel``, ``retry``, ``run-now``, ``delete``, ``purge``: jobs."""

import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from queuectl import JobState, QueueCtlError, format_duration
from queuectl.cli import options, progress, render, screen
from queuectl.cli.errors import CommandError, ExitCode, UsageError, explain
from queuectl.cli.session import start_worker_words, tell_no_worker, with_engine

if TYPE_CHECKING:
    from queuectl import Attempt, Job, QueueEngine

_WAIT_EXAMPLES: Final = """
\b
Exit codes:
  0 all are completed, 6 some ended in another way, 5 some are not finished in time
"""

# How much of a failed run's output `info` shows.
_TAIL_LINES: Final = 10
_TAIL_BYTES: Final = 4096

app: typer.Typer = typer.Typer()


@app.command("info")
def show_info(
    context: typer.Context, job_id: options.JobId, as_json: options.AsJson = False
) -> None:
    """Show everything about a job, with its attempts and last error."""
    from queuectl import job_detail_record

    job, attempts, tail = with_engine(context, lambda engine: _look_at(engine, job_id))

    if as_json:
        render.print_json(job_detail_record(job, attempts))
    else:
        render.print_detail(job, attempts, tail)


async def _look_at(engine: "QueueEngine", job_id: str) -> "tuple[Job, list[Attempt], str]":
    job = await engine.get(job_id)
    attempts = await engine.attempts(job_id)
    failed = render.last_failed(attempts)

    if failed is None:
        return job, attempts, ""

    end = await engine.output_bytes(job_id, attempt=failed.number, last=_TAIL_BYTES)
    lines = end.decode(errors="backslashreplace").splitlines(keepends=True)
    return job, attempts, "".join(lines[-_TAIL_LINES:])


@app.command("wait", epilog=_WAIT_EXAMPLES)
def wait(
    context: typer.Context,
    job_ids: options.JobIds,
    timeout: options.WaitTimeout = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Wait until jobs are finished, and tell how they ended."""

    async def work(engine: "QueueEngine") -> "list[Job]":
        left = await anext(engine.progress(job_ids))

        # With --json there is one object on stderr, or nothing.
        if left and not as_json and not engine.has_live_worker():
            tell_no_worker(context)

        async with progress.waiting_bar(engine, job_ids):
            return await engine.wait_all(job_ids, timeout=timeout)

    jobs = with_engine(context, work)
    _print_jobs(jobs, render.form_of(as_json=as_json, quiet=quiet), render.one_line)
    failed = [job for job in jobs if job.state is not JobState.COMPLETED]

    if failed:
        names = ", ".join(f"{job.id} ({job.state})" for job in failed)
        who = "the job" if len(jobs) == 1 else f"{len(failed)} of {len(jobs)} jobs"
        raise CommandError(
            f"{who} did not complete: {names}",
            exit_code=ExitCode.NOT_COMPLETED,
        )


@app.command("cancel")
def cancel(
    context: typer.Context,
    job_ids: options.JobIds,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="R", help="Why; kept with the job.")
    ] = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Cancel jobs; one that runs is ended by its worker."""

    def told(job: "Job") -> str:
        is_ending = job.state is JobState.PROCESSING
        return f"Cancelling job: {job.id}" if is_ending else f"Cancelled job: {job.id}"

    async def work(engine: "QueueEngine") -> None:
        done, errors = await _each(job_ids, lambda job_id: engine.cancel(job_id, reason=reason))
        form = render.form_of(as_json=as_json, quiet=quiet)
        is_running = any(job.state is JobState.PROCESSING for job in done)

        if form is render.Form.TABLE and is_running and not await _has_worker(engine):
            screen.note(
                "no worker is alive; what runs is ended when one is started, with:"
                f" {start_worker_words(context)}"
            )

        _print_done(done, errors, form, told)

    with_engine(context, work)


async def _has_worker(engine: "QueueEngine") -> bool:
    """
    Whether any worker is alive, even one whose files were taken away.

    `QueueEngine.has_live_worker` looks for locks in the state folder and nowhere else.
    That is enough for a hint, and costs an enqueue no question to the database.
    """
    return any(worker.is_alive for worker in await engine.list_workers())


@app.command("retry")
def retry(
    context: typer.Context,
    job_ids: options.JobIds,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """
    Put failed, dead or cancelled jobs back to pending.

    All of them or none; their attempts count from 0 again.
    """
    jobs = with_engine(context, lambda engine: engine.retry(*job_ids))
    print_retried(jobs, render.form_of(as_json=as_json, quiet=quiet))


@app.command("run-now")
def run_now(
    context: typer.Context,
    job_ids: options.JobIds,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """
    Let jobs that wait for a time to come run as soon as a worker is free.

    Those are jobs for later, and failed ones that wait for their retry. All of them
    or none; their attempts stay as they are.
    """
    jobs = with_engine(context, lambda engine: engine.run_now(*job_ids))
    form = render.form_of(as_json=as_json, quiet=quiet)
    _print_jobs(jobs, form, lambda job: f"Due now: {job.id}")


@app.command("delete")
def delete(
    context: typer.Context,
    job_ids: options.JobIds,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """
    Delete jobs, with their attempts and outputs.

    One that runs must be cancelled first.
    """

    async def work(engine: "QueueEngine") -> None:
        async def delete_one(job_id: str) -> "Job":
            job = await engine.get(job_id)
            await engine.delete(job_id)
            return job

        done, errors = await _each(job_ids, delete_one)
        form = render.form_of(as_json=as_json, quiet=quiet)
        _print_done(done, errors, form, lambda job: f"Deleted job: {job.id}")

    with_engine(context, work)


@app.command("purge")
def purge(
    context: typer.Context,
    state: options.States = None,
    older_than: options.OlderThan = None,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """
    Delete all finished jobs, or all in the states given.

    Their attempts and outputs go with them. It asks first; where nobody is at a
    terminal to answer, --yes must be given.
    """
    states = state or [JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED]
    purge_states(context, states, older_than, yes=yes, as_json=as_json)


def purge_states(
    context: typer.Context,
    states: Sequence[JobState],
    older_than: timedelta | None,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete all jobs in some states, when a person has agreed."""
    age = older_than or timedelta()
    what = f"{_any_of(states)} jobs"

    if older_than:
        what += f" that have been so for {format_duration(older_than)}"

    purge_agreed(
        context,
        f"Delete all {what}, with their outputs?",
        lambda engine: engine.purge(states, older_than=age),
        yes=yes,
        as_json=as_json,
    )


def purge_agreed(
    context: typer.Context,
    question: str,
    purge: "Callable[[QueueEngine], Coroutine[Any, Any, int]]",
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete jobs when a person has agreed, and tell how many they were."""
    if not yes:
        _ask(question)

    count = with_engine(context, purge)

    if as_json:
        render.print_json({"purged": count})
    else:
        screen.write_line(f"Purged {count} {'job' if count == 1 else 'jobs'}")


def print_retried(jobs: "Sequence[Job]", form: render.Form) -> None:
    """Print jobs that were put back to pending."""
    _print_jobs(jobs, form, lambda job: f"Retrying job: {job.id}")


def _any_of(states: Sequence[JobState]) -> str:
    names = [state.value for state in dict.fromkeys(states)]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _ask(question: str) -> None:
    if not (screen.is_terminal(sys.stdin) and screen.is_terminal(sys.stderr)):
        raise UsageError("nobody is there to confirm it", hint="add --yes to delete without asking")

    if not screen.ask(question):
        raise CommandError("nothing was deleted")


async def _each(
    job_ids: Sequence[str], act: "Callable[[str], Awaitable[Job]]"
) -> "tuple[list[Job], list[QueueCtlError]]":
    """Do something to each job, and go on where it is not possible."""
    done: list[Job] = []
    errors: list[QueueCtlError] = []

    for job_id in job_ids:
        try:
            done.append(await act(job_id))
        except QueueCtlError as error:
            errors.append(error)

    return done, errors


def _print_done(
    done: "Sequence[Job]",
    errors: Sequence[QueueCtlError],
    form: render.Form,
    sentence: "Callable[[Job], str]",
) -> None:
    """Print what was done; raise what was not as one error, the first of which says how to exit."""
    if done or not errors:
        _print_jobs(done, form, sentence)

    if not errors:
        return

    problems = [explain(error) for error in errors]
    raise CommandError(
        "\n".join(problem.message for problem in problems),
        exit_code=ExitCode(problems[0].exit_code),
        hint=problems[0].hint,
    )


def _print_jobs(jobs: "Sequence[Job]", form: render.Form, sentence: "Callable[[Job], str]") -> None:
    match form:
        case render.Form.JSON:
            render.print_job_array(jobs)
        case render.Form.IDS:
            render.print_ids(jobs)
        case render.Form.TABLE:
            screen.write("".join(f"{sentence(job)}\n" for job in jobs))
