"""One job: its life, its runs, its output."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from queuectl import JobNotFoundError, JobState, OutputMissingError, RunNotFoundError, escape_text
from queuectl.dashboard import outputs, words
from queuectl.dashboard.panes import params as asked
from queuectl.dashboard.panes.job_row import can, reason_of
from queuectl.dashboard.panes.life import Life, life, outcome_state
from queuectl.dashboard.seen import SeenJob
from queuectl.dashboard.text import OutputText, readable_line
from queuectl.dashboard.words import Moment

if TYPE_CHECKING:
    from queuectl import Attempt, Job, QueueEngine

# What a page shows of an output: its end. The whole is a link. Of short lines many go into
# so many bytes, and each costs the browser; the script keeps to the same numbers.
_OUTPUT_BYTES: Final = 256 * 1024
_OUTPUT_LINES: Final = 2000
_MOST_ATTEMPTS: Final = 50

# What a run uses is measured as a whole, by the system.
_LATER: Final = "when it ends"


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    """
    A run as it is shown.

    Attributes:
        number: Its number.
        state: How it ended, as a state's name, for its colour and sign.
        outcome: How it ended, in words.
        reason: Why it did not succeed; empty where it did.
        started: When.
        duration: How long it took, or has taken.
        cpu: Processor time.
        cpu_share: Of the time it took; empty where it is not known.
        memory: The largest resident set.
        output: How much it wrote.
        worker: Who ran it.
        is_shown: Whether its output is on the page.
    """

    number: int
    state: str
    outcome: str
    reason: str
    started: Moment
    duration: str
    cpu: str
    cpu_share: str
    memory: str
    output: str
    worker: str
    is_shown: bool


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """
    A field of a job.

    Attributes:
        name: What it is.
        value: In words.
        note: What it means; empty where that is plain.
        moment: The time, where it is one.
    """

    name: str
    value: str = ""
    note: str = ""
    moment: Moment | None = None


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a run wrote.

    Attributes:
        attempt: The number of the run; None before the first.
        text: Readable; its end where it is long. None where its file is gone.
        is_cut: Whether something in front of it is left out.
        is_live: Whether it can be read, and more may come, of this run or the next.
        is_running: Whether the run goes on.
        link: What the link to more of it says: while the run goes on, only its end
            can be fetched.
    """

    attempt: int | None
    text: str | None
    is_cut: bool
    is_live: bool
    is_running: bool
    link: str


class Shown(msgspec.Struct, frozen=True):
    """
    The end of an output.

    Attributes:
        text: Readable.
        is_cut: Whether something in front of it is left out.
    """

    text: str = ""
    is_cut: bool = False


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """
    One job.

    Attributes:
        id: As it is.
        seq: Its number, by which a page that is left open knows it.
        seen: As which forms name it.
        state: Its name.
        command: With its lines.
        reason: Why it is where it is; empty where there is nothing to say.
        stuck: What keeps it; empty where nothing does.
        tags: All of them, as they are and readable.
        facts: Its fields.
        life: Its waits and runs, drawn; None before there is anything to draw.
        attempts: Its runs, the last first.
        hidden_attempts: How many earlier runs are left out.
        output: What a run wrote.
        chosen: The run whose output was asked for; None for the latest.
        can: What can be done with it.
    """

    id: str
    seq: int
    seen: str
    state: str
    command: str
    reason: str
    stuck: str
    tags: tuple[tuple[str, str], ...]
    facts: tuple[Fact, ...]
    life: Life
    attempts: tuple[AttemptRow, ...]
    hidden_attempts: int
    output: Output
    chosen: int | None
    can: frozenset[str]


async def load(engine: "QueueEngine", params: Mapping[str, str], now: datetime) -> JobView:
    """
    Look a job up.

    Raises:
        JobNotFoundError: There is none of this id.
        RunNotFoundError: It has no such run.
        InvalidValueError: What was asked for makes no sense.
    """
    job, attempts, chosen = await _look_up(engine, params)
    output = await _output(engine, job, chosen)
    written = await _written(engine, job)
    return job_view(job, attempts, output, now, chosen=chosen, written=written)


