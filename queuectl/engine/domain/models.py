"""Rows as frozen values: jobs, attempts, workers."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from queuectl.engine.domain.states import TERMINAL, JobState


class Discreet(msgspec.Struct, frozen=True):
    """What does not show its environment: people paste what they print, and it holds secrets."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Name what may be shown, to rich and to ``repr``."""
        return [(name, getattr(self, name)) for name in self.__struct_fields__ if name != "env"]

    def __repr__(self) -> str:
        """Write what may be shown."""
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"


class RunKey(NamedTuple):
    """
    What a run is known by.

    Attributes:
        seq: The sequence number of its job.
        run: Its own number: 1 for the job's first run.
    """

    seq: int
    run: int


class OnCrash(StrEnum):
    """What becomes of a run whose worker died while it goes on."""

    ADOPT = "adopt"
    KILL = "kill"
    DEAD = "dead"


class NewJob(Discreet, frozen=True, kw_only=True, gc=False):
    """
    A job as it will be stored: complete, nothing unsaid.

    Attributes:
        backoff_base: Seconds, or None to follow the config when it fails.
        timeout: None for never.
        max_output_bytes: None for no limit.
        run_at: Not before this time.
        is_due: Whether ``run_at`` had come when the job was enqueued.
    """

    id: str
    command: str
    priority: int
    max_retries: int
    backoff_base: float | None
    timeout: timedelta | None
    on_crash: OnCrash
    max_output_bytes: int | None
    run_at: datetime
    is_due: bool
    created_at: datetime
    cwd: str
    env: dict[str, str]
    tags: tuple[str, ...]


class Job(Discreet, frozen=True, kw_only=True, gc=False):
    """
    A job as last seen in the database; it does not change under the reader.

    Times are in UTC.

    Attributes:
        seq: Order of arrival, unique, never used again.
        id: The name it was given, or that was made for it.
        command: What ``/bin/sh`` runs.
        state: Where it is in its life.
        priority: Higher runs first.
        attempts: Runs charged so far; retrying by hand sets it to 0.
        run_count: Runs started so far, never set back. The number of the last
            attempt, and what ``QUEUECTL_ATTEMPT`` says inside it.
        interruptions: Runs that were ended or lost through no fault of the
            job, and not charged.
        crashes: Runs in a row that vanished with their worker, without an exit
            code. They are charged too.
        max_retries: Retries after the first run.
        backoff_base: Seconds, or None to follow the config.
        timeout: How long one run may take, None for ever.
        on_crash: What becomes of a run whose worker died while it goes on.
        max_output_bytes: How much one run may write, None for no limit.
        run_at: Not before this time; after a failure, the time of the retry.
        created_at: When it was enqueued.
        updated_at: When its state last changed.
        started_at: When the last run started.
        finished_at: When the last run ended.
        duration: How long the last run took.
        exit_code: Of the last run, None where a signal ended it.
        signal: The signal that ended the last run, as ``SIGKILL``.
        reason: Why the last run did not succeed: ``exit_code=1``, ``timeout``,
            ``signal=SIGKILL``; for a cancelled job the reason that was given.
        cancel_reason: Set while a running job is being cancelled.
        stuck: Set while what is left of a run cannot be ended, and so the job
            cannot go on: which processes, and why.
        tags: Words to find it by.
        cwd: The folder it runs in.
        env: Variables added to the worker's environment; kept out of ``repr``.
        worker: The worker that runs it or ran it last.
    """

    seq: int
    id: str
    command: str
    state: JobState
    priority: int
    attempts: int = 0
    run_count: int = 0
    interruptions: int = 0
    crashes: int = 0
    max_retries: int
    backoff_base: float | None
    timeout: timedelta | None
    on_crash: OnCrash
    max_output_bytes: int | None
    run_at: datetime
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration: timedelta | None = None
    exit_code: int | None = None
    signal: str | None = None
    reason: str | None = None
    cancel_reason: str | None = None
    stuck: str | None = None
    tags: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    worker: str | None = None

    @property
    def run_key(self) -> RunKey:
        """What its last run is known by."""
        return RunKey(self.seq, self.run_count)

    @property
    def is_finished(self) -> bool:
        """Whether only a person's hand can move it on: completed, dead or cancelled."""
        return self.state in TERMINAL

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Name what fits into a line."""
        return [("id", self.id), ("state", self.state.value), ("command", self.command)]


class OutcomeKind(StrEnum):
    """How one attempt ended; the values are what the database holds."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    LOST = "lost"
    SPAWN_FAILED = "spawn_failed"


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """
    One run of a job, as kept.

    Attributes:
        job_id: The job.
        number: 1 for the first run; rises by one with every start.
        worker: The worker that ran it.
        started_at: In UTC.
        finished_at: In UTC; None while it runs.
        outcome: How it ended; None while it runs.
        exit_code: None where a signal ended it, or it did not start.
        signal: The signal that ended it, as ``SIGKILL``.
        reason: Why it did not succeed, None where it did.
        cpu: Processor time of the whole process tree, user and system; None
            where it could not be read.
        max_rss_bytes: The largest resident set of one of its processes; None
            where it is not above the engine's own, which the system counts in,
            so that it cannot be told.
        output_bytes: How much it wrote to its standard output and error.
    """

    job_id: str
    number: int
    worker: str
    started_at: datetime
    finished_at: datetime | None
    outcome: OutcomeKind | None
    exit_code: int | None
    signal: str | None
    reason: str | None
    cpu: timedelta | None
    max_rss_bytes: int | None
    output_bytes: int

    @property
    def duration(self) -> timedelta | None:
        """How long it took, or None while it runs."""
        return self.finished_at - self.started_at if self.finished_at else None


class WorkerState(StrEnum):
    """What a worker is doing."""

    RUNNING = "running"
    DRAINING = "draining"
    STOPPING = "stopping"
    UNRESPONSIVE = "unresponsive"
    DEAD = "dead"


class StopOrder(StrEnum):
    """How a worker was asked to stop; the values are what the database holds."""

    DRAIN = "drain"
    NOW = "now"


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """
    A worker as registered in the database.

    Attributes:
        id: As ``w12``; never used again.
        state: ``dead`` where its process is gone and left its jobs behind;
            ``unresponsive`` where it is there, and does not answer.
        host: The machine's name.
        pid: Its process; a hint, not a proof.
        concurrency: How many jobs it runs at once.
        busy: How many it runs now.
        started_at: In UTC.
    """

    id: str
    state: WorkerState
    host: str
    pid: int
    concurrency: int
    busy: int
    started_at: datetime

    @property
    def is_alive(self) -> bool:
        """Whether it holds its lock."""
        return self.state is not WorkerState.DEAD


def worker_name(number: int) -> str:
    """Return the id by which people know a worker: ``w12``."""
    return f"w{number}"


def worker_number(name: str) -> int:
    """Return what `worker_name` was made from."""
    return int(name.removeprefix("w"))
