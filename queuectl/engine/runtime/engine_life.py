"""The life of an engine: one root task that opens, serves and closes everything."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.abc

from queuectl.engine.errors import EngineClosedError
from queuectl.engine.runtime.bus import Bus
from queuectl.engine.runtime.clock import Clock
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.plans import EngineParts, Stop, WorkerPlan
from queuectl.engine.runtime.running_worker import RunningWorker, sole_error
from queuectl.engine.runtime.signals import stopping_on_signals
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.store.base import JobStore
from queuectl.engine.store.open import open_store

if TYPE_CHECKING:
    from queuectl.engine.runtime.runner import Runner
    from queuectl.engine.runtime.running_worker import Prepare
    from queuectl.engine.runtime.tracing import Tracing


class EngineLife:
    """
    Everything that an open engine holds.

    It lives in a task of its own, so that an engine may be opened in one task
    and closed in another, as the fixtures of test frameworks do.

    Args:
        path: The database.
        clock: Tells the time.
        runner: Starts processes; None for the real ones.
        grace: Seconds between TERM and KILL.
        tracing: Traces runs; None where nobody does.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        runner: "Runner | None",
        grace: float,
        tracing: "Tracing | None" = None,
    ) -> None:
        self._path = path
        self._clock = clock
        self._runner = runner
        self._grace = grace
        self._tracing = tracing
        self._closing = asyncio.Event()
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._root: asyncio.Task[None] | None = None
        self._tasks: anyio.abc.TaskGroup
        self._workers: set[RunningWorker] = set()
        self.parts: EngineParts
        self.folder: StateFolder = StateFolder(path)
        self.bus: Bus = Bus(self.folder.wake)
        self.store: JobStore

    async def open(self) -> None:
        """
        Open the database.

        Raises:
            StoreError: It cannot be used.
        """
        self._root = asyncio.create_task(self._serve(), name=f"queuectl {self._path}")

        try:
            await asyncio.shield(self._opened)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the workers' jobs and give them back, reap, and close every file."""
        self._closing.set()

        if self._root is not None:
            await _until_done(self._root)

            if not self._root.cancelled() and (error := self._root.exception()):
                raise sole_error(error)

    def check(self) -> None:
        """
        Make sure that the engine can still do its work.

        Raises:
            EngineClosedError: It is closed.
            Exception: What ended one of its workers unasked.
        """
        if self._closing.is_set() or self._root is None or self._root.done():
            raise EngineClosedError

        for running in self._workers:
            if running.error is not None:
                raise running.error

    async def _start(
        self,
        running: RunningWorker,
        plan: WorkerPlan,
        *,
        prepare: "Prepare | None" = None,
        started: Callable[[str], object] | None = None,
    ) -> None:
        self.check()

        async def live() -> None:
            await running.live(
                self.parts, plan, make_runner=self._made_runner, prepare=prepare, started=started
            )

            # One that failed stays, for `check` to tell of it.
            if running.error is None:
                self._workers.discard(running)
            else:
                self.bus.wake_listeners()

        self._workers.add(running)
        self._tasks.start_soon(live)

        try:
            await running.until_started()
        except BaseException:
            running.stop(Stop.NOW)

            with anyio.CancelScope(shield=True):
                await running.ended.wait()

            if running.ended.is_set():
                self._workers.discard(running)
            raise

    def _made_runner(self) -> "Runner":
        """Return what starts processes; what it learns of the shell is learned once."""
        from queuectl.engine.runtime.process import ShellRunner

        self._runner = self._runner or ShellRunner()
        return self._runner

    async def end_worker(self, running: RunningWorker, how: Stop) -> None:
        """Stop a worker and wait for it; where the caller is cancelled, end its jobs."""
        running.stop(how)

        try:
            await running.until_ended()
        except anyio.get_cancelled_exc_class():
            running.stop(Stop.NOW)

            with anyio.CancelScope(shield=True):
                await running.until_ended()

            raise
        finally:
            # Cancelled a second time by other means, it may still be ending.
            if running.ended.is_set():
                self._workers.discard(running)

    @asynccontextmanager
    async def working(
        self,
        concurrency: int,
        *,
        grace: float | None = None,
        prepare: "Prepare | None" = None,
    ) -> AsyncIterator[RunningWorker]:
        """
        Have a worker while in the context, which gets it.

        Args:
            concurrency: Its slots, 1 or more.
            grace: Seconds to wait for running jobs when leaving, before they
                are ended and given back; None to wait as long as they take.
            prepare: Called before it works; may return a job that it has
                claimed for the worker, which then runs that alone.
        """
        running = RunningWorker()
        # What is to run one job is not to wait for others that it found, and nobody else
        # is to have that job.
        is_open = prepare is None
        plan = WorkerPlan(concurrency=concurrency, recovers=is_open, gives_back=is_open)
        await self._start(running, plan, prepare=prepare)

        try:
            yield running
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.end_worker(running, Stop.NOW)
            raise

        timer = (
            None
            if grace is None
            else self._clock.call_later(grace, partial(running.stop, Stop.NOW))
        )
        try:
            await self.end_worker(running, Stop.DRAIN)
        finally:
            if timer is not None:
                timer.cancel()

    async def work(
        self,
        plan: WorkerPlan,
        *,
        signals: bool = False,
        started: Callable[[str], object] | None = None,
    ) -> Stop:
        """Have a worker until it is told to stop, or stops by itself; return how it was stopped."""
        running = RunningWorker()

        with stopping_on_signals(running.stop) if signals else nullcontext():
            await self._start(running, plan, started=started)
            await self.end_worker(running, Stop.NOT)

        return running.how

    async def _serve(self) -> None:
        try:
            async with anyio.create_task_group() as self._tasks:
                try:
                    await self._open_everything()
                    await self._closing.wait()
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._close_everything()
        except BaseException as error:
            self._closing.set()

            if not self._opened.done():
                self._opened.set_exception(sole_error(error))
                return

            raise

    async def _open_everything(self) -> None:
        store = await open_store(self._path, self._tasks, now=self._clock.now())
        self.store = store
        await in_thread(self.folder.make)
        store.on_commit(self.bus.tell)
        self.parts = EngineParts(
            store=store,
            clock=self._clock,
            bus=self.bus,
            folder=self.folder,
            grace=self._grace,
            tracing=self._tracing,
        )
        self._opened.set_result(None)

    async def _close_everything(self) -> None:
        self._closing.set()

        workers = list(self._workers)

        # All first: none has to wait for the graces of others.
        for running in workers:
            running.stop(Stop.NOW)

        for running in workers:
            await running.ended.wait()

        try:
            self.bus.close()
        finally:
            if hasattr(self, "store"):
                await self.store.close()


async def _until_done(task: asyncio.Task[None]) -> None:
    """Wait for a task, however often the caller is cancelled meanwhile."""
    cancelled: asyncio.CancelledError | None = None

    with anyio.CancelScope(shield=True):
        while not task.done():
            # A scope does not shield from the cancellations of asyncio itself.
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as error:
                cancelled = error

    if cancelled is not None:
        raise cancelled
