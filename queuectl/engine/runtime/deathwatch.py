"""Tells at once when the process of another worker ends."""

import asyncio
import os
from collections.abc import Iterable
from typing import Self

from queuectl.engine.runtime.liveness import is_in_sight
from queuectl.engine.store.base import WorkerRow


class Deathwatch:
    """
    Watches processes; used as a context.

    That a process has ended is a hint to look at its worker's lock. Where the
    system gives no such sign, the next look without a hint has to do.
    """

    def __init__(self) -> None:
        self._ended = asyncio.Event()
        self._watched: dict[int, int] = {}
        self._gone: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in list(self._watched):
            self._forget(pid)

    def watch(self, workers: Iterable[WorkerRow]) -> None:
        """Watch the processes of these workers, and no others any more."""
        here = os.getpid()
        wanted = {worker.pid for worker in workers if is_in_sight(worker)} - {here}
        # One that has ended says so again and again, as long as its lock is held for it.
        self._gone &= wanted

        for pid in set(self._watched) - wanted:
            self._forget(pid)

        for pid in wanted - set(self._watched) - self._gone:
            self._begin(pid)

    async def next(self, seconds: float) -> None:
        """Return when one of them has ended, or after this long."""
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            return

        self._ended.clear()

    def _begin(self, pid: int) -> None:
        try:
            descriptor = os.pidfd_open(pid)
        except (AttributeError, OSError):
            # No such system, no such process any more, or no descriptor left.
            return

        self._watched[pid] = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._hear, pid)

    def _hear(self, pid: int) -> None:
        self._forget(pid)
        self._gone.add(pid)
        self._ended.set()

    def _forget(self, pid: int) -> None:
        descriptor = self._watched.pop(pid)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