async def load_parts(engine: "QueueEngine", params: Mapping[str, str], now: datetime) -> JobView:
    """
    Look a job up without its output, which has a stream of its own.

    Raises:
        JobNotFoundError: There is none of this id.
        RunNotFoundError: It has no such run.
        InvalidValueError: What was asked for makes no sense.
    """
    job, attempts, chosen = await _look_up(engine, params)
    written = await _written(engine, job)
    return job_view(job, attempts, Shown(), now, chosen=chosen, written=written)


async def same_job(engine: "QueueEngine", params: Mapping[str, str]) -> "Job":
    """
    Look up the job that a page is about.

    Raises:
        JobNotFoundError: There is none of this id, or another than the page shows.
        InvalidValueError: What was asked for makes no sense.
    """
    job = await engine.get(asked.text(params, "job") or "")

    # An id may be taken again: what can be done with the page would be done to another command.
    if asked.number(params, "seq") not in {None, job.seq}:
        raise JobNotFoundError(job.id)

    return job


async def shown(raw: bytes) -> Shown:
    """Return what a page shows of an output: its end."""
    end = _last_lines(raw[-_OUTPUT_BYTES:])
    text = OutputText()

    async with aclosing(text.take(end)) as pieces:
        found = [words async for words in pieces]

    return Shown("".join([*found, text.rest()]), is_cut=len(end) < len(raw))


async def _look_up(
    engine: "QueueEngine", params: Mapping[str, str]
) -> "tuple[Job, list[Attempt], int | None]":
    """Return a job, its last runs, and the run whose output was asked for."""
    job = await same_job(engine, params)
    # There may be very many, and an open page is looked up again and again.
    attempts = await engine.attempts(job.id, last=_MOST_ATTEMPTS)
    chosen = asked.number(params, "attempt")

    if chosen is not None and not 1 <= chosen <= job.run_count:
        raise RunNotFoundError(job.id, chosen)

    return job, attempts, chosen


async def _output(engine: "QueueEngine", job: "Job", chosen: int | None) -> Shown | None:
    """Return the end of an output; None where it is gone."""
    if not job.run_count:
        return Shown()

    try:
        # One byte more than is shown tells whether that is all.
        return await shown(
            await engine.output_bytes(job.id, attempt=chosen, last=_OUTPUT_BYTES + 1)
        )
    except (OutputMissingError, RunNotFoundError):
        return None


async def _written(engine: "QueueEngine", job: "Job") -> int:
    """Return how much the run under way has written, 0 where none is."""
    return await engine.output_size(job.id) if job.state is JobState.PROCESSING else 0


def job_view(
    job: "Job",
    attempts: "Sequence[Attempt]",
    output: Shown | None,
    now: datetime,
    *,
    chosen: int | None = None,
    written: int = 0,
) -> JobView:
    """
    Return a job as it is shown.

    Args:
        job: The job.
        attempts: Its last runs, the first one first.
        output: What one of them wrote; None where it is gone.
        now: In UTC.
        chosen: The number of that run; None for the latest.
        written: How many bytes the run under way has written.
    """
    latest = attempts[-1].number if attempts else None
    number = latest if chosen is None else chosen
    last = attempts[-_MOST_ATTEMPTS:]

    return JobView(
        id=job.id,
        seq=job.seq,
        seen=str(SeenJob(id=job.id, seq=job.seq)),
        state=job.state.value,
        command=escape_text(job.command),
        reason=reason_of(job),
        stuck=readable_line(job.stuck or ""),
        tags=tuple((tag, readable_line(tag)) for tag in job.tags),
        facts=_facts(job, now),
        life=life(job, attempts, now),
        attempts=tuple(
            _attempt(run, now, written, is_shown=run.number == number) for run in reversed(last)
        ),
        # They are numbered from 1, without gaps.
        hidden_attempts=last[0].number - 1 if last else 0,
        output=_output_view(
            output,
            number,
            is_live=not job.is_finished and number == latest,
            written=written if job.state is JobState.PROCESSING and number == latest else None,
        ),
        chosen=chosen,
        can=can(job, now),
    )


