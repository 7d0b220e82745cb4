"""Shell processes; the one door to ``asyncio.create_subprocess_shell``."""

import asyncio
import subprocess
from typing import Final

import anyio
import msgspec

from queuectl.engine.runtime.ending import Remains
from queuectl.engine.runtime.group import RunGroup
from queuectl.engine.runtime.marks import MARK_VARIABLE, Mark
from queuectl.engine.runtime.notes import NOT_BEGUN
from queuectl.engine.runtime.outcomes import refusal_error
from queuectl.engine.runtime.reaper import (
    UNKNOWN,
    ChildEnd,
    ProcessResult,
    Reaper,
    Watched,
    has_child_ended,
    named_result,
)
from queuectl.engine.runtime.runner import RunRequest
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.runtime.tree import RunTree
from queuectl.engine.runtime.wrapper import COMMAND_VARIABLE, SHELL, TRAP_PROBE, wrap

# Longer than all that a shell writes which does not begin its command, in bytes.
_LONGEST_REFUSAL: Final = 16 * 1024


class ShellRunner:
    """Starts real processes, each the leader of a session of its own."""

    def __init__(self) -> None:
        self._reaper = Reaper()
        self._trap_is_safe: bool | None = None
        # A spawn holds the loop until the shell is there: between two, others have a turn.
        self._turn = asyncio.Lock()

    async def start(self, request: RunRequest) -> "ShellProcess | None":
        """
        Start a command, unless it is not wanted any more when its turn has come.

        The caller shields it: a cancelled spawn would leave a process that nobody knows.
        """
        async with self._turn:
            if self._trap_is_safe is None:
                self._trap_is_safe = await _probe_trap(self._reaper)

            if not request.is_wanted():
                return None

            process = await self._spawn(request, trap_is_safe=self._trap_is_safe)

        return ShellProcess(process, self._reaper.take(process.pid), request)

    async def _spawn(
        self, request: RunRequest, *, trap_is_safe: bool
    ) -> asyncio.subprocess.Process:
        code, in_variable = wrap(
            request.command,
            request.note,
            request.files.exit_path,
            folder=request.cwd,
            refusal=_refusal(request.mark),
            trap_is_safe=trap_is_safe,
        )
        env = {**request.env, MARK_VARIABLE: str(request.mark)}

        if in_variable:
            env[COMMAND_VARIABLE] = request.command

        return await Watched(
            asyncio.create_subprocess_shell(
                code,
                stdin=subprocess.DEVNULL,
                stdout=request.files.output,
                stderr=request.files.output,
                # Into its own folder goes the shell, for that may not answer: a spawn holds
                # the loop, and with it every other run, until the shell is there.
                cwd="/",
                env=env,
                executable=SHELL,
                start_new_session=True,
                pass_fds=(request.files.lock,),
            ),
            self._reaper,
        )


class ShellProcess:
    """A shell with the session and the process group that it leads."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        end: ChildEnd | None,
        request: RunRequest,
    ) -> None:
        self._process = process
        self._end = end
        self._request = request
        self._reaped: ProcessResult | None = None
        self._group = RunGroup(process.pid, self._result)

    @property
    def pid(self) -> int:
        """The shell's number, which is its group's and its session's too."""
        return self._process.pid

    @property
    def told_at(self) -> float | None:
        """When its group was first told to end, as `file_time` says; None where it was not."""
        return self._group.told_at

    async def wait(self) -> ProcessResult:
        """
        Return when the shell has ended.

        Raises:
            OSError: It has, and what it wrote down cannot be read now.
        """
        if self._end is None:
            # A loop of another make reaped it; how much it used is not known.
            code = await self._process.wait()
            result = named_result(None if code == UNKNOWN else code, reaped=self.pid)
            self._reaped = result
        else:
            result = await self._end.wait()

        if result.is_known and result.exit_code != NOT_BEGUN:
            return result

        left = self._request.files.exit_note(self._request.note)

        if left is None or (left.leader is None and self._has_refused()):
            return msgspec.structs.replace(result, has_begun=False)

        if not result.is_known:
            result = msgspec.structs.replace(result, exit_code=left.code)

        if left.refusal is None:
            return result

        refused = await in_thread(refusal_error, left.refusal, self._request.cwd)
        return msgspec.structs.replace(result, refused=refused)

    def _has_refused(self) -> bool:
        """Whether the shell's last words are that it could not write its first."""
        files = self._request.files
        size = files.output_size()
        last = f"{_refusal(self._request.mark)}\n".encode()
        return size <= _LONGEST_REFUSAL and files.read_output(size).endswith(last)

    def has_ended(self) -> bool:
        """Whether the shell has ended, whether that was heard of or not."""
        if self._end is None:
            return self._process.returncode is not None

        return self._end.result is not None or has_child_ended(self.pid)

    async def end_group(self, grace: float) -> Remains:
        """End all of the group that is left, and see that it is gone."""
        return await self._group.end(grace)

    async def end_tree(self, grace: float) -> Remains:
        """End the group, and then what has left it and carries the run's mark."""
        group = await self.end_group(grace)
        request = self._request
        tree = await RunTree(request.mark, request.files, self.pid).end(grace)
        return tree if group is Remains.GONE else group

    def _result(self) -> ProcessResult | None:
        """Return how the shell ended, None as long as its number is its own."""
        return self._reaped if self._end is None else self._end.result


def _refusal(mark: Mark) -> str:
    """Return what the shell of just this run says where it cannot write its first word."""
    return f"queuectl: the run {mark.token}.{mark.seq}.{mark.run} was not begun"


async def _probe_trap(reaper: Reaper) -> bool:
    """Whether the shell's EXIT trap is known to stay silent when a signal ends the shell."""
    with anyio.CancelScope(shield=True):
        try:
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
        except ProcessLookupError:
            # It ended before the loop began to watch it, which from Python 3.14 on
            # nobody does in its place.
            return False

        reaper.take(probe.pid)
        output, _ = await probe.communicate()

    return not output
