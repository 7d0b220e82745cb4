"""A run that another worker started: watched, ended and judged without being its parent."""

import asyncio
import os
from datetime import datetime
from typing import Final

import msgspec

from queuectl.engine.domain.models import Job
from queuectl.engine.runtime import proc
from queuectl.engine.runtime.clock import SystemClock, sleep
from queuectl.engine.runtime.proc import Process
from queuectl.engine.runtime.reaper import ProcessResult, reap_own
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.tree import RunTree

# Seconds between two looks at a shell that the system gives no sign of.
_LOOK: Final = 0.1


class Orphan(msgspec.Struct, frozen=True, kw_only=True):
    """
    A run whose worker died.

    Attributes:
        job: As it is held now.
        note: Says which run it is, in its files.
        files: Its files, not open.
        tree: Its processes.
        shell: Its shell; None where that is gone, or was never known.
    """

    job: Job
    note: str
    files: RunFiles
    tree: RunTree
    shell: Process | None = None

    def ended_at(self) -> datetime | None:
        """Return when it left its exit code, None where it left none."""
        left = self.files.exit_note(self.note)
        return None if left is None or left.code is None else self.files.written_at()


class OrphanProcess:
    """
    The shell of such a run, met as one of our own is.

    Args:
        orphan: The run.
    """

    def __init__(self, orphan: Orphan) -> None:
        self._orphan = orphan

    @property
    def pid(self) -> int:
        """The shell's number, which is its group's and its session's too; 0 where it is gone."""
        return 0 if self._orphan.shell is None else self._orphan.shell.pid

    async def wait(self) -> ProcessResult:
        """Return when the shell has ended, with the exit code that it left."""
        while True:
            is_there = self._is_there()
            # After that look: it writes first, and ends then.
            reaped = reap_own(self.pid) if self.pid else None
            left = self._orphan.files.exit_note(self._orphan.note)

            if left is not None and left.code is not None:
                return _with_code(left.code, reaped)

            if reaped is not None:
                return reaped

            if not is_there:
                return ProcessResult(exit_code=None, signal=None)

            await self._sign_of_its_end()

    async def end_group(self, grace: float) -> bool:
        """End all of its group that is left; return whether it is gone."""
        return await self._orphan.tree.end(grace, group_only=True)

    async def end_tree(self, grace: float) -> bool:
        """End all that is left of the run; return whether it is gone."""
        return await self._orphan.tree.end(grace)

    def age(self) -> float | None:
        """Return for how many seconds the shell has been there, None where nobody can say."""
        shell = self._orphan.shell
        return None if shell is None else proc.uptime() - shell.started_seconds

    def _is_there(self) -> bool:
        if not proc.can_list():
            return self._orphan.files.is_held()

        shell = self._orphan.shell
        now = None if shell is None else proc.find_process(shell.pid)
        return now is not None and shell is not None and now.started == shell.started

    async def _sign_of_its_end(self) -> None:
        """Return when the system says that the shell ended, or after a while."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            await sleep(SystemClock(), _LOOK)
            return

        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        try:
            loop.add_reader(descriptor, ended.set)

            # Between the look and the descriptor the number may have changed hands.
            if self._is_there():
                await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)


def _with_code(code: int, reaped: ProcessResult | None) -> ProcessResult:
    """Return the exit code that was left, with what the system said of the rest."""
    if reaped is None:
        return ProcessResult(exit_code=code, signal=None)

    return msgspec.structs.replace(reaped, exit_code=code, signal=None)
