"""A run that is under way, as its worker holds it: what it is, and how it is told to end."""

from enum import StrEnum
from typing import TYPE_CHECKING

import anyio

from queuectl.engine.domain.lifecycle import Outcome
from queuectl.engine.domain.models import Job, RunKey
from queuectl.engine.runtime.notes import run_note
from queuectl.engine.runtime.reaper import ProcessResult
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.runner import RunningProcess

if TYPE_CHECKING:
    from queuectl.engine.runtime.tracing import AttemptSpan


class StopReason(StrEnum):
    """Why a run was ended from outside."""

    TIMEOUT = "timeout"
    CANCEL = "cancel"
    OUTPUT = "output"
    SHUTDOWN = "shutdown"
    # Its worker died, and the job does not want to be adopted.
    CRASH = "crash"
    # It goes on; whoever comes after us adopts it.
    LEAVE = "leave"


class Run:
    """
    A run that is under way, as its worker holds it.

    Args:
        job: As claimed.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.files: RunFiles | None = None
        self.stop_reason: StopReason | None = None
        self.stop_words: str | None = None
        self.ended_at: float | None = None
        # How it ended, where a worker before us has named that.
        self.known_outcome: Outcome | None = None
        self._has_to_go = False
        self._is_over = False
        self.was_stopped_before: bool = False
        # Where it is traced.
        self.span: AttemptSpan | None = None
        # While it is waited for.
        self._scope: anyio.CancelScope | None = None

    @property
    def key(self) -> RunKey:
        """What it is known by."""
        return self.job.run_key

    @property
    def note(self) -> str:
        """What its files say: whose they are."""
        return run_note(self.key)

    def is_wanted(self) -> bool:
        """Whether nobody has told it to end."""
        return self.stop_reason is None

    def has_to_go(self) -> bool:
        """Whether its worker cannot wait for it any longer."""
        return self._has_to_go

    def stop_with_worker(self, reason: StopReason, words: str | None = None) -> None:
        """Stop it because its own worker goes, and waits for nothing that is refused."""
        self._has_to_go = True
        self.stop(reason, words)

    def stop(self, reason: StopReason, words: str | None = None) -> None:
        """End it, where it has not ended by itself; the first reason stays."""
        if not self._is_over and self.stop_reason is None:
            self.stop_reason = reason
            self.stop_words = words

            if self._scope is not None:
                self._scope.cancel()

    def stop_as_before(self, reason: StopReason, words: str | None = None) -> None:
        """End it for a reason that was there before it was ours, whatever we were told since."""
        self.was_stopped_before = True
        self.stop_reason = reason
        self.stop_words = words

    def mark_ended(self) -> None:
        """Take it for one that has ended by itself: whoever wants to stop it comes too late."""
        self._is_over = True
        self.stop_reason = None

    async def ended_or_stopped(self, process: RunningProcess) -> ProcessResult | None:
        """
        Return how it ended by itself, or None where it is to be ended.

        Raises:
            OSError: That cannot be seen now.
        """
        # Where it was decided by a worker that died over it, that had begun to end it. Where
        # we decided it while it was being started, it may have ended by itself since.
        if self.stop_reason is not None and (self.was_stopped_before or not process.has_ended()):
            return None

        # Anew: an adopted run may have to be watched more than once.
        with anyio.CancelScope() as self._scope:
            return await self._ended(process)

        # It may have ended before, and nobody heard of it yet: as where the loop, or the
        # whole program, stood still until after its time was up.
        return await self._ended(process) if process.has_ended() else None

    async def _ended(self, process: RunningProcess) -> ProcessResult:
        try:
            result = await process.wait()
        except OSError:
            if process.has_ended():
                self.mark_ended()
            raise

        # It was faster than whoever wanted to end it, now or while what it
        # left running is being ended.
        self.mark_ended()
        return result
