"""The facade: an engine over one database."""

import builtins
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio

from queuectl.engine.config import Config
from queuectl.engine.dlq import DeadLetterQueue
from queuectl.engine.domain.durations import check_time, seconds_of
from queuectl.engine.domain.models import Job, NewJob, OnCrash, WorkerInfo
from queuectl.engine.domain.settings import Settings
from queuectl.engine.domain.spec import JobSpec, resolve
from queuectl.engine.domain.spec_rules import check_on_crash, check_reason, duration_of
from queuectl.engine.domain.states import TERMINAL, JobState, parse_state
from queuectl.engine.errors import InvalidJobError, InvalidValueError, QueueCtlError
from queuectl.engine.figures import EngineFigures
from queuectl.engine.lookups import EngineLookups
from queuectl.engine.runtime.clock import Clock, SystemClock
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.ids import IdMaker
from queuectl.engine.runtime.paths import current_folder, real_path
from queuectl.engine.runtime.plans import Stop, WorkerPlan
from queuectl.engine.runtime.steps import check_number, in_steps
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.store.base import Purged

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from queuectl.engine.runtime.runner import Runner
    from queuectl.engine.runtime.tracing import Tracing
    from queuectl.engine.runtime.worker import Worker
    from queuectl.engine.webhooks import Webhooks

_RETRYABLE: Final = frozenset({JobState.FAILED, JobState.DEAD, JobState.CANCELLED})


