"""A worker: claims jobs, runs as many at once as it has slots, stops in order."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Final

import anyio
import msgspec

from queuectl.engine.domain.models import Job, RunKey, StopOrder, worker_name
from queuectl.engine.domain.settings import DEFAULTS
from queuectl.engine.errors import WorkerStateError
from queuectl.engine.runtime.adoption import Orphan
from queuectl.engine.runtime.ahead import Ahead
from queuectl.engine.runtime.bus import Bus
from queuectl.engine.runtime.clock import Clock, Timer
from queuectl.engine.runtime.executor import Executor
from queuectl.engine.runtime.output_guard import OutputGuard
from queuectl.engine.runtime.plans import Stop
from queuectl.engine.runtime.pool import TaskPool
from queuectl.engine.runtime.reporting import store_errors_logged
from queuectl.engine.runtime.run import Run, StopReason
from queuectl.engine.runtime.slots import Slots
from queuectl.engine.store.base import Change, Claim, JobStore

_log = logging.getLogger(__name__)

# Seconds between two looks for orders where no hint arrives.
_ORDERS_INTERVAL: Final = 1.0

_ORDERS: Final = {Stop.DRAIN: StopOrder.DRAIN, Stop.NOW: StopOrder.NOW}
_ASKED: Final = {None: Stop.NOT, StopOrder.DRAIN: Stop.DRAIN, StopOrder.NOW: Stop.NOW}


class Worker:
    """
    Claims jobs and runs them, until told to stop.

    Args:
        number: As registered.
        concurrency: Slots.
        store: Where the jobs are.
        executor: Runs an attempt.
        bus: Tells of work and orders.
        clock: Tells the time.
        until_settled: Stop when nothing is due, running or waiting for a retry.
        can_restart: Whether to leave, when asked to make room for a successor.
        gives_back: Whether others may have what was claimed and not started; else that
            is cancelled.
    """

    def __init__(
        self,
        *,
        number: int,
        concurrency: int,
        store: JobStore,
        executor: Executor,
        bus: Bus,
        clock: Clock,
        until_settled: bool = False,
        can_restart: bool = False,
        gives_back: bool = True,
    ) -> None:
        self.number = number
        self._slots = Slots(concurrency)
        self._store = store
        self._executor = executor
        self._bus = bus
        # What nobody else may have is not given back by whoever comes after us, either.
        self._end_for = StopReason.SHUTDOWN if gives_back else StopReason.CANCEL
        self._clock = clock
        self._until_settled = until_settled
        self._can_restart = can_restart
        self._guard = OutputGuard()
        self._orphans: deque[Orphan] = deque()
        # Held while a run is being moved into our name.
        self._adopting = asyncio.Lock()
        self._stop = Stop.NOT
        self._has_run = False
        self._runs: dict[RunKey, Run] = {}
        # Whether a claim would find nothing, as far as is known.
        self._is_dry = False
        self._attention = asyncio.Event()
        self._ahead = Ahead(
            slots=concurrency,
            store=store,
            clock=clock,
            notify=self._attention.set,
            gives_back=gives_back,
        )
        self._orders_due = asyncio.Event()
        self._pool: TaskPool | None = None

    @property
    def has_run(self) -> bool:
        """Whether anything was ever started here."""
        return self._has_run

    @property
    def how_stopped(self) -> Stop:
        """How far its end has come."""
        return self._stop

    async def adopt(self, orphan: Orphan) -> None:
        """
        Move a run that a dead worker left into our name, and go on with it.

        Not once we are told to stop: what nobody waits for any more is another's to take.
        """
        async with self._adopting:
            if self._stop is not Stop.NOT:
                return

            job = await self._store.adopt(orphan.job, self.number, now=self._clock.now())

            if job is not None:
                _log.info("adopted %s: run %d of %s", job.id, job.run_count, orphan.job.worker)
                self._orphans.append(msgspec.structs.replace(orphan, job=job))
                self._start_orphans()

    def stop(self, how: Stop) -> None:
        """
        Take no more jobs.

        Args:
            how: With `Stop.NOW`, also end what runs and give it back; with
                `Stop.LEAVE`, leave it running.
        """
        if how <= self._stop:
            return

        self._stop = how
        self._attention.set()
        self._orders_due.set()

        for run in self._runs.values():
            self._tell(run)

    async def run(self, first: Job | None = None) -> None:
        """
        Work until stopped; return when every process is reaped and recorded.

        Where the caller is cancelled, what runs is ended and given back first.

        Args:
            first: A job that is claimed already; it alone is run.
        """
        async with anyio.create_task_group() as watchers:
            with self._bus.listening(self._hear):
                watchers.start_soon(self._obey_orders)
                watchers.start_soon(self._guard.serve)

                try:
                    await self._work(first)
                finally:
                    await self._ahead.give_back()

            watchers.cancel_scope.cancel()

    async def _work(self, first: Job | None) -> None:
        async with anyio.create_task_group() as tasks:
            pool = self._pool = TaskPool(tasks)

            try:
                self._start_orphans()

                if first is not None:
                    self._ahead.add([first])
                    self._start_claimed()
                else:
                    await self._claim_until_stopped()
                    await self._ahead.give_back()

                await self._until_adopted()

                while self._runs:
                    await self._until_attention(None)
            except BaseException:
                if self._runs and self._stop < Stop.NOW:
                    _log.warning("ending the running jobs: %d", len(self._runs))

                # The runs are shielded: they end because they are told to.
                self.stop(Stop.NOW)

                with anyio.CancelScope(shield=True):
                    await self._until_adopted()

                raise
            finally:
                self._pool = None
                pool.close()

    async def _until_adopted(self) -> None:
        """Return when the run that is being adopted, if one is, has started: it is the last."""
        async with self._adopting:
            pass

    async def _claim_until_stopped(self) -> None:
        next_due: datetime | None = None

        while self._stop is Stop.NOT:
            if self._ahead.waited_too_long:
                await self._ahead.give_back()

            wanted = self._wanted()

            if wanted:
                self._is_dry = True
                next_due = await self._claim(wanted)
                continue

            if self._is_dry and not self._runs and await self._is_settled():
                self.stop(Stop.DRAIN)
                continue

            await self._until_attention(await self._patience(next_due) if self._is_dry else None)

    def _wanted(self) -> int:
        """Return how many jobs to claim now: for free slots, and ahead for short jobs."""
        return 0 if self._is_dry else self._ahead.wanted(self._slots.free)

    async def _claim(self, wanted: int) -> datetime | None:
        """Claim and start; return when the next job is due."""
        now = self._clock.now()
        claim: Claim | None = None

        # Once asked for it may be made: what it brings has to be taken.
        with store_errors_logged("cannot claim"), anyio.CancelScope(shield=True):
            claim = await self._store.claim(
                self.number, wanted, now=now, can_wait=bool(self._ahead)
            )

        if claim is None:
            return None

        self._ahead.add(claim.jobs)
        self._is_dry = self._is_dry and len(claim.jobs) < wanted
        self._start_claimed()

        return claim.next_due

    def _start_claimed(self) -> None:
        """Start what is claimed, as far as there are slots."""
        ahead = self._ahead

        # What has waited too long is given back, not started after all.
        while ahead and self._slots.free and not ahead.waited_too_long and self._stop < Stop.NOW:
            run = Run(ahead.next())
            began = self._clock.monotonic()
            self._start(run, partial(self._executor.run, run), partial(self._free_slot, began))

        ahead.watch()

    def _start_orphans(self) -> None:
        while self._orphans and self._pool is not None:
            orphan = self._orphans.popleft()
            run = Run(orphan.job)
            self._tell(run)
            self._start(
                run,
                partial(self._executor.adopt, run, orphan),
                partial(self._free_slot, None),
            )

    def _start(
        self,
        run: Run,
        execute: Callable[..., Awaitable[None]],
        process_ended: Callable[[], None],
    ) -> None:
        assert self._pool is not None  # noqa: S101 (there are no runs before and after)
        self._has_run = True
        self._slots.take()
        self._runs[run.key] = run
        self._guard.watch(run)
        self._pool.start(partial(self._execute, run, partial(execute, process_ended=process_ended)))

    async def _execute(self, run: Run, execute: Callable[[], Awaitable[None]]) -> None:
        try:
            await execute()
        finally:
            self._guard.forget(run)
            del self._runs[run.key]

            if not self._runs:
                self._attention.set()

    def _tell(self, run: Run) -> None:
        """Let a run know of the worker's end."""
        if self._stop is Stop.NOW:
            run.stop_with_worker(self._end_for, "interrupted")
        elif self._stop is Stop.LEAVE:
            run.stop_with_worker(StopReason.LEAVE)

    def _free_slot(self, began: float | None) -> None:
        """Free the slot of a run that is over, and learn how long jobs take from one of ours."""
        if began is not None:
            self._ahead.learn(self._clock.monotonic() - began)

        self._slots.give_back()

        if self._stop is Stop.NOT:
            self._start_claimed()

            if self._wanted():
                self._attention.set()

    async def _is_settled(self) -> bool:
        is_settled = False

        if self._until_settled:
            with store_errors_logged("cannot see whether the queue is settled"):
                is_settled = await self._store.is_settled(now=self._clock.now())

        return is_settled

    async def _patience(self, next_due: datetime | None) -> float:
        """Return how long to wait for a hint before looking without one, in seconds."""
        settings = DEFAULTS

        with store_errors_logged("cannot read the config"):
            settings = await self._store.settings()

        poll = settings.poll_interval.total_seconds()

        if next_due is None:
            return poll

        return max(0.0, min(poll, (next_due - self._clock.now()).total_seconds()))

    async def _until_attention(self, seconds: float | None) -> None:
        """Wait until something happens, or this long; then a claim may find something."""
        timer: Timer | None = None

        if seconds is not None:
            timer = self._clock.call_later(seconds, self._look_again)

        await self._attention.wait()
        self._attention.clear()

        if timer is not None:
            timer.cancel()

    def _look_again(self) -> None:
        self._is_dry = False
        self._attention.set()

    def _hear(self, change: Change) -> None:
        """Hear of a change from the bus."""
        if change & Change.WORK:
            self._look_again()

        if change & Change.ORDERS:
            self._orders_due.set()

        if self._until_settled:
            self._attention.set()

    async def _obey_orders(self) -> None:
        """Do what was asked of this worker through the database, until it ends."""
        while True:
            # A hint can be lost; then this finds what it was about.
            timer = self._clock.call_later(_ORDERS_INTERVAL, self._orders_due.set)
            await self._orders_due.wait()
            self._orders_due.clear()
            timer.cancel()

            with store_errors_logged("cannot read orders"):
                await self._obey()

    async def _obey(self) -> None:
        orders = await self._store.orders(self.number)

        for key, words in orders.cancels.items():
            if run := self._runs.get(key):
                run.stop(StopReason.CANCEL, words)

        # What was claimed ahead and is to be cancelled.
        await self._ahead.give_back_runs(orders.cancels)

        if not orders.is_registered:
            self._leave_to_others()

        asked = _ASKED[orders.stop]

        # Who was told to stop has no successor.
        if orders.restart and self._can_restart and asked is self._stop is Stop.NOT:
            self.stop(Stop.LEAVE)
        elif asked < self._stop and (order := _ORDERS.get(self._stop)):
            # Told more by other means, as by a signal: let everybody see it.
            await self._store.ask_to_stop([self.number], stop=order)
        else:
            self.stop(asked)

    def _leave_to_others(self) -> None:
        """Leave what runs to whoever has taken this worker for dead, and has it now."""
        _log.error("worker %s was taken off the list: it leaves its runs", self.number)
        self.stop(Stop.LEAVE)

        if not self._can_restart:
            raise WorkerStateError(
                worker_name(self.number),
                "was taken for dead, and off the list",
                hint="look whether the folder beside the database was moved or replaced",
            )
