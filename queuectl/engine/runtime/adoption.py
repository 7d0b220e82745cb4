"""A run that another worker started: taken over, watched and ended without being its parent."""

import asyncio
import os
from datetime import datetime
from typing import Final

import msgspec

from queuectl.engine.domain.models import Job, OnCrash
from queuectl.engine.runtime import proc
from queuectl.engine.runtime.clock import SystemClock, sleep
from queuectl.engine.runtime.ending import Remains
from queuectl.engine.runtime.liveness import is_in_sight
from queuectl.engine.runtime.notes import NOT_BEGUN
from queuectl.engine.runtime.outcomes import left_refusal, noted_outcome, noted_reason
from queuectl.engine.runtime.proc import Process
from queuectl.engine.runtime.reaper import ProcessResult, reap_own
from queuectl.engine.runtime.run import Run, StopReason
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.runtime.tree import RunTree, began_before
from queuectl.engine.store.base import WorkerRow

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
        leader: The number that its shell has or had, which is its group's and
            its session's too; None where that is not known.
        child: Its shell, ended or not, where that is a child of this process.
    """

    job: Job
    note: str
    files: RunFiles
    tree: RunTree
    shell: Process | None = None
    leader: int | None = None
    child: Process | None = None

    def ended_at(self) -> datetime | None:
        """Return when it left its exit code, None where it left none."""
        return None if self.files.exit_code(self.note) is None else self.files.written_at()

    def reap(self) -> ProcessResult | None:
        """Return how its shell ended, None where it has not, or is no child of ours."""
        if self.child is None:
            return None

        now = proc.find_process(self.child.pid, or_zombie=True)

        if now is not None and now.started != self.child.started:
            return None

        return reap_own(self.child.pid)


class OrphanProcess:
    """
    The shell of such a run, met as one of our own is.

    Args:
        orphan: The run.
    """

    def __init__(self, orphan: Orphan) -> None:
        self._orphan = orphan
        self._reaped: ProcessResult | None = None

    @property
    def pid(self) -> int:
        """The shell's number, also of one that is gone; 0 where it is not known."""
        return self._orphan.leader or 0

    @property
    def told_at(self) -> float | None:
        """When it was first told to end by us, as `file_time` says; None where it was not."""
        return self._orphan.tree.told_at

    async def wait(self) -> ProcessResult:
        """Return when the shell has ended, with the exit code that it left."""
        while True:
            is_there = self._is_there()
            # After that look: it writes first, and ends then.
            self._reaped = self._reaped or self._orphan.reap()
            code = self._orphan.files.exit_code(self._orphan.note)

            if code is not None:
                return await self._with_code(code)

            if self._reaped is not None:
                return self._reaped

            if not is_there:
                return ProcessResult(exit_code=None, signal=None)

            await self._sign_of_its_end()

    async def _with_code(self, code: int) -> ProcessResult:
        """Return the exit code that was left, with what the system said of the rest."""
        left = self._reaped or ProcessResult(exit_code=code, signal=None)
        refused = None

        # Most commands that end with it have said it themselves.
        if code == NOT_BEGUN:
            refused = await in_thread(left_refusal, self._orphan.job, self._orphan.files)

        return msgspec.structs.replace(left, exit_code=code, signal=None, refused=refused)

    def has_ended(self) -> bool:
        """Whether the shell has left its exit code, or is gone without."""
        code = self._orphan.files.exit_code(self._orphan.note)
        return code is not None or not self._is_there()

    async def end_group(self, grace: float) -> Remains:
        """End all of its group that is left."""
        return await self._orphan.tree.end(grace, group_only=True)

    async def end_tree(self, grace: float) -> Remains:
        """End all that is left of the run."""
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


def take_over(run: Run, orphan: Orphan) -> OrphanProcess:
    """
    Return the shell of a run that is ours from here on.

    What was so before counts, and only then what our worker has been told meanwhile:
    how it ended, why its last worker was ending it, or that its job wants an end.

    Raises:
        OSError: Its files cannot be read, or written; nothing is changed.
    """
    run.known_outcome = noted_outcome(orphan.files, orphan.note)
    reason = noted_reason(orphan.files, orphan.note)

    if run.known_outcome is not None:
        run.mark_ended()
    elif reason is not None and reason is not StopReason.LEAVE:
        run.stop_as_before(reason, run.job.cancel_reason)
    elif orphan.files.exit_code(orphan.note) is not None:
        run.mark_ended()
    elif reason is None and run.job.on_crash is not OnCrash.ADOPT:
        run.stop_as_before(StopReason.CRASH)
    elif reason is StopReason.LEAVE and run.stop_reason is None:
        # Else it would be taken for left once more, where we die.
        orphan.files.note_end(run.note)

    return OrphanProcess(orphan)


def own_child(worker: WorkerRow, leader: int | None, files: RunFiles) -> Process | None:
    """
    Return the shell of a dead worker's run as a child of this process, ended or not.

    That it is where this process has replaced its program: it has the dead worker's
    number, and the shell's belongs to nobody else until the shell is reaped. A child
    that began after the shell's last word has got the number since, and how that
    ended is for somebody else to hear.

    Args:
        worker: The dead one.
        leader: The shell's number.
        files: The run's.
    """
    if leader is None or worker.pid != os.getpid() or not is_in_sight(worker):
        return None

    if not proc.can_list():
        # Nobody can tell how old it is: that both numbers are right has to do.
        return Process(pid=leader, group=leader, session=leader, started=0)

    child = proc.find_process(leader, or_zombie=True)
    word = files.written_at()
    return child if child and word and began_before(child, word) else None
