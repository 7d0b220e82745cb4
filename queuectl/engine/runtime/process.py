"""Shell processes; the one door to ``asyncio.create_subprocess_shell``."""

import asyncio
import subprocess
from typing import Final

import anyio
import msgspec

from queuectl.engine.runtime.group import RunGroup
from queuectl.engine.runtime.marks import MARK_VARIABLE, Mark
from queuectl.engine.runtime.reaper import (
    UNKNOWN,
    ProcessResult,
    Reaper,
    Watched,
    has_child_ended,
    named_result,
)
from queuectl.engine.runtime.runner import RunRequest
from queuectl.engine.runtime.tree import RunTree
from queuectl.engine.runtime.wrapper import COMMAND_VARIABLE, NOT_BEGUN, SHELL, TRAP_PROBE, wrap

# Longer than all that a shell writes which does not begin its command, in bytes.
_LONGEST_REFUSAL: Final = 16 * 1024


class ShellRunner:
    """Starts real processes, each the leader of a session of its own."""

    def __init__(self) -> None:
        self._reaper = Reaper()
        self._trap_is_safe: bool | None = None
        # A spawn holds the loop until the shell is there: between two, others have a turn.
        self._turn = asyncio.Lock()

    async def start(self, request: RunRequest) -> "ShellProcess":
        """
        Start a command.

        The caller shields it: a cancelled spawn would leave a process that nobody knows.
        """
        async with self._turn:
            process = await self._spawn(request)

        return ShellProcess(process, self._reaper.take(process.pid), request)

    async def _spawn(self, request: RunRequest) -> asyncio.subprocess.Process:
        if self._trap_is_safe is None:
            self._trap_is_safe = await _probe_trap(self._reaper)

        code, in_variable = wrap(
            request.command,
            request.note,
            request.files.exit_path,
            refusal=_refusal(request.mark),
            trap_is_safe=self._trap_is_safe,
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
                cwd=request.cwd,
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
        ended: "asyncio.Future[ProcessResult] | None",
        request: RunRequest,
    ) -> None:
        self._process = process
        self._ended = ended
        self._request = request
        self._reaped: ProcessResult | None = None
        self.is_hidden: bool = False
        self._group = RunGroup(process.pid, self._result)

    @property
    def pid(self) -> int:
        """The shell's number, which is its group's and its session's too."""
        return self._process.pid

    async def wait(self) -> ProcessResult:
        """
        Return when the shell has ended.

        Raises:
            OSError: It has, and what it wrote down cannot be read now.
        """
        if self._ended is None:
            # A loop of another make reaped it; how much it used is not known.
            code = await self._process.wait()
            result = named_result(None if code == UNKNOWN else code, reaped=self.pid)
            self._reaped = result
        else:
            result = await asyncio.shield(self._ended)

        is_known = (result.exit_code, result.signal) != (None, None)

        if is_known and result.exit_code != NOT_BEGUN:
            return result

        left = self._request.files.exit_note(self._request.note)

        if left is None or (left.leader is None and self._is_refused()):
            return msgspec.structs.replace(result, has_begun=False)

        return result if is_known else msgspec.structs.replace(result, exit_code=left.code)

    def _is_refused(self) -> bool:
        """Whether the shell's last words are that it did not begin the command."""
        files = self._request.files
        size = files.output_size()
        last = f"{_refusal(self._request.mark)}\n".encode()
        return size <= _LONGEST_REFUSAL and files.read_output(size).endswith(last)

    def has_ended(self) -> bool:
        """Whether the shell has ended, whether that was heard of or not."""
        if self._ended is None:
            return self._process.returncode is not None

        return self._ended.done() or has_child_ended(self.pid)

    async def end_group(self, grace: float) -> bool:
        """End all of the group that is left, and see that it is gone."""
        return await self._group.end(grace)

    async def end_tree(self, grace: float) -> bool:
        """End the group, and then what has left it and carries the run's mark."""
        is_gone = await self.end_group(grace)
        request = self._request
        tree = RunTree(request.mark, request.files, self.pid)
        has_no_more = await tree.end(grace)
        self.is_hidden = is_gone and tree.is_hidden
        return has_no_more and is_gone

    def _result(self) -> ProcessResult | None:
        """Return how the shell ended, None as long as its number is its own."""
        if self._ended is None:
            return self._reaped

        return self._ended.result() if self._ended.done() else None


def _refusal(mark: Mark) -> str:
    """Return what the shell of just this run says where it does not begin the command."""
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
