"""``logs``: what a job wrote."""

import codecs
import sys
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from queuectl import JobState, RunNotFoundError, escape_line, escape_text
from queuectl.cli import options, render, screen
from queuectl.cli.errors import CommandError
from queuectl.cli.session import tell_no_worker, with_engine

if TYPE_CHECKING:
    from queuectl import QueueEngine

_EXAMPLES: Final = """
\b
Examples:
  queuectl logs job1
  queuectl logs -f job1
  queuectl logs -n 20 --attempt 2 job1
"""

# The first guess at how many bytes hold the lines that are wanted.
_WINDOW: Final = 64 * 1024

app: typer.Typer = typer.Typer()


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
    shower = _Shower(job_id, raw=raw, as_json=as_json)
    wanted = _Wanted(job_id, attempt, lines)

    async def work(engine: "QueueEngine") -> None:
        if follow:
            async with screen.ended_with_reader():
                await _follow(engine, wanted, shower, context)
        else:
            await _print(engine, wanted, shower)

        shower.end()

    with_engine(context, work)


class _Wanted(NamedTuple):
    """
    What is to be shown.

    Attributes:
        job_id: Of which job.
        attempt: Of which run, None for the latest.
        lines: How many of the last lines, None for all.
    """

    job_id: str
    attempt: int | None
    lines: int | None


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
            screen.write(escape_text(self._decoder.decode(piece)))
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


async def _print(engine: "QueueEngine", wanted: _Wanted, shower: _Shower) -> None:
    """Print what there is now."""
    job = await engine.get(wanted.job_id)
    number = wanted.attempt or job.run_count

    if number == 0:
        screen.note(f"job {job.id} has not started: it is {job.state}")

    is_ended = number < job.run_count or job.state is not JobState.PROCESSING
    is_there = 0 < number <= job.run_count

    # Piece by piece: an output may be larger than the memory.
    if wanted.lines is None and is_there and is_ended and not shower.wants_whole:
        async for piece in engine.follow(job.id, attempt=number):
            shower.show(number, piece)
    else:
        shower.show_all(number, await _end_of(engine, wanted))


async def _follow(
    engine: "QueueEngine", wanted: _Wanted, shower: _Shower, context: typer.Context
) -> None:
    """Print what there is and what comes, until the job is finished."""
    job = await engine.get(wanted.job_id)
    number = wanted.attempt or max(job.run_count, 1)
    skipped = 0

    if job.run_count < number and not job.is_finished:
        screen.note(f"job {job.id} is {job.state}; waiting for it to start")

        if not engine.has_live_worker():
            tell_no_worker(context)
    elif wanted.lines is not None and number <= job.run_count:
        output = await engine.output_bytes(job.id, attempt=number)
        shower.show(number, _last_lines(output, wanted.lines))
        skipped = len(output)

    try:
        await _follow_runs(engine, wanted, number, shower, skipped=skipped)
    except RunNotFoundError as error:
        job = await engine.get(job.id)

        # The runs before this one were shown; there is no other.
        if wanted.attempt is None and job.run_count > 0:
            return

        what = "not run" if wanted.attempt is None else f"no attempt {wanted.attempt}"
        reason = f": {escape_line(job.reason)}" if job.reason else ""
        raise CommandError(
            f"job {job.id} has {what}, and never will: it is {job.state}{reason}"
        ) from error


async def _follow_runs(
    engine: "QueueEngine", wanted: _Wanted, number: int, shower: _Shower, *, skipped: int
) -> None:
    """Show one run after the other; begin behind what was shown already."""
    while True:
        async for piece in engine.follow(wanted.job_id, attempt=number):
            new = piece[skipped:]
            skipped -= len(piece) - len(new)

            if new:
                shower.show(number, new)

        if wanted.attempt is not None:
            return

        number += 1
        skipped = 0


async def _end_of(engine: "QueueEngine", wanted: _Wanted) -> bytes:
    """Return the output, or its last lines."""
    job_id, attempt, lines = wanted

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
