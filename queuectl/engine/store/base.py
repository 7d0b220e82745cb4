"""
The contract of a store.

A method is one transaction, is given the time, and neither logs nor sleeps nor
retries by policy. A method that changes something returns after its commit is
on the disk. Where a call is cancelled, its change may still be made.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Flag, auto
from typing import TYPE_CHECKING, Protocol

import msgspec

from queuectl.engine.domain.activity import Activity, Point, Totals
from queuectl.engine.domain.events import Event
from queuectl.engine.domain.filters import JobFilter
from queuectl.engine.domain.lifecycle import Transition
from queuectl.engine.domain.looks import Cause, DatabaseInfo, JobPage
from queuectl.engine.domain.models import Attempt, Job, NewJob, OutcomeKind, RunKey, StopOrder
from queuectl.engine.domain.settings import Settings
from queuectl.engine.domain.states import JobState

if TYPE_CHECKING:
    from queuectl.engine.domain.webhooks import Webhook
    from queuectl.engine.store.outbox import Outbox

# Outputs up to this size are kept in the row, larger ones in a file of their own.
INLINE_OUTPUT_BYTES = 16 * 1024


class Change(Flag):
    """What a commit changed, as a hint to whoever waits."""

    STATE = auto()
    WORK = auto()
    ORDERS = auto()
    WEBHOOKS = auto()


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a claim brought.

    Attributes:
        jobs: Now in state processing, the one to run first in front.
        next_due: When the next job that is not due yet will be; None where
            there is none.
    """

    jobs: list[Job]
    next_due: datetime | None


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """
    A finished run, as a worker hands it in.

    Attributes:
        started_at: When its process started.
        finished_at: When its process ended.
        outcome: How it ended.
        exit_code: None where a signal ended it, or it did not start.
        signal: The signal that ended it.
        reason: Why it did not succeed.
        cpu: Processor time, None where unknown.
        max_rss_bytes: Peak resident set, None where unknown.
        output_bytes: Size of its output.
        output: The output itself, where it is at most `INLINE_OUTPUT_BYTES`
            long; None where it is kept in a file.
    """

    started_at: datetime
    finished_at: datetime
    outcome: OutcomeKind
    exit_code: int | None
    signal: str | None
    reason: str | None
    cpu: timedelta | None
    max_rss_bytes: int | None
    output_bytes: int
    output: bytes | None


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True):
    """
    A worker's registration.

    Attributes:
        number: Never used again.
        token: Names its folder.
        pid_namespace: In which its process number means something.
        lock_file: Device and inode of its lock, as `Home.identity` says; None where
            that is not known.
        pipe: The wake-up pipe that it reads, None where that is not known.
        can_restart: Whether its process can replace itself.
        stop: How it was asked to stop, None where it was not.
        restart: Whether it was asked to leave its runs to a successor.
        busy: Jobs in state processing in its name.
    """

    number: int
    token: str
    host: str
    pid: int
    boot_id: str
    pid_namespace: str
    lock_file: str | None
    pipe: str | None
    can_restart: bool
    concurrency: int
    started_at: datetime
    stop: StopOrder | None
    restart: bool
    busy: int


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a worker was asked to do.

    Attributes:
        is_registered: Whether it is on the list still.
        stop: How to stop, None where it goes on.
        restart: Whether to leave its runs to a successor.
        cancels: By run, the reason given.
    """

    is_registered: bool
    stop: StopOrder | None
    restart: bool
    cancels: dict[RunKey, str]


class StoreStats(msgspec.Struct, frozen=True, kw_only=True):
    """The store's share of the statistics; see `QueueStats`."""

    counts: dict[JobState, int]
    avg_duration: timedelta | None
    oldest_pending: timedelta | None
    activity: tuple[Activity, ...]


