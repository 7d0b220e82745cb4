"""The workers of a database, in whatever process: who they are, how to stop and replace them."""

import asyncio
import builtins
from collections.abc import Callable, Iterable
from typing import Final

from queuectl.engine.domain.models import (
    StopOrder,
    WorkerInfo,
    WorkerState,
    worker_name,
    worker_number,
)
from queuectl.engine.errors import (
    LeftoverProcessError,
    WaitTimeoutError,
    WorkerNotFoundError,
    WorkerStateError,
)
from queuectl.engine.runtime.bus import Bus, Changes
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.liveness import goes_on, is_alive, is_in_sight
from queuectl.engine.runtime.sweep import find_leftovers, look_at_run, running_jobs
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.runtime.waiting import LOOK
from queuectl.engine.store.base import JobReader, JobStore, WorkerRow

_STATES: Final = {
    None: WorkerState.RUNNING,
    StopOrder.DRAIN: WorkerState.DRAINING,
    StopOrder.NOW: WorkerState.STOPPING,
}

# Seconds in which a worker that is well reads a hint, however busy the machine.
_PATIENCE: Final = 1.0


class Roster:
    """
    Lists, stops and replaces workers.

    Args:
        store: Where they are registered.
        folder: Where their locks are.
        bus: Tells them that they have orders.
    """

    def __init__(self, store: JobStore, folder: StateFolder, bus: Bus) -> None:
        self._store = store
        self._folder = folder
        self._bus = bus

    async def list(self) -> list[WorkerInfo]:
        """Return the registered workers, dead and unresponsive ones among them."""
        return await list_workers(self._store, self._folder, self._bus)

    async def stop(
        self,
        worker_ids: Iterable[str] | None,
        *,
        now: bool,
        timeout: float | None,
    ) -> builtins.list[WorkerInfo]:
        """
        Stop workers, and return them when they are gone.

        Raises:
            WorkerNotFoundError: One is not alive; none was stopped.
            WaitTimeoutError: Some are still there; it names them.
            LeftoverProcessError: They are gone, and something of their runs is
                not: of those that they started, or of those that they adopted.
        """
        wanted = await self._chosen(worker_ids)
        order = StopOrder.NOW if now else StopOrder.DRAIN
        await self._store.ask_to_stop(_numbers(wanted), stop=order)
        await self._until(lambda alive: [w for w in wanted if w in alive], timeout)
        await self._check_left(wanted)
        return [_info(row, _state(row)) for row in wanted.values()]

    async def restart(
        self, worker_ids: Iterable[str] | None, *, timeout: float | None
    ) -> builtins.list[WorkerInfo]:
        """
        Replace worker processes, and return the successors when they are there.

        Raises:
            WorkerNotFoundError: One is not alive; none was restarted.
            WorkerStateError: One cannot replace itself; none was restarted.
            WaitTimeoutError: Some have no successor yet; it names them.
        """
        wanted = await self._chosen(worker_ids)

        if worker_ids is None:
            # What cannot be, or is leaving anyway, is not meant by "all".
            wanted = {w: row for w, row in wanted.items() if row.can_restart and row.stop is None}

        _refuse_unrestartable(wanted)
        await self._store.ask_to_restart(_numbers(wanted))
        # A process that replaces itself keeps its number; another machine's may have the same.
        successors: dict[str, WorkerRow] = {}

        def missing(alive: dict[str, WorkerRow]) -> builtins.list[str]:
            new = {_process(row): row for w, row in alive.items() if w not in wanted}
            _check_processes(wanted, alive)
            successors.clear()
            successors.update(
                {w: new[_process(row)] for w, row in wanted.items() if _process(row) in new}
            )
            return [worker_id for worker_id in wanted if worker_id not in successors]

        await self._until(missing, timeout)
        return [_info(row, _state(row)) for row in successors.values()]

    async def _check_left(self, workers: dict[str, WorkerRow]) -> None:
        """Raise where something of workers' runs is there, and belongs to nobody any more."""
        jobs = await running_jobs(self._store)
        going_on = {job.run_key for job in jobs if job.stuck is None and job.worker not in workers}
        database = str(self._folder.database)
        pids: set[int] = set()
        is_hidden = False

        for worker_id, row in workers.items():
            found = await in_thread(find_leftovers, self._folder.worker(row.token), database)
            pids |= {left.process.pid for left in found if left.key not in going_on}

            # What is in its name goes on unattended, wherever the files are.
            for job in (job for job in jobs if job.worker == worker_id):
                members = await in_thread(look_at_run, self._folder, job, row.token)
                pids |= {process.pid for process in members.ours}
                is_hidden |= members.is_hidden

        if pids or is_hidden:
            raise LeftoverProcessError(sorted(pids))

    async def _chosen(self, worker_ids: Iterable[str] | None) -> dict[str, WorkerRow]:
        alive = await self._alive()
        wanted = list(alive) if worker_ids is None else list(dict.fromkeys(worker_ids))

        for worker_id in wanted:
            if worker_id not in alive:
                raise WorkerNotFoundError(worker_id)

        return {worker_id: alive[worker_id] for worker_id in wanted}

    async def _until(
        self,
        missing: Callable[[dict[str, WorkerRow]], builtins.list[str]],
        timeout: float | None,
    ) -> None:
        """Return when nothing is missing among the workers that are alive."""
        left: builtins.list[str] = []

        with Changes(self._bus) as changes:
            try:
                async with asyncio.timeout(timeout):
                    while left := missing(await self._alive()):
                        await changes.next(LOOK)
            except TimeoutError:
                hint = await self._why_still_there(left)
                raise WaitTimeoutError(left, timeout or 0, hint=hint) from None

    async def _why_still_there(self, worker_ids: builtins.list[str]) -> str | None:
        """Return what to do about those of these workers that do not answer, None without any."""
        mute = [
            worker.pid
            for worker in await self.list()
            if worker.id in worker_ids and worker.state is WorkerState.UNRESPONSIVE
        ]
        return when_unresponsive(mute) if mute else None

    async def _alive(self) -> dict[str, WorkerRow]:
        return {
            worker_name(row.number): row
            for row in await self._store.workers()
            if is_alive(self._folder, row)
        }


