"""A worker of this engine, as whoever started it holds it: start, stop, end, and what ended it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from queuectl.engine.domain.models import Job, worker_name
from queuectl.engine.runtime.plans import EngineParts, Stop, WorkerPlan
from queuectl.engine.runtime.threads import in_thread

# Most programs only ask and enqueue: what runs jobs is imported by who runs some.
if TYPE_CHECKING:
    from queuectl.engine.runtime.runner import Runner
    from queuectl.engine.runtime.worker import Worker

    # Called with a worker before it works; may return a job that it has claimed for it.
    Prepare = Callable[[Worker], Awaitable[Job | None]]


class RunningWorker:
    """A worker of this engine, from its start to its end."""

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.error: BaseException | None = None
        # How it was stopped, once it has ended.
        self.how: Stop = Stop.NOT
        self._stop = Stop.NOT
        self._started = asyncio.Event()
        self.ended: asyncio.Event = asyncio.Event()

    def stop(self, how: Stop) -> None:
        """Stop it; see `Worker.stop`."""
        self._stop = max(self._stop, how)

        if self.worker is not None:
            self.worker.stop(how)

    async def until_started(self) -> None:
        """
        Return when it is registered.

        Raises:
            Exception: What kept it from starting.
        """
        await self._started.wait()
        self._raise_error()

    async def until_ended(self) -> None:
        """
        Return when it has ended and left nothing behind.

        Raises:
            Exception: What ended it, if it was not told to.
        """
        await self.ended.wait()
        self._raise_error()

    async def live(
        self,
        parts: EngineParts,
        plan: WorkerPlan,
        *,
        make_runner: Callable[[], "Runner"],
        prepare: "Prepare | None",
        started: Callable[[str], object] | None,
    ) -> None:
        """Be the worker; an error is kept for whoever waits."""

        async def begin(worker: "Worker") -> Job | None:
            first = None if prepare is None else await prepare(worker)
            self.worker = worker
            self._started.set()
            worker.stop(self._stop)

            if started is not None:
                started(worker_name(worker.number))

            return first

        try:
            # Here, for an import fails too, as without descriptors; and in a thread, for
            # it takes some ten milliseconds, and the host's loop has other things to do.
            await in_thread(_import_machinery)
            from queuectl.engine.runtime.worker_life import run_worker

            self.how = await run_worker(parts, plan, runner=make_runner(), started=begin)
        except Exception as error:  # noqa: BLE001 (kept for whoever waits)
            self.error = sole_error(error)
        finally:
            self._started.set()
            self.ended.set()

    def _raise_error(self) -> None:
        if self.error is not None:
            raise self.error


def _import_machinery() -> None:
    """Import what only workers need. Blocking."""
    from queuectl.engine.runtime import process, worker_life  # noqa: F401


def sole_error(error: BaseException) -> BaseException:
    """Return what a group is about, where all of it is of one kind."""
    members = _members(error)
    kinds = {type(member) for member in members}
    return members[0] if len(kinds) == 1 else error


def _members(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]

    return [member for inner in error.exceptions for member in _members(inner)]