class QueueEngine(EngineLookups, EngineFigures):
    """
    A durable queue for shell commands in one database.

    Use it as an asynchronous context. Leaving the context ends the workers
    that it started, with every process reaped and every file closed. Any
    number of engines, in any number of processes of one machine, may use the
    same database.

    Args:
        database: The SQLite file, made where there is none; else
            ``QUEUECTL_DB``, else ``~/.queuectl/queue.db``.
        kill_grace: Seconds between TERM and KILL where a job must be ended.
        clock: For tests; see ``queuectl.engine.testing``.
        runner: For tests; see ``queuectl.engine.testing``.
        tracer: Traces each attempt as a span; jobs that are added carry the trace
            context of whoever adds them. From the package ``opentelemetry-api``.
    """

    def __init__(
        self,
        database: str | os.PathLike[str] | None = None,
        *,
        kill_grace: float = 5.0,
        clock: Clock | None = None,
        runner: "Runner | None" = None,
        tracer: "Tracer | None" = None,
    ) -> None:
        path = real_path(database)
        super().__init__(
            path,
            makes_folder=database is None and "QUEUECTL_DB" not in os.environ,
            clock=clock or SystemClock(),
            runner=runner,
            grace=kill_grace,
            tracing=None if tracer is None else _make_tracing(tracer, path),
        )
        self._ids = IdMaker()
        self.dlq: Final = DeadLetterQueue(lambda: self._store, self._clock, self._remove_files)
        self.config: Final = Config(lambda: self._store)

    @cached_property
    def webhooks(self) -> "Webhooks":
        """Who is told what becomes of jobs."""
        # Few programs ask for it, and all are to start fast.
        from queuectl.engine.webhooks import Webhooks

        return Webhooks(lambda: self._store, self._clock)

    async def enqueue(
        self,
        command: str,
        *,
        id: str | None = None,
        priority: int | None = None,
        max_retries: int | None = None,
        backoff_base: float | None = None,
        timeout: float | timedelta | None = None,
        on_crash: OnCrash | str | None = None,
        max_output_bytes: int | None = None,
        run_at: datetime | None = None,
        delay: float | timedelta | None = None,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        tags: Iterable[str] = (),
    ) -> Job:
        """
        Add a job; when this returns, it is on the disk.

        Args:
            command: What ``/bin/sh`` is to run.
            id: A name of your own, unique; else one is made that sorts by time.
            priority: Higher runs first; else the config's, 100.
            max_retries: Retries after the first run; else the config's, 3.
            backoff_base: The wait after run n is this to the power of n, in
                seconds; else the config's, 2.
            timeout: Seconds that one run may take, 0 for ever; else the
                config's, 3600.
            on_crash: What becomes of a run whose worker died while it goes
                on: ``adopt`` it, ``kill`` it and try again, or kill it and
                call the job ``dead``; else the config's, ``adopt``.
            max_output_bytes: How much one run may write before it is ended,
                0 for no limit; else the config's, 1 GiB.
            run_at: Not before this time; local where it has no zone.
            delay: Not before this many seconds from now.
            cwd: The folder to run in; else the current one.
            env: Variables to add to the worker's environment.
            tags: Words to find it by.

        Raises:
            InvalidJobError: A value breaks a rule; nothing was added.
            DuplicateJobError: The id exists.
            StoreError: The database cannot be used.
        """
        spec = JobSpec(
            command=command,
            id=id,
            priority=priority,
            max_retries=max_retries,
            backoff_base=backoff_base,
            timeout=duration_of("timeout", timeout),
            on_crash=None if on_crash is None else check_on_crash(on_crash),
            max_output_bytes=max_output_bytes,
            run_at=run_at,
            delay=duration_of("delay", delay),
            cwd=None if cwd is None else os.fspath(cwd),
            env=env if env is None else dict(env),
            tags=(tags,) if isinstance(tags, str) else tuple(tags),
        )
        return (await self.enqueue_many([spec]))[0]

    async def enqueue_many(self, jobs: Iterable[JobSpec | str]) -> builtins.list[Job]:
        """
        Add jobs in one transaction: all of them, or none.

        Args:
            jobs: What to add; a string is a command.

        Raises:
            InvalidJobError: One breaks a rule.
            DuplicateJobError: An id exists, or stands twice.
            StoreError: The database cannot be used.
        """
        specs = [JobSpec(command=job) if isinstance(job, str) else job for job in jobs]
        now = self._clock.now()
        return await self._store.insert(partial(self._resolve, specs, now, self._trace()), now=now)

    async def wait(self, job_id: str, *, timeout: float | timedelta | None = None) -> Job:
        """
        Wait until a job is completed, dead or cancelled, and return it.

        Args:
            job_id: The job.
            timeout: Seconds to wait at the most.

        Raises:
            JobNotFoundError: There is none.
            WaitTimeoutError: It is not finished yet.
        """
        return (await self._waiting.finish_of([job_id], seconds_of(timeout)))[0]

    async def wait_all(
        self, job_ids: Sequence[str], *, timeout: float | timedelta | None = None
    ) -> builtins.list[Job]:
        """Wait for several jobs as `wait` does for one; return them in the order asked for."""
        return await self._waiting.finish_of(job_ids, seconds_of(timeout))

    async def progress(self, job_ids: Sequence[str]) -> AsyncIterator[int]:
        """Yield how many of these jobs are not finished, at every change, down to 0."""
        async for unfinished in self._waiting.unfinished(job_ids):
            yield len(unfinished)

    async def cancel(
        self, job_id: str, *, reason: str | None = None, seq: int | None = None
    ) -> Job:
        """
        Cancel a job. One that runs is ended by its worker; wait for it to see that.

        Args:
            job_id: The job.
            reason: Why, for whoever looks later.
            seq: Its number, as it was seen: not another that has its id by now.

        Raises:
            JobNotFoundError: There is none.
            JobStateError: It is finished, or is another than was seen.
        """
        return await self._store.cancel(
            job_id, check_reason(reason), now=self._clock.now(), seq=seq
        )

    async def retry(
        self, *job_ids: str, seqs: Mapping[str, int] | None = None
    ) -> builtins.list[Job]:
        """
        Put failed, dead or cancelled jobs back to pending with no attempts charged.

        Args:
            job_ids: The jobs.
            seqs: By id, their numbers as they were seen: not others that have the ids by now.

        Raises:
            JobNotFoundError: One is missing; none was changed.
            JobStateError: One is in another state, or is another than was seen; none was
                changed.
            InvalidValueError: They are more than 5000; for all dead ones see ``dlq``.
        """
        check_number(job_ids, everything="for all dead jobs: queuectl dlq retry --all")
        return await self._store.retry(job_ids, _RETRYABLE, now=self._clock.now(), seqs=seqs)

    async def run_now(
        self, *job_ids: str, seqs: Mapping[str, int] | None = None
    ) -> builtins.list[Job]:
        """
        Let jobs that are scheduled for later run as soon as a worker is free.

        Those are pending jobs whose ``run_at`` is to come, and failed ones that
        wait for their retry; these keep the attempts that they are charged.

        Args:
            job_ids: The jobs.
            seqs: By id, their numbers as they were seen: not others that have the ids by now.

        Raises:
            JobNotFoundError: One is missing; none was changed.
            JobStateError: One does not wait for a time to come, or is another than was
                seen; none was changed.
            InvalidValueError: They are more than 5000.
        """
        check_number(job_ids)
        return await self._store.run_now(job_ids, now=self._clock.now(), seqs=seqs)

    async def delete(
        self, job_id: str, *, updated_at: datetime | None = None, seq: int | None = None
    ) -> None:
        """
        Delete a job with all its runs and outputs.

        Args:
            job_id: The job.
            updated_at: Only where it was last changed at just this time, as it was seen:
                until a question about it is answered, it may be retried.
            seq: Its number, as it was seen: not another that has its id by now.

        Raises:
            JobNotFoundError: There is none.
            JobStateError: It is running, or has changed since it was seen, or is another.
            InvalidValueError: The time is out of range.
        """
        seen_at = None if updated_at is None else check_time(updated_at)
        await self._remove_files(await self._store.delete(job_id, updated_at=seen_at, seq=seq))

    async def purge(
        self,
        states: Iterable[JobState | str] = TERMINAL,
        *,
        older_than: float | timedelta = 0.0,
    ) -> int:
        """
        Delete jobs that have been in one of these states for a while.

        They are deleted some at a time, so that others can go on meanwhile: those that
        were deleted before an error stay so.

        Args:
            states: Any but ``processing``; else the finished ones.
            older_than: Seconds since they came into that state.

        Returns:
            How many were deleted.
        """
        wanted = [parse_state(state) for state in states]

        if JobState.PROCESSING in wanted:
            msg = "a running job cannot be purged: cancel it first"
            raise InvalidValueError(msg)

        until = self._clock.now() - (duration_of("older_than", older_than) or timedelta())
        store, jobs = self._store, 0

        async for step in in_steps(lambda after: store.purge(wanted, until=until, after=after)):
            await self._remove_files(step)
            jobs += step.jobs

        return jobs

    @asynccontextmanager
    async def workers(
        self, concurrency: int = 1, *, grace: float | timedelta | None = None
    ) -> AsyncIterator[None]:
        """
        Run jobs in this event loop while in the context.

        Leaving it, no more jobs are taken and those that run are waited for.
        Where it is left by an exception, they are ended and given back.

        Args:
            concurrency: How many jobs to run at once.
            grace: Seconds to wait for running jobs when leaving, before they
                are ended and given back; None to wait as long as they take.
        """
        async with self._life.working(_at_least_one(concurrency), grace=seconds_of(grace)):
            yield

    async def run(
        self,
        concurrency: int = 1,
        *,
        handle_signals: bool = False,
        can_restart: bool = False,
        started: Callable[[str], object] | None = None,
    ) -> bool:
        """
        Run jobs until told to stop by `stop_workers`, a signal or cancellation.

        Args:
            concurrency: How many jobs to run at once.
            handle_signals: Stop on SIGINT, SIGTERM and SIGHUP: the first
                waits for running jobs, the second ends them and gives them
                back, the third leaves at once.
            can_restart: Whether the caller replaces this process where this
                returns true, so that another may ask for it.
            started: Called with the worker's id when it is registered.

        Returns:
            Whether it left what it ran to a successor, as `restart_workers`
            asks for.
        """
        plan = WorkerPlan(concurrency=_at_least_one(concurrency), can_restart=can_restart)
        return await self._work(plan, signals=handle_signals, started=started)

    async def drain(
        self,
        concurrency: int = 1,
        *,
        handle_signals: bool = False,
        can_restart: bool = False,
        started: Callable[[str], object] | None = None,
    ) -> bool:
        """
        Run jobs until nothing is due, running or waiting for a retry.

        Jobs with a later ``run_at`` are not waited for.

        Args:
            concurrency: How many jobs to run at once.
            handle_signals: As for `run`.
            can_restart: As for `run`.
            started: As for `run`.

        Returns:
            As `run` does.
        """
        plan = WorkerPlan(
            concurrency=_at_least_one(concurrency), until_settled=True, can_restart=can_restart
        )
        return await self._work(plan, signals=handle_signals, started=started)

    @asynccontextmanager
    async def run_here(self, spec: JobSpec) -> AsyncIterator[Job]:
        """
        Add a job and run it in this process, where no other worker can take it.

        The context gets the job as it starts. Leaving it waits for the run. Where
        the run is interrupted, as by leaving it by an exception or by
        `stop_workers`, the job is cancelled.

        Raises:
            InvalidJobError: A value breaks a rule.
            DuplicateJobError: The id exists.
        """
        if spec.run_at is not None or spec.delay is not None:
            raise InvalidJobError("what runs here runs now", field="run_at")

        life = self._life
        trace = self._trace()
        claimed: builtins.list[Job] = []

        async def prepare(worker: "Worker") -> Job:
            now = self._clock.now()
            job = await life.store.insert_claimed(
                lambda settings: self._resolve([spec], now, trace, settings)[0],
                worker=worker.number,
                now=now,
            )
            claimed.append(job)
            return job

        async with life.working(1, prepare=prepare) as running:
            try:
                yield claimed[0]
            except BaseException:
                running.stop(Stop.NOW)

                # Not by the worker alone: it may fail over what failed here.
                with anyio.CancelScope(shield=True), suppress(QueueCtlError):
                    await life.store.withdraw(claimed[0], "interrupted")

                raise

    async def stop_workers(
        self,
        worker_ids: Iterable[str] | None = None,
        *,
        now: bool = False,
        timeout: float | timedelta | None = None,
    ) -> builtins.list[WorkerInfo]:
        """
        Stop workers, in whatever process they are, and wait until they are gone.

        Args:
            worker_ids: Which, as ``w12``; else all.
            now: End their running jobs and give them back; else wait for them.
            timeout: Seconds to wait at the most.

        Returns:
            The workers that were stopped.

        Raises:
            WorkerNotFoundError: One is not alive.
            WaitTimeoutError: Some are still there.
            LeftoverProcessError: They are gone, and processes of their jobs
                are not.
        """
        return await self._roster.stop(worker_ids, now=now, timeout=seconds_of(timeout))

    async def restart_workers(
        self, worker_ids: Iterable[str] | None = None, *, timeout: float | timedelta | None = None
    ) -> builtins.list[WorkerInfo]:
        """
        Have worker processes replace themselves, and wait for their successors.

        What they run goes on, and is adopted by the successors. This is how a
        new version of queuectl is taken into use.

        Args:
            worker_ids: Which, as ``w12``; else all that are alive, can be
                replaced and are not stopping.
            timeout: Seconds to wait at the most.

        Returns:
            The successors.

        Raises:
            WorkerNotFoundError: One is not alive.
            WorkerStateError: One is stopping, or is part of another program,
                which alone can restart it; none was restarted.
            WaitTimeoutError: Some have no successor yet.
        """
        return await self._roster.restart(worker_ids, timeout=seconds_of(timeout))

    async def backup(self, target: str | os.PathLike[str]) -> None:
        """
        Write a copy of the database as it stands to a new file.

        Large outputs, which are files of their own, are copied beside it.

        Raises:
            StoreError: The file exists, or cannot be written.
        """
        path = Path(current_folder(), target)
        await self._store.backup(str(path))
        await in_thread(self._life.folder.copy_outputs, StateFolder(path))

    async def vacuum(self) -> None:
        """Give unused space back to the file system."""
        await self._store.vacuum()

    async def _work(
        self, plan: WorkerPlan, *, signals: bool, started: Callable[[str], object] | None
    ) -> bool:
        """Run jobs as planned; return whether what ran was left to a successor."""
        how = await self._life.work(plan, signals=signals, started=started)
        return how is Stop.LEAVE

    def _resolve(
        self,
        specs: Sequence[JobSpec],
        now: datetime,
        trace: Mapping[str, str],
        settings: Settings,
    ) -> builtins.list[NewJob]:
        here = current_folder()
        jobs = [
            resolve(spec, settings, now=now, made_id=self._ids.make(now), here=here)
            for spec in specs
        ]

        if not trace:
            return jobs

        from queuectl.engine.runtime.tracing import with_trace

        return with_trace(jobs, trace)

    def _trace(self) -> Mapping[str, str]:
        """Return the trace context of whoever adds jobs, as variables for their environments."""
        if self._tracing is None:
            return {}

        from queuectl.engine.runtime.tracing import current_variables

        return current_variables()

    async def _remove_files(self, purged: Purged) -> None:
        await in_thread(self._life.folder.remove_outputs, purged.large_runs)


def _make_tracing(tracer: "Tracer", database: Path) -> "Tracing":
    from queuectl.engine.runtime.tracing import Tracing

    return Tracing(tracer, database)


def _at_least_one(concurrency: int) -> int:
    if concurrency < 1:
        msg = f"concurrency must be 1 or more, not {concurrency}"
        raise InvalidValueError(msg)

    return concurrency
