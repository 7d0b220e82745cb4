"""Shell processes; the one door to ``asyncio.create_subprocess_shell``."""

import asyncio
import errno
import os
import stat
import subprocess
from typing import Final

import anyio
import msgspec

from queuectl.engine.runtime.ending import Remains
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
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.runtime.tree import RunTree
from queuectl.engine.runtime.wrapper import (
    COMMAND_VARIABLE,
    NOT_BEGUN,
    SHELL,
    TRAP_PROBE,
    Refusals,
    wrap,
)

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
            refusals=_refusals(request.mark),
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
        ended: "asyncio.Future[ProcessResult] | None",
        request: RunRequest,
    ) -> None:
        self._process = process
        self._ended = ended
        self._request = request
        self._reaped: ProcessResult | None = None
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

        if result.is_known and result.exit_code != NOT_BEGUN:
            return result

        left = self._request.files.exit_note(self._request.note)
        refusals = _refusals(self._request.mark)

        if left is None or (left.leader is None and self._has_said(refusals.word)):
            return msgspec.structs.replace(result, has_begun=False)

        if result.is_known and self._has_said(refusals.folder):
            why = await in_thread(_why_closed, self._request.cwd)
            return msgspec.structs.replace(result, refused=why)

        return result if result.is_known else msgspec.structs.replace(result, exit_code=left.code)

    def _has_said(self, words: str) -> bool:
        """Whether these are the shell's last words, and it came to few before."""
        files = self._request.files
        size = files.output_size()
        is_short = size <= _LONGEST_REFUSAL
        return is_short and files.read_output(size).endswith(f"{words}\n".encode())

    def has_ended(self) -> bool:
        """Whether the shell has ended, whether that was heard of or not."""
        if self._ended is None:
            return self._process.returncode is not None

        return self._ended.done() or has_child_ended(self.pid)

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
        if self._ended is None:
            return self._reaped

        return self._ended.result() if self._ended.done() else None


def _refusals(mark: Mark) -> Refusals:
    """Return what the shell of just this run says where it does not begin the command."""
    run = f"queuectl: the run {mark.token}.{mark.seq}.{mark.run}"
    return Refusals(word=f"{run} was not begun", folder=f"{run} cannot enter its folder")


def _why_closed(folder: str) -> str:
    """Return why a shell could not enter a folder. Blocking, for as long as the disk takes."""
    try:
        mode = os.stat(folder).st_mode
        number = errno.EACCES if stat.S_ISDIR(mode) else errno.ENOTDIR
    except OSError as error:
        number = error.errno or errno.ENOENT

    return f"{os.strerror(number)}: {folder}"


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
