"""``run``: enqueue a command, run it here, and exit as it does."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import anyio
import typer

from queuectl.cli import log, options, render, screen
from queuectl.cli.errors import CommandError, ExitCode, UsageError
from queuectl.cli.session import session_of, with_engine
from queuectl.cli.signals import stop_signals

if TYPE_CHECKING:
    from queuectl import Attempt, Job, JobSpec, QueueEngine

_EXAMPLES: Final = """
\b
Examples:
  queuectl run -- make test
  queuectl run --timeout 10m --tag nightly -- ./backup.sh /home
  queuectl run -- sh -c 'du -s * | sort -n'

\b
Exit codes beside the command's own:
  124 it timed out, 126 it could not be started, 128+n a signal n ended it
"""

_TIMED_OUT: Final = 124
_NOT_STARTED: Final = 126
_BY_SIGNAL: Final = 128

app: typer.Typer = typer.Typer()


@app.command(
    "run",
    cls=options.ArgvCommand,
    epilog=_EXAMPLES,
    # What follows the first word belongs to the command, with or without --.
    context_settings={"allow_interspersed_args": False},
)
def run(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- ARGV...", help="A program and its arguments."),
    ] = None,
    id: options.Id = None,
    timeout: options.Timeout = None,
    on_crash: options.OnCrash = None,
    max_output_bytes: options.MaxOutputBytes = None,
    cwd: options.Cwd = None,
    env: options.Env = None,
    tag: options.Tags = None,
    as_json: options.AsJson = False,
) -> None:
    """
    Run a command here and now as a job, and exit as it does.

    Its output is shown and kept; where nobody reads it any more, it goes on all the
    same. It is not retried; where its worker is stopped, it is cancelled. Ctrl-C
    cancels it, and so do TERM and HUP. With --json the output goes to stderr, and
    the job, when it has ended, to stdout.
    """
    from queuectl import JobSpec

    argv = _words(words or [], options.argv_of(context))
    spec = JobSpec(
        command=options.join_argv(argv),
        id=id,
        max_retries=0,
        timeout=timeout,
        on_crash=on_crash,
        max_output_bytes=max_output_bytes,
        cwd=cwd,
        env=options.parse_env(env),
        tags=tuple(tag or ()),
    )
    log.show_log(is_debugging=session_of(context).is_debugging, is_quiet=True)
    job, code = with_engine(context, lambda engine: _run(engine, spec, as_json=as_json))

    if as_json:
        render.print_job(job)

    raise typer.Exit(code)


def _words(words: list[str], behind: list[str] | None) -> list[str]:
    # A -- behind the first word is the command's own.
    argv = [*words, "--", *behind] if words and behind is not None else [*words, *(behind or [])]

    if not argv:
        raise UsageError("no command was given", hint="for example: queuectl run -- make test")

    return argv


async def _run(engine: "QueueEngine", spec: "JobSpec", *, as_json: bool) -> "tuple[Job, int]":
    """Run the job, and return it with the exit code that says how it ended."""
    from queuectl import JobState

    with _catching_signals() as signals:
        async with engine.run_here(spec) as started, anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_on_signal, engine, started.id, signals)
            await _show_output(engine, started, as_json=as_json)
            tasks.cancel_scope.cancel()

        job = await engine.get(started.id)

        if job.state is JobState.CANCELLED and not signals.empty():
            return job, _BY_SIGNAL + signals.get_nowait()

    return job, await _exit_code(engine, job)


async def _show_output(engine: "QueueEngine", job: "Job", *, as_json: bool) -> None:
    from queuectl import RunNotFoundError

    show = screen.note_bytes if as_json else screen.write_bytes

    try:
        async for chunk in engine.follow(job.id, attempt=job.run_count):
            show(chunk)
    except (screen.OutputClosedError, CommandError) as error:
        # Nobody reads any more, or the disk is full. The job ends by itself all
        # the same, and its output is kept.
        screen.abandon()

        if isinstance(error, CommandError):
            screen.note(f"warning: {error}")

        await engine.wait(job.id)
    except RunNotFoundError:
        # Its worker was stopped before it came to start it.
        return


async def _cancel_on_signal(
    engine: "QueueEngine", job_id: str, signals: "asyncio.Queue[int]"
) -> None:
    from queuectl import JobStateError

    number = await signals.get()
    signals.put_nowait(number)
    screen.note(f"cancelling job {job_id}")

    try:
        await engine.cancel(job_id, reason=signal.Signals(number).name)
    except JobStateError:
        # It has just ended by itself.
        return


async def _exit_code(engine: "QueueEngine", job: "Job") -> int:
    """Say in a number, and where it needs words in words, how the job ended."""
    attempts = await engine.attempts(job.id)

    if not attempts:
        screen.note(f"error: job {job.id} is {job.state}: {job.reason}")
        return _NOT_STARTED

    last = attempts[-1]
    code = _code_of(last)

    if code is None:
        raise CommandError(f"job {job.id} is {job.state}: {last.reason}")

    if last.reason not in {None, f"exit_code={code}"}:
        screen.note(f"error: job {job.id}: {last.reason}")

    return code


def _code_of(attempt: "Attempt") -> int | None:
    """Return the exit code that tells how an attempt ended, None where none does."""
    from queuectl import OutcomeKind

    has_ended = attempt.exit_code is not None or attempt.signal is not None

    match attempt.outcome:
        case OutcomeKind.COMPLETED:
            return 0
        case OutcomeKind.FAILED:
            return _code_of_failure(attempt)
        case OutcomeKind.TIMED_OUT:
            return _TIMED_OUT
        case OutcomeKind.CANCELLED | OutcomeKind.INTERRUPTED if has_ended:
            # By others than who started us, as TERM to us would have ended it.
            return _BY_SIGNAL + signal.SIGTERM
        case OutcomeKind.INTERRUPTED | OutcomeKind.SPAWN_FAILED:
            return _NOT_STARTED
        case _:
            return None


def _code_of_failure(attempt: "Attempt") -> int:
    if attempt.signal is None:
        # One that wrote too much may have ended well.
        return attempt.exit_code or ExitCode.FAILURE

    number = signal.Signals.__members__.get(attempt.signal)
    # Real-time signals have no names but their numbers'.
    return _BY_SIGNAL + (int(attempt.signal.removeprefix("SIG")) if number is None else number)


@contextmanager
def _catching_signals() -> "Iterator[asyncio.Queue[int]]":
    """Put signals into a queue inside the context, instead of being ended by them."""
    loop = asyncio.get_running_loop()
    came: asyncio.Queue[int] = asyncio.Queue()
    handled = stop_signals()

    for number in handled:
        loop.add_signal_handler(number, came.put_nowait, number)

    try:
        yield came
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
