"""The workers of a database, in whatever process: who they are, and how to stop them."""

import asyncio
import builtins
from collections.abc import Iterable
from typing import Final

from queuectl.engine.domain.models import WorkerInfo, WorkerState, worker_name, worker_number
from queuectl.engine.errors import WaitTimeoutError, WorkerNotFoundError
from queuectl.engine.runtime.bus import Bus, Changes
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.recovery import is_alive
from queuectl.engine.runtime.waiting import LOOK
from queuectl.engine.store.base import JobStore, WorkerRow

_STATES: Final = {
    None: WorkerState.RUNNING,
    "drain": WorkerState.DRAINING,
    "now": WorkerState.STOPPING,
}


class Roster:
    """
    Lists and stops workers.

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
        """Return the registered workers, dead ones among them."""
        return [
            _info(row, is_alive=is_alive(self._folder, row)) for row in await self._store.workers()
        ]

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
        """
        alive = await self._alive()
        wanted = list(alive) if worker_ids is None else list(dict.fromkeys(worker_ids))

        for worker_id in wanted:
            if worker_id not in alive:
                raise WorkerNotFoundError(worker_id)

        numbers = [worker_number(worker_id) for worker_id in wanted]
        await self._store.ask_to_stop(numbers, stop="now" if now else "drain")
        left = wanted

        with Changes(self._bus) as changes:
            try:
                async with asyncio.timeout(timeout):
                    while left := [w for w in await self._alive() if w in wanted]:
                        await changes.next(LOOK)
            except TimeoutError:
                raise WaitTimeoutError(left, timeout or 0) from None

        return [alive[worker_id] for worker_id in wanted]

    async def _alive(self) -> dict[str, WorkerInfo]:
        return {worker.id: worker for worker in await self.list() if worker.is_alive}


def _info(row: WorkerRow, *, is_alive: bool) -> WorkerInfo:
    return WorkerInfo(
        id=worker_name(row.number),
        state=_STATES[row.stop] if is_alive else WorkerState.DEAD,
        host=row.host,
        pid=row.pid,
        concurrency=row.concurrency,
        # Short jobs are claimed ahead, and wait for a slot.
        busy=min(row.busy, row.concurrency),
        started_at=row.started_at,
    )
