"""``logs``: what a job wrote."""

import codecs
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from queuectl import JobState, RunNotFoundError
from queuectl.cli import options, render, screen
from queuectl.cli.errors import CommandError
from queuectl.cli.session import with_engine

if TYPE_CHECKING:
    from queuectl import Job, QueueEngine

_EXAMPLES: Final = """
\b
Examples:
  queuectl logs job1
  queuectl logs -f job1
  queuectl logs -n 20 --attempt 2 job1
"""

# The first guess at how many bytes hold the lines that are wanted.
_WINDOW: Final = 64 * 1024

app = typer.Typer()


@app.command("logs", epilog=_EXAMPLES)
def show_logs(
    context: typer.Context,
    job_id: options.JobId,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Go on until the job is finished, through retries."),
    ] = False,
    attempt: Annotated[
        int | None,
        typer.Option("--attempt", min=1, metavar="N", help="Of the Nth run; else of the latest."),
    ] = None,
    lines: Annotated[
        int | None,
        typer.Option("--lines", "-n", min=0, metavar="LINES", help="Only the last lines."),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="At a terminal, let the output's own escape sequences act."),
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """
    Print what a job wrote to its standard output and error.

    With -f also before it has started. With --json an object, with both an
    object a line.
    """

    async def work(engine: "QueueEngine") -> None:
        shower = _Shower(job_id, raw=raw, as_json=as_json)

        if follow:
            await _follow(engine, job_id, attempt, lines, shower)
        else:
            await _print(engine, job_id, attempt, lines, shower)

        shower.end()

    with_engine(context, work)


class _Shower:
    """
    Shows pieces of an output as the caller wants them.

    Args:
        job_id: Whose output it is.
        raw: As they are, also at a terminal.
        as_json: As objects.
    """

    def __init__(self, job_id: str, *, raw: bool, as_json: bool) -> None:
        self._job_id = job_id
        self._as_json = as_json
        self._is_escaping = not raw and screen.is_terminal(sys.stdout)
        self._decoder = _new_decoder()

    def show(self, number: int, piece: bytes) -> None:
        """Show a piece of the output of a run."""
        if self._as_json:
            render.print_json_line(self._object(number, self._decoder.decode(piece)))
        elif self._is_escaping:
            screen.write(screen.escape(self._decoder.decode(piece)))
            screen.flush()
        else:
            screen.write_bytes(piece)

    def end(self) -> None:
        """Show what is left of an output that ends inside a character."""
        if self._is_escaping and not self._as_json:
            screen.write(self._decoder.decode(b"", final=True))
            screen.flush()

    def show_all(self, number: int, output: bytes) -> None:
        """Show the whole output of a run."""
        if self._as_json:
            render.print_json(self._object(number, output.decode(errors="backslashreplace")))
        else:
            self.show(number, output)

    @property
    def wants_whole(self) -> bool:
        """Whether an output must come in one piece."""
        return self._as_json

    def _object(self, number: int, text: str) -> dict[str, str | int]:
        return {"id": self._job_id, "attempt": number, "output": text}


def _new_decoder() -> codecs.IncrementalDecoder:
    # A character may be cut in two between one piece and the next.
    return codecs.getincrementaldecoder("utf-8")(errors="backslashreplace")


async def _print(
    engine: "QueueEngine", job_id: str, attempt: int | None, lines: int | None, shower: _Shower
) -> None:
    """Print what there is now."""
    job = await engine.get(job_id)
    number = attempt or job.run_count

    if number == 0:
        screen.note(f"job {job_id} has not started: it is {job.state}")

    is_ended = number < job.run_count or job.state is not JobState.PROCESSING

    # Piece by piece: an output may be larger than the memory.
    if lines is None and is_ended and 0 < number <= job.run_count and not shower.wants_whole:
        async for piece in engine.follow(job_id, attempt=number):
            shower.show(number, piece)
    else:
        shower.show_all(number, await _end_of(engine, job_id, attempt, lines))


async def _follow(
    engine: "QueueEngine", job_id: str, attempt: int | None, lines: int | None, shower: _Shower
) -> None:
    """Print what there is and what comes, until the job is finished."""
    job = await engine.get(job_id)
    number = attempt or max(job.run_count, 1)
    skipped = 0

    if job.run_count < number and not job.is_finished:
        screen.note(_waiting_for(job, has_worker=engine.has_live_worker()))
    elif lines is not None and number <= job.run_count:
        output = await engine.output_bytes(job_id, attempt=number)
        shower.show(number, _last_lines(output, lines))
        skipped = len(output)

    try:
        await _follow_runs(engine, job_id, number, only=attempt, shower=shower, skipped=skipped)
    except RunNotFoundError as error:
        job = await engine.get(job_id)

        if attempt is None and job.run_count > 0:
            return

        what = "not run" if attempt is None else f"no attempt {attempt}"
        reason = f": {screen.escape_line(job.reason)}" if job.reason else ""
        raise CommandError(
            f"job {job_id} has {what}, and never will: it is {job.state}{reason}"
        ) from error


async def _follow_runs(
    engine: "QueueEngine",
    job_id: str,
    number: int,
    *,
    only: int | None,
    shower: _Shower,
    skipped: int,
) -> None:
    while True:
        async for piece in engine.follow(job_id, attempt=number):
            new = piece[skipped:]
            skipped -= len(piece) - len(new)

            if new:
                shower.show(number, new)

        if only is not None:
            return

        number += 1


def _waiting_for(job: "Job", *, has_worker: bool) -> str:
    if has_worker:
        return f"job {job.id} is {job.state}; waiting for it to start"

    return f"job {job.id} is {job.state}, and no worker is alive; start one: queuectl worker start"


async def _end_of(
    engine: "QueueEngine", job_id: str, attempt: int | None, lines: int | None
) -> bytes:
    """Return the output, or its last lines."""
    if lines is None:
        return await engine.output_bytes(job_id, attempt=attempt)

    window = _WINDOW

    while True:
        end = await engine.output_bytes(job_id, attempt=attempt, last=window)

        if len(end) < window or end.count(b"\n") > lines:
            return _last_lines(end, lines)

        window *= 4


def _last_lines(output: bytes, lines: int) -> bytes:
    place = len(output) - output.endswith(b"\n")

    for _ in range(lines):
        place = output.rfind(b"\n", 0, place)

        if place < 0:
            return output

    return output[place + 1 :] if lines else b""