async def list_workers(store: JobReader, folder: StateFolder, bus: Bus) -> list[WorkerInfo]:
    """
    Return the registered workers, dead and unresponsive ones among them.

    Args:
        store: Where they are registered.
        folder: Where their locks are.
        bus: Asks them whether they hear.
    """

    async def look_at(row: WorkerRow) -> WorkerInfo:
        if not is_alive(folder, row):
            return _info(row, WorkerState.DEAD)

        if row.pipe is not None and not await bus.is_read(row.pipe, _PATIENCE):
            return _info(row, WorkerState.UNRESPONSIVE)

        return _info(row, _state(row))

    return list(await asyncio.gather(*map(look_at, await store.workers())))


def when_unresponsive(pids: Iterable[int]) -> str:
    """Return what to do about processes of workers that do not answer."""
    numbers = " ".join(map(str, pids))
    return (
        f"let it go on where it was stopped: kill -CONT {numbers}; else end it, and another worker"
        f" takes over what it runs: kill -KILL {numbers}"
    )


def _refuse_unrestartable(wanted: dict[str, WorkerRow]) -> None:
    """Raise where a worker cannot replace itself, or is leaving anyway."""
    for worker_id, row in wanted.items():
        if row.stop is not None:
            raise WorkerStateError(worker_id, "is stopping", hint="start a worker instead")

        if not row.can_restart:
            raise WorkerStateError(
                worker_id,
                "is part of another program",
                hint="restart that program; what it runs is adopted by other workers",
            )


def _check_processes(wanted: dict[str, WorkerRow], alive: dict[str, WorkerRow]) -> None:
    """Refuse to wait for the successor of a process that is gone."""
    for worker_id, row in wanted.items():
        if worker_id not in alive and is_in_sight(row) and not goes_on(row.pid):
            raise WorkerStateError(
                worker_id,
                "has ended without a successor",
                hint="start a worker: it adopts what runs",
            )


def _process(row: WorkerRow) -> tuple[str, str, int]:
    """Return what a process is known by as long as it is there."""
    return row.boot_id, row.pid_namespace, row.pid


def _numbers(workers: Iterable[str]) -> builtins.list[int]:
    return [worker_number(worker_id) for worker_id in workers]


def _state(row: WorkerRow) -> WorkerState:
    return _STATES[row.stop]


def _info(row: WorkerRow, state: WorkerState) -> WorkerInfo:
    return WorkerInfo(
        id=worker_name(row.number),
        state=state,
        host=row.host,
        pid=row.pid,
        concurrency=row.concurrency,
        # Short jobs are claimed ahead, and wait for a slot.
        busy=min(row.busy, row.concurrency),
        started_at=row.started_at,
    )
