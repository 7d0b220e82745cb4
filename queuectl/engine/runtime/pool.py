"""Tasks that are used again: to make one costs more than a short job does within it."""

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import anyio.abc

_Work = Callable[[], Awaitable[None]]


class TaskPool:
    """
    Does many things at once, each in a task that no cancellation reaches.

    Args:
        tasks: Where the tasks live; it ends when the pool is closed and all is done.
    """

    def __init__(self, tasks: anyio.abc.TaskGroup) -> None:
        self._tasks = tasks
        self._idle: list[asyncio.Future[_Work | None]] = []
        self._is_closed = False

    def start(self, work: _Work) -> None:
        """Do something, in a task that has nothing to do or in a new one."""
        while self._idle:
            task = self._idle.pop()

            # asyncio's own cancellations pass the shield, as at the end of a loop.
            if not task.done():
                task.set_result(work)
                return

        self._tasks.start_soon(self._serve, work)

    def close(self) -> None:
        """Let each task end that has nothing to do any more."""
        self._is_closed = True

        for task in self._idle:
            if not task.done():
                task.set_result(None)

    async def _serve(self, first: _Work) -> None:
        work: _Work | None = first

        with anyio.CancelScope(shield=True):
            while work is not None:
                await work()
                work = None if self._is_closed else await self._more()

    async def _more(self) -> _Work | None:
        """Return what to do next, None where there will be nothing."""
        waiting: asyncio.Future[_Work | None] = asyncio.get_running_loop().create_future()
        self._idle.append(waiting)
        return await waiting
