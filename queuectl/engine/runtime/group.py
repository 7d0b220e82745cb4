"""
The process group of a run of ours: signalled only as long as it is known to be the run's.

As long as its shell is there, or is not reaped, the group's number is the run's.
After that it is only while something of the group is left; then it may be anybody's.
"""

from collections.abc import Callable
from signal import Signals
from typing import Final

from queuectl.engine.runtime import proc
from queuectl.engine.runtime.clock import file_time, until
from queuectl.engine.runtime.ending import Remains, steps
from queuectl.engine.runtime.reaper import ProcessResult

# Seconds between two looks while it is being ended: soon at first, for most are
# gone at once.
_LOOKS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


class RunGroup:
    """
    The group that a shell of ours leads.

    Args:
        leader: The shell's number.
        result_of: Returns how the shell ended, None as long as it is not reaped.
    """

    def __init__(self, leader: int, result_of: Callable[[], ProcessResult | None]) -> None:
        self._leader = leader
        self._result_of = result_of
        self._is_gone = False
        # When its leader was first told to end.
        self.told_at: float | None = None
        # Process numbers and start times of those that were proved to be in it.
        self._known: set[tuple[int, int]] = set()

    async def end(self, grace: float) -> Remains:
        """End all that is left of it: TERM, ``grace`` seconds, KILL."""
        for number, seconds in steps(grace):
            # Most runs leave nothing behind: then nobody is signalled, and nobody waits.
            if not self._signal(number) or await until(self._is_over, seconds, _LOOKS):
                return Remains.GONE

        return Remains.LEFT

    def _signal(self, number: Signals) -> bool:
        """Signal it; return whether there is anybody to be signalled."""
        if not self._is_there():
            return False

        # Of a run that has ended, what it has left behind is told.
        if self._result_of() is None and self.told_at is None:
            self.told_at = file_time()

        return proc.signal_group(self._leader, number)

    async def _is_over(self) -> bool:
        return not (self._is_there() and self._has_living_member())

    def _is_there(self) -> bool:
        """Whether a group of this number is there, and is still the run's."""
        result = self._result_of()

        if result is not None and not self._is_gone:
            self._is_gone = result.group_is_gone or not self._is_still_ours(result)

        return not self._is_gone

    def _is_still_ours(self, result: ProcessResult) -> bool:
        """
        Whether a member is left that was there before the number could be another's.

        Whoever is in a group of this number and began before the shell was reaped
        is in the shell's; and so is who is met beside one of those.
        """
        if not proc.can_list():
            return proc.has_group(self._leader)

        members = [found for found in proc.processes() if found.group == self._leader]
        met = {(found.pid, found.started) for found in members}
        reaped_at = result.reaped_at

        if not met & self._known and not any(
            reaped_at is not None and found.started_seconds <= reaped_at for found in members
        ):
            return False

        self._known |= met
        return True

    def _has_living_member(self) -> bool:
        """
        Whether a member is not a zombie.

        A member whose parent died is reaped by the system's first process, which
        may take its time, and in a container may never do it. Zombies do nothing.
        """
        if not proc.has_group(self._leader):
            return False

        return not proc.can_list() or any(p.group == self._leader for p in proc.processes())
