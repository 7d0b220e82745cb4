"""Shell processes; the one door to ``asyncio.create_subprocess_shell``."""

import asyncio
import os
import signal
import subprocess
import sys
from typing import Final, Protocol

import anyio
import msgspec

from queuectl.engine.runtime.clock import Clock, SystemClock, sleep
from queuectl.engine.runtime.reaper import ProcessResult, Reaper, Watched, named_result
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.wrapper import COMMAND_VARIABLE, SHELL, TRAP_PROBE, wrap

# How often a group is looked at while it is being ended, in seconds: often at
# first, for most are gone at once.
_LOOKS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """
    What to start.

    Attributes:
        command: The command, for the shell.
        note: Says whose exit code it will be.
        cwd: The folder to run in.
        env: The whole environment.
        files: Open, for the lock, the exit code and the output.
    """

    command: str
    note: str
    cwd: str
    env: dict[str, str]
    files: RunFiles


class RunningProcess(Protocol):
    """A process that was started."""

    @property
    def pid(self) -> int:
        """Its number, which is its group's too."""

    async def wait(self) -> ProcessResult:
        """Return when it has ended; what it left running may go on."""

    async def end_group(self, grace: float) -> bool:
        """
        End all of its group that is left: TERM, ``grace`` seconds, KILL.

        Returns:
            Whether the group is gone.
        """


class Runner(Protocol):
    """Starts processes."""

    async def start(self, request: RunRequest) -> RunningProcess:
        """
        Start a command.

        Raises:
            OSError: The system did not start it.
        """


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
        """Start a command; once begun, it is finished even if the caller is cancelled."""
        if self._trap_is_safe is None:
            self._trap_is_safe = await _probe_trap(self._reaper)

        code, in_variable = wrap(
            request.command,
            request.note,
            request.files.exit_path,
            trap_is_safe=self._trap_is_safe,
        )
        env = {**request.env, COMMAND_VARIABLE: request.command} if in_variable else request.env

        # A cancelled spawn would leave a process that nobody knows.
        with anyio.CancelScope(shield=True):
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

        return ShellProcess(process, self._reaper.take(process.pid), self._clock)


class ShellProcess:
    """A shell with the session and the process group that it leads."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        ended: "asyncio.Future[ProcessResult] | None",
        clock: Clock,
    ) -> None:
        self._process = process
        self._ended = ended
        self._clock = clock

    @property
    def pid(self) -> int:
        """The shell's number, which is its group's and its session's too."""
        return self._process.pid

    async def wait(self) -> ProcessResult:
        """Return when the shell has ended."""
        if self._ended is not None:
            return await asyncio.shield(self._ended)

        # A loop of another make reaped it; how much it used is not known.
        return named_result(await self._process.wait())

    async def end_group(self, grace: float) -> bool:
        """End all of the group that is left, and see that it is gone."""
        if not self._signal(signal.SIGTERM):
            return True

        if await self._is_gone_within(grace) or not self._signal(signal.SIGKILL):
            return True

        # Only a process that the kernel itself holds outlives this.
        return await self._is_gone_within(5)

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
    if not os.path.isdir("/proc/self"):
        return True

    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue

        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                # After the name, which may hold anything: state, parent, group.
                state, _, member_of = file.read().rpartition(b") ")[2].split(maxsplit=3)[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        except PermissionError:
            # Hidden (hidepid): then the group is all that can be asked.
            return True

        if int(member_of) == group and state not in {b"Z", b"X"}:
            return True

    return False


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