class Purged(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was deleted.

    Attributes:
        jobs: How many.
        large_runs: Those whose outputs are files, for the caller to remove.
        after: Behind which job to go on; None where nothing is left to be deleted.
    """

    jobs: int
    large_runs: list[RunKey]
    after: int | None = None


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was put back to pending.

    Attributes:
        jobs: How many.
        after: Behind which job to go on; None where nothing is left to be put back.
    """

    jobs: int
    after: int | None = None


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a check of the database found.

    Attributes:
        schema_version: Of the file.
        driver: Name and version of the database library.
        problems: Sentences; empty where all is well.
    """

    schema_version: int
    driver: str
    problems: list[str]


class JobReader(Protocol):
    """Where jobs can be looked at."""

    async def get(self, job_id: str) -> Job:
        """
        Return a job.

        Raises:
            JobNotFoundError: There is none.
        """

    async def get_many(self, job_ids: Sequence[str]) -> list[Job]:
        """
        Return jobs, in the order of the ids.

        Raises:
            JobNotFoundError: One is missing.
        """

    async def unfinished(self, job_ids: Sequence[str]) -> set[str]:
        """Return those of the ids whose jobs are not completed, dead or cancelled."""

    async def list_jobs(self, wanted: JobFilter, *, after: int, limit: int) -> list[Job]:
        """Return jobs in order of arrival, from behind sequence number ``after``."""

    async def last_jobs(self, wanted: JobFilter, *, limit: int) -> list[Job]:
        """Return the jobs that arrived last, in order of arrival."""

    async def page(self, wanted: JobFilter, *, before: int | None, limit: int) -> JobPage:
        """
        Return a page of jobs, those that arrived last in front.

        The job whose id is the text that is searched for comes before all of them,
        however far behind it is.

        Args:
            wanted: Which.
            before: The ``older`` of the page before, None for the first.
            limit: How many at the most; `MOST_READ` are read.
        """

    async def page_of_scheduled(
        self, wanted: JobFilter, *, before: int | None, limit: int, now: datetime
    ) -> JobPage:
        """
        Return a page of jobs whose time is still to come, those that are due next in front.

        No job is left out between two pages. Where the job that the page before ended
        with was deleted or moved meanwhile, the page may begin in front again.
        """

    async def causes(self, *, limit: int) -> list[Cause]:
        """Return the reasons of dead jobs, the most frequent one in front."""

    async def runs(
        self, job_id: str, *, until: int | None = None, last: int | None = None
    ) -> list[Attempt]:
        """
        Return finished runs of a job, the first in front.

        Args:
            job_id: The job.
            until: Only up to the run of this number.
            last: Only so many of them, the last ones.
        """

    async def output(self, seq: int, run: int) -> bytes | None:
        """Return the output kept in the row of a run, None where there is none."""

    async def workers(self) -> list[WorkerRow]:
        """Return the registered workers, by number."""

    async def orders(self, worker: int) -> Orders:
        """Return what a worker was asked to do."""

    async def held_jobs(self, worker: int) -> list[Job]:
        """Return the jobs in state processing in a worker's name."""

    async def events(self, *, since: int, limit: int, job_id: str | None = None) -> list[Event]:
        """
        Return events behind a sequence number, in order, of all jobs or of one.

        Raises:
            EventsPrunedError: The number is above 0, and some behind it are not
                kept any more.
            InvalidValueError: No event has had that number yet.
        """

    async def last_events(self, *, limit: int, job_id: str | None = None) -> list[Event]:
        """Return the last events, in order, of all jobs or of one."""

    async def last_event(self) -> int:
        """Return the sequence number of the last event, 0 before the first."""

    async def stats(self, *, now: datetime, tag: str | None = None) -> StoreStats:
        """
        Return the statistics.

        Args:
            now: The time.
            tag: Only of jobs with this tag: as many are read as there are.
        """

    async def history(self, *, now: datetime, step: timedelta, steps: int) -> list[Point]:
        """
        Return what happened in each of the last steps, the oldest first.

        Args:
            now: In the last step, which has not ended yet.
            step: Whole minutes, or whole quarters of an hour where all of them are
                longer than two hours; steps begin where their number since 1970 is whole.
            steps: How many, of one day at the most.
        """

    async def totals(self) -> Totals:
        """Return what was counted since counting began."""

    async def needs_pruning(self, *, now: datetime, retention: timedelta | None) -> bool:
        """Whether there is anything for `JobStore.prune` to do."""

    async def is_settled(self, *, now: datetime) -> bool:
        """Whether nothing is due, running or waiting for a retry."""

    async def settings(self) -> Settings:
        """Return the config."""

    async def check(self) -> CheckReport:
        """Read the whole database and report what is wrong with it."""

    async def describe(self, *, outputs_bytes: int) -> DatabaseInfo:
        """Return how large the database is; what is in files beside it, the caller knows."""


class InspectedStore(JobReader, Protocol):
    """Where a database can be looked at whose schema may be older, and whose files are damaged."""

    @property
    def schema_version(self) -> int:
        """How many migrations it has had."""

    @property
    def is_current(self) -> bool:
        """Whether its schema is the one that the other methods need."""

    async def large_outputs(self) -> set[RunKey]:
        """Return the finished runs whose output is a file."""

    async def webhooks(self) -> "list[Webhook]":
        """Return all webhooks, in the order in which they were added."""

    async def next_delivery(self) -> datetime | None:
        """Return when the first message to a webhook is or was due; None without one."""

    async def migration_problems(self) -> list[str]:
        """Return what is wrong with the migrations that were applied."""

    async def is_locked(self) -> bool:
        """Whether another program keeps changes from beginning, for two seconds and more."""


class JobStore(JobReader, Protocol):
    """Where jobs are kept."""

    @property
    def outbox(self) -> "Outbox":
        """Who is told what becomes of them."""

    def on_commit(self, listener: Callable[[Change], None]) -> None:
        """Call this on the event loop after each commit of ours that changed something."""

    async def close(self) -> None:
        """Finish what was asked for, and close every connection."""

    async def insert(
        self, make: "Callable[[Settings], Sequence[NewJob]]", *, now: datetime
    ) -> list[Job]:
        """
        Add jobs, all or none.

        Args:
            make: Makes the jobs from the config as it stands in the same
                transaction. It may be called twice.
            now: When.

        Raises:
            DuplicateJobError: An id exists, or stands twice; the error names
                every one.
        """

    async def insert_claimed(
        self, make: "Callable[[Settings], NewJob]", *, worker: int, now: datetime
    ) -> Job:
        """Add a job and claim it in one transaction, so that nobody else can."""

    async def claim(
        self, worker: int, limit: int, *, now: datetime, can_wait: bool = False
    ) -> Claim:
        """
        Take up to ``limit`` due jobs: higher priority first, then order of arrival.

        Args:
            worker: In whose name.
            limit: How many at the most.
            now: The time by which they are due.
            can_wait: Whether a few milliseconds more do not matter.
        """

    async def finish(
        self, job: Job, transition: Transition, run: RunRecord, *, now: datetime
    ) -> Transition | None:
        """
        Record a finished run and move its job on.

        Where the job was asked to be cancelled meanwhile and did not complete,
        it is cancelled instead.

        Returns:
            The move that was made; None where the claim is not ours any more, and
            nothing changes.
        """

    async def release(
        self,
        jobs: Sequence[Job],
        *,
        now: datetime,
        interrupted: bool = False,
        cancel_for: str | None = None,
    ) -> int:
        """
        Give back claimed jobs that were not started: pending, and not charged.

        Args:
            jobs: As claimed.
            now: When.
            interrupted: Whether to count that, as for a worker that died.
            cancel_for: Why they are cancelled at once; None to let others have them.

        Returns:
            How many were still ours.
        """

    async def adopt(self, job: Job, worker: int, *, now: datetime) -> Job | None:
        """
        Move a run from the worker that has it to another.

        Returns:
            The job as it is now, None where the run is over or another's.
        """

    async def mark_stuck(self, job: Job, words: str, *, now: datetime) -> bool:
        """Say why a run is neither over nor adopted; return whether that is news."""

    async def cancel(
        self, job_id: str, reason: str | None, *, now: datetime, seq: int | None = None
    ) -> Job:
        """
        Cancel a waiting job, or mark a running one for its worker to cancel.

        Raises:
            JobNotFoundError: There is none.
            JobStateError: It is finished, or has another number.
        """

    async def withdraw(self, job: Job, reason: str) -> None:
        """
        Mark a run for its worker to cancel, where it is not over; whoever settles it does too.

        Args:
            job: As claimed.
            reason: Why.
        """

    async def retry(
        self,
        job_ids: Sequence[str],
        allowed: frozenset[JobState],
        *,
        now: datetime,
        seqs: Mapping[str, int] | None = None,
    ) -> list[Job]:
        """
        Put jobs back to pending with no attempts charged, all or none.

        Raises:
            JobNotFoundError: One is missing.
            JobStateError: One is in a state that is not allowed, or has not the number that
                is said of its id.
        """

    async def retry_dead(
        self,
        *,
        now: datetime,
        reason: str | None = None,
        until: datetime | None = None,
        after: int = 0,
    ) -> Retried:
        """
        Put some of the dead jobs back to pending, of all or of those of a reason.

        Args:
            now: The time.
            reason: Empty for those without one, None for all.
            until: Only those that died then or before, to the millisecond; None for all.
            after: The one of the step before. A job that dies again is not behind it.
        """

    async def run_now(
        self, job_ids: Sequence[str], *, now: datetime, seqs: Mapping[str, int] | None = None
    ) -> list[Job]:
        """
        Let jobs that wait for a time to come be due now, all or none.

        Raises:
            JobNotFoundError: One is missing.
            JobStateError: One does not wait for a time to come, or has not the number that
                is said of its id.
        """

    async def delete(
        self, job_id: str, *, updated_at: datetime | None = None, seq: int | None = None
    ) -> Purged:
        """
        Delete a job with its runs and outputs.

        Args:
            job_id: The job.
            updated_at: Only where it was last changed at just this time.
            seq: Only where it has this number.

        Raises:
            JobNotFoundError: There is none.
            JobStateError: It is running, or has changed since.
        """

    async def purge(self, states: Sequence[JobState], *, until: datetime, after: int = 0) -> Purged:
        """
        Delete some of the jobs that have been in one of these states for long.

        Args:
            states: Which; those that run are left out.
            until: Since then or longer.
            after: The one of the step before.
        """

    async def purge_dead(
        self, *, reason: str | None = None, until: datetime | None = None, after: int = 0
    ) -> Purged:
        """Delete some of the dead jobs; the arguments are those of `retry_dead`."""

    async def prune(self, *, now: datetime, retention: timedelta | None) -> bool:
        """
        Take some of the events and figures that are too old away, a little at a time.

        The totals keep what was counted. Nobody is told.

        Args:
            now: The time.
            retention: How long events are kept, None for ever.

        Returns:
            Whether there may be more.
        """

    async def register_worker(
        self,
        *,
        token: str,
        host: str,
        pid: int,
        boot_id: str,
        concurrency: int,
        now: datetime,
        pid_namespace: str,
        lock_file: str | None,
        pipe: str | None,
        can_restart: bool,
    ) -> int:
        """Add a worker that holds the lock in the folder of this token; return its number."""

    async def unregister_worker(self, worker: int) -> bool:
        """Remove a worker that holds no jobs; return whether it is gone."""

    async def ask_to_stop(self, workers: Sequence[int], *, stop: StopOrder) -> None:
        """Ask workers to stop; who was asked to stop now is not asked for less."""

    async def ask_to_restart(self, workers: Sequence[int]) -> None:
        """Ask workers to leave their runs to a successor, and to make room for it."""

    async def write_setting(self, key: str, value: str) -> None:
        """Set a config key."""

    async def delete_setting(self, key: str) -> None:
        """Set a config key back to its default."""

    async def backup(self, target: str) -> None:
        """
        Write a copy of the database as it stands to a new file.

        Raises:
            StoreError: The file exists, or cannot be written.
        """

    async def vacuum(self) -> None:
        """Give unused space back to the file system."""
