"""Shell processes; the one door to ``asyncio.create_subprocess_shell``."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from typing import Final

import anyio

from queuectl.engine.runtime import proc
from queuectl.engine.runtime.clock import Clock, SystemClock, sleep
from queuectl.engine.runtime.marks import MARK_VARIABLE
from queuectl.engine.runtime.reaper import ProcessResult, Reaper, Watched, named_result
from queuectl.engine.runtime.runner import RunRequest
from queuectl.engine.runtime.tree import RunTree
from queuectl.engine.runtime.wrapper import COMMAND_VARIABLE, SHELL, TRAP_PROBE, wrap

_log = logging.getLogger(__name__)

# How often a group is looked at while it is being ended, in seconds: often at
# first, for most are gone at once.
_LOOKS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)

# Seconds between two tries to read what a shell wrote down.
_READ_PAUSE: Final = 1.0


class ShellRunner:
    """
    Starts real processes, each the leader of a session of its own.

    Real processes take real time to end, so it has the machine's clock.
    """

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._reaper = Reaper()
        self._trap_is_safe: bool | None = None

    async def start(self, request: RunRequest) -> "ShellProcess":
        """
        Start a command.

        The caller shields it: a cancelled spawn would leave a process that nobody knows.
        """
        if self._trap_is_safe is None:
            self._trap_is_safe = await _probe_trap(self._reaper)

        code, in_variable = wrap(
            request.command,
            request.note,
            request.files.exit_path,
            trap_is_safe=self._trap_is_safe,
        )
        env = {**request.env, MARK_VARIABLE: str(request.mark)}

        if in_variable:
            env[COMMAND_VARIABLE] = request.command

        process = await Watched(
            asyncio.create_subprocess_shell(
                code,
                stdin=subprocess.DEVNULL,
                stdout=request.files.output,
                stderr=request.files.output,
                cwd=request.cwd,
                env=env,
                executable=SHELL,
                start_new_session=True,
                pass_fds=(request.files.lock,),
            ),
            self._reaper,
        )

        return ShellProcess(process, self._reaper.take(process.pid), request, self._clock)


class ShellProcess:
    """A shell with the session and the process group that it leads."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        ended: "asyncio.Future[ProcessResult] | None",
        request: RunRequest,
        clock: Clock,
    ) -> None:
        self._process = process
        self._ended = ended
        self._request = request
        self._clock = clock

    @property
    def pid(self) -> int:
        """The shell's number, which is its group's and its session's too."""
        return self._process.pid

    async def wait(self) -> ProcessResult:
        """Return when the shell has ended."""
        if self._ended is None:
            # A loop of another make reaped it; how much it used is not known.
            return named_result(await self._process.wait())

        result = await asyncio.shield(self._ended)

        if result.exit_code is None and result.signal is None:
            return named_result(await self._left_code())

        return result

    async def _left_code(self) -> int | None:
        """Return the exit code that the shell wrote down, as soon as it can be read."""
        while True:
            try:
                left = self._request.files.exit_note(self._request.note)
            except OSError as error:
                _log.error("cannot read the exit code of process %d: %s", self.pid, error)
                await sleep(self._clock, _READ_PAUSE)
            else:
                return None if left is None else left.code

    async def end_group(self, grace: float) -> bool:
        """End all of the group that is left, and see that it is gone."""
        if not self._signal(signal.SIGTERM):
            return True

        if await self._is_gone_within(grace) or not self._signal(signal.SIGKILL):
            return True

        # Only a process that the kernel itself holds outlives this.
        return await self._is_gone_within(5)

    async def end_tree(self, grace: float) -> bool:
        """End the group, and then what has left it and carries the run's mark."""
        is_gone = await self.end_group(grace)
        request = self._request
        tree = RunTree(request.mark, request.files, self.pid)
        return await tree.end(grace) and is_gone

    def _signal(self, number: int) -> bool:
        """Signal the group; return whether there is one."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            # macOS says so of a group of which only zombies are left; Linux
            # of one whose every member has changed its user.
            return sys.platform != "darwin"

        return True

    async def _is_gone_within(self, seconds: float) -> bool:
        deadline = self._clock.monotonic() + seconds
        looks = iter(_LOOKS)

        while self._signal(0) and _has_living_member(self.pid):
            if self._clock.monotonic() >= deadline:
                return False

            await sleep(self._clock, next(looks, _LOOKS[-1]))

        return True


def _has_living_member(group: int) -> bool:
    """
    Whether a process group has a member that is not a zombie.

    A member whose parent died is reaped by the system's first process, which
    may take its time, and in a container may never do it. Zombies do nothing.
    """
    return not proc.can_list() or any(found.group == group for found in proc.processes())


async def _probe_trap(reaper: Reaper) -> bool:
    """Whether the shell's EXIT trap stays silent when a signal ends the shell."""
    with anyio.CancelScope(shield=True):
        probe = await Watched(
            asyncio.create_subprocess_shell(
                TRAP_PROBE,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                executable=SHELL,
                start_new_session=True,
            ),
            reaper,
        )
        reaper.take(probe.pid)
        output, _ = await probe.communicate()

    return not output