def _output_view(
    output: Shown | None, attempt: int | None, *, is_live: bool, written: int | None
) -> Output:
    """
    Return an output as it is shown.

    Args:
        output: Its end; None where it is gone.
        attempt: The number of the run.
        is_live: Whether more may come, of this run or the next.
        written: How much of it there is; None where the run has ended.
    """
    return Output(
        attempt=attempt,
        text=None if output is None else output.text,
        is_cut=output is not None and output.is_cut,
        is_live=is_live and output is not None,
        is_running=written is not None,
        link=_link(written),
    )


def _link(written: int | None) -> str:
    if written is None:
        return "Whole output"

    return "Output so far" if written <= outputs.MOST_AT_ONCE else "Its last 16 MiB"


def _last_lines(raw: bytes) -> bytes:
    """Return no more than the last lines that a page shows."""
    # Behind the last line's end nothing begins yet.
    lines = raw.rsplit(b"\n", _OUTPUT_LINES + raw.endswith(b"\n"))
    is_cut = len(lines) > _OUTPUT_LINES + raw.endswith(b"\n")
    return b"\n".join(lines[1:] if is_cut else lines)


def _attempt(run: "Attempt", now: datetime, written: int, *, is_shown: bool) -> AttemptRow:
    has_ended = run.finished_at is not None
    took = now - run.started_at if run.duration is None else run.duration
    cpu_share = f"{run.cpu / took:.0%}".replace("%", " %") if run.cpu and took else ""

    return AttemptRow(
        number=run.number,
        state=outcome_state(run),
        outcome="running" if run.outcome is None else run.outcome.value.replace("_", " "),
        reason=readable_line(run.reason or ""),
        started=words.moment(run.started_at, now),
        duration=words.duration(took),
        cpu=words.duration(run.cpu) if has_ended else _LATER,
        cpu_share=cpu_share,
        memory=words.size(run.max_rss_bytes) if has_ended else _LATER,
        output=words.size(run.output_bytes if has_ended else written),
        worker=run.worker,
        is_shown=is_shown,
    )


def _facts(job: "Job", now: datetime) -> tuple[Fact, ...]:
    is_waiting = job.state in {JobState.PENDING, JobState.FAILED}
    times = (
        ("enqueued", job.created_at),
        ("runs" if is_waiting and job.run_at > now else "due", job.run_at),
        ("started", job.started_at),
        ("ended", None if job.state is JobState.PROCESSING else job.finished_at),
    )
    ended = job.signal or ("" if job.exit_code is None else str(job.exit_code))

    return (
        *(Fact(name=name, moment=words.moment(at, now)) for name, at in times if at is not None),
        Fact(name="took", value=words.duration(job.duration), note="the last run"),
        Fact(name="exit", value=ended or words.NOTHING, note="code or signal of the last run"),
        *_limits(job),
        *_where(job),
    )


def _limits(job: "Job") -> tuple[Fact, ...]:
    limit = "none" if job.timeout is None else words.duration(job.timeout)
    size = "no limit" if job.max_output_bytes is None else words.size(job.max_output_bytes)
    given_back = words.counted(job.interruptions, "time") if job.interruptions else ""

    return (
        Fact(
            name="attempts",
            value=f"{job.attempts} of {job.max_retries + 1}",
            note=f"given back {given_back}, not counted" if given_back else "",
        ),
        Fact(name="priority", value=str(job.priority), note="higher runs first"),
        Fact(name="timeout", value=limit),
        Fact(name="output limit", value=size),
        Fact(name="on a crash", value=job.on_crash.value, note=f"{job.crashes} so far"),
    )


def _where(job: "Job") -> tuple[Fact, ...]:
    names = readable_line(", ".join(sorted(job.env)))
    variables = (Fact(name="variables", value=names, note="values are not shown"),) if names else ()

    return (
        Fact(name="folder", value=readable_line(job.cwd)),
        *variables,
        Fact(name="worker", value=job.worker or words.NOTHING),
    )
