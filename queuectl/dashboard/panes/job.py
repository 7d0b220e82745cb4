"""One job: its life, its runs, its output."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from queuectl import JobState, OutputMissingError, RunNotFoundError
from queuectl.dashboard import words
from queuectl.dashboard.panes import params as asked
from queuectl.dashboard.panes.job_row import can, reason_of
from queuectl.dashboard.panes.life import Life, life, outcome_state
from queuectl.dashboard.text import readable, readable_line, readable_output
from queuectl.dashboard.words import Moment

if TYPE_CHECKING:
    from queuectl import Attempt, Job, QueueEngine

# What a page shows of an output: its end. The whole is a link.
_OUTPUT_BYTES: Final = 256 * 1024
_MOST_ATTEMPTS: Final = 50


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
        is_live: Whether more may come.
        has_ended: Whether the run is over, so that all of it can be fetched.
    """

    attempt: int | None
    text: str | None
    is_cut: bool
    is_live: bool
    has_ended: bool


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """
    One job.

    Attributes:
        id: As it is.
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
    raw = await _output(engine, job, chosen)
    return job_view(job, attempts, raw, now, chosen=chosen)


async def load_parts(engine: "QueueEngine", params: Mapping[str, str], now: datetime) -> JobView:
    """
    Look a job up without its output, which has a stream of its own.

    Raises:
        JobNotFoundError: There is none of this id.
        RunNotFoundError: It has no such run.
        InvalidValueError: What was asked for makes no sense.
    """
    job, attempts, chosen = await _look_up(engine, params)
    return job_view(job, attempts, b"", now, chosen=chosen)


async def _look_up(
    engine: "QueueEngine", params: Mapping[str, str]
) -> "tuple[Job, list[Attempt], int | None]":
    """Return a job, its runs, and the run whose output was asked for."""
    job = await engine.get(asked.text(params, "job") or "")
    attempts = await engine.attempts(job.id)
    chosen = asked.place(params, "attempt")

    if chosen is not None and all(run.number != chosen for run in attempts):
        raise RunNotFoundError(job.id, chosen)

    return job, attempts, chosen


async def _output(engine: "QueueEngine", job: "Job", chosen: int | None) -> bytes | None:
    """Return the end of an output, one byte more than is shown; None where it is gone."""
    if not job.run_count:
        return b""

    try:
        return await engine.output_bytes(job.id, attempt=chosen, last=_OUTPUT_BYTES + 1)
    except (OutputMissingError, RunNotFoundError):
        return None


def job_view(
    job: "Job",
    attempts: "Sequence[Attempt]",
    raw: bytes | None,
    now: datetime,
    *,
    chosen: int | None = None,
) -> JobView:
    """
    Return a job as it is shown.

    Args:
        job: The job.
        attempts: Its runs, the first one first.
        raw: The end of the output of one of them; None where it is gone.
        now: In UTC.
        chosen: The number of that run; None for the latest.
    """
    latest = attempts[-1].number if attempts else None
    shown = latest if chosen is None else chosen

    return JobView(
        id=job.id,
        state=job.state.value,
        command=readable(job.command),
        reason=reason_of(job),
        stuck=readable_line(job.stuck or ""),
        tags=tuple((tag, readable_line(tag)) for tag in job.tags),
        facts=_facts(job, now),
        life=life(job, attempts, now),
        attempts=tuple(
            _attempt(run, now, is_shown=run.number == shown)
            for run in reversed(attempts[-_MOST_ATTEMPTS:])
        ),
        hidden_attempts=max(len(attempts) - _MOST_ATTEMPTS, 0),
        output=_shown_output(
            raw,
            shown,
            is_live=not job.is_finished and shown == latest,
            has_ended=job.state is not JobState.PROCESSING or shown != latest,
        ),
        chosen=chosen,
        can=can(job, now),
    )


def _shown_output(
    raw: bytes | None, attempt: int | None, *, is_live: bool, has_ended: bool
) -> Output:
    text = None

    if raw is not None:
        text = readable_output(raw[-_OUTPUT_BYTES:].decode(errors="backslashreplace"))

    return Output(
        attempt=attempt,
        text=text,
        is_cut=raw is not None and len(raw) > _OUTPUT_BYTES,
        is_live=is_live,
        has_ended=has_ended,
    )


def _attempt(run: "Attempt", now: datetime, *, is_shown: bool) -> AttemptRow:
    took = now - run.started_at if run.duration is None else run.duration
    cpu_share = f"{run.cpu / took:.0%}".replace("%", " %") if run.cpu and took else ""

    return AttemptRow(
        number=run.number,
        state=outcome_state(run),
        outcome="running" if run.outcome is None else run.outcome.value.replace("_", " "),
        reason=readable_line(run.reason or ""),
        started=words.moment(run.started_at, now),
        duration=words.duration(took),
        cpu=words.duration(run.cpu),
        cpu_share=cpu_share,
        memory=words.size(run.max_rss_bytes),
        output=words.size(run.output_bytes) if run.finished_at else words.NOTHING,
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
