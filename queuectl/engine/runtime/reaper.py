"""Waits for processes in asyncio's place, to learn what they used."""

import asyncio
import os
import resource
import select
import signal
import sys
import threading
from collections.abc import Callable, Generator
from datetime import timedelta
from typing import Any, Final, Self

import msgspec

from queuectl.engine.descriptors import forget, keep_from_forks
from queuectl.engine.runtime import proc

# The policy is the process's: engines in two threads take turns at it.
_STANDING_IN: Final = threading.Lock()

# Seconds between two looks at a child where the system gives no sign.
_LOOK: Final = 0.01

# What asyncio says of a child that somebody else has waited for; an exit code too.
UNKNOWN: Final = 255

# Given the status and the usage of a child that was reaped, None where they are not known.
_Reaped = Callable[[int | None, Any], None]


class ProcessResult(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a process ended.

    Attributes:
        exit_code: None where a signal ended it.
        signal: The signal that ended it, as ``SIGKILL``; None with a code. Where
            both are None, nobody can say how it ended.
        cpu: Processor time of it and the children it waited for; None where
            unknown.
        max_rss_bytes: The largest resident set among them; None where unknown.
        reaped_at: When its number became free, in seconds since the machine
            started; None where that is not known.
        group_is_gone: Whether nothing was left of its group then.
        has_begun: Whether the command was begun; False where its shell has
            proved that it was not.
        refused: What kept the shell from beginning the command, None where it began it.
    """

    exit_code: int | None
    signal: str | None
    cpu: timedelta | None = None
    max_rss_bytes: int | None = None
    reaped_at: float | None = None
    group_is_gone: bool = False
    has_begun: bool = True
    refused: OSError | None = None

    @property
    def is_known(self) -> bool:
        """Whether the system could say how it ended."""
        return (self.exit_code, self.signal) != (None, None)


class ChildEnd:
    """
    The end of a child: any number may wait for it, and give that up.

    A future, shielded, does the same with three callbacks of the loop; this takes one.

    Attributes:
        result: How it ended; None as long as it has not, as far as was heard.
    """

    def __init__(self) -> None:
        self.result: ProcessResult | None = None
        self._known = asyncio.Event()

    def tell(self, result: ProcessResult) -> None:
        """Wake whoever waits."""
        self.result = result
        self._known.set()

    async def wait(self) -> ProcessResult:
        """Return how it ended, when that is known."""
        await self._known.wait()
        assert self.result is not None  # noqa: S101 (it is known)
        return self.result


class Reaper:
    """
    Waits for our processes in asyncio's place, to learn what they used.

    asyncio's own watchers reap with waitpid, which throws the resource usage
    away, and the default one of Python 3.11 starts a thread for each process.
    This stands in for them while one of ours is being started, and only then.
    """

    def __init__(self) -> None:
        self._ends_of: dict[int, ChildEnd] = {}
        self._ends = Ends()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def is_active(self) -> bool:
        """Say that children are waited for."""
        return True

    def add_child_handler(self, pid: int, _call: object, transport: Any) -> None:
        """Begin to wait for a process; asyncio calls this when it has started one."""
        loop = asyncio.get_running_loop()
        end = self._ends_of[pid] = ChildEnd()

        # A transport that is collected kills a process that it takes for running, as at
        # the end of a loop that was abandoned: the run is to go on, and to be adopted.
        transport.get_extra_info("subprocess").returncode = UNKNOWN

        def reaped(status: int | None, usage: Any) -> None:
            code = None if status is None else os.waitstatus_to_exitcode(status)
            end.tell(named_result(code, usage, reaped=pid))
            # As asyncio's callback does it, which is made for other threads, and so wakes
            # the loop through a pipe: a twentieth of a short job.
            loop.call_soon(transport._process_exited, UNKNOWN if code is None else code)  # noqa: SLF001

        self._ends.wait_for(loop, pid, reaped)

    def take(self, pid: int) -> ChildEnd | None:
        """Return the end of a process that was just started, None where it is not ours."""
        return self._ends_of.pop(pid, None)


class Watched:
    """
    Awaits a spawn whose first step runs with the reaper as asyncio's watcher.

    Up to and including the call of ``add_child_handler`` a spawn does not
    suspend, so nothing else in this thread meets the reaper.
    """

    def __init__(self, spawn: Any, reaper: Reaper) -> None:
        self._spawn = spawn
        self._reaper = reaper

    def __await__(self) -> Generator[Any, Any, asyncio.subprocess.Process]:
        steps = self._spawn.__await__()

        with _STANDING_IN, _StandIn(self._reaper):
            first = next(steps)

        try:
            yield first
        except BaseException as error:
            steps.throw(error)
            raise

        process: asyncio.subprocess.Process = yield from steps
        return process


class _StandIn:
    """Answers asyncio's question for the child watcher, in this thread."""

    def __init__(self, reaper: Reaper) -> None:
        self._reaper = reaper

    def __enter__(self) -> None:
        # From 3.14 on there are no watchers to stand in for; usage stays unknown.
        if sys.version_info < (3, 14):
            self._policy = asyncio.get_event_loop_policy()
            self._ours = threading.get_ident()
            self._usual = self._policy.get_child_watcher
            self._policy.get_child_watcher = self._get  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        if sys.version_info < (3, 14):
            del self._policy.get_child_watcher

    def _get(self) -> Any:
        return self._reaper if threading.get_ident() == self._ours else self._usual()


class Ends:
    """
    Hears of the ends of children.

    A loop takes some ten microseconds to watch a descriptor and to forget it. So
    the processes' are in a set of the kernel's, and the loop watches only that.
    """

    def __init__(self) -> None:
        self._set: select.epoll | None = None
        self._watched: dict[int, tuple[int, _Reaped]] = {}

    def wait_for(self, loop: asyncio.AbstractEventLoop, pid: int, reaped: _Reaped) -> None:
        """Call back when a child has ended and is reaped."""
        try:
            descriptor = os.pidfd_open(pid)
        except (AttributeError, OSError):
            # macOS has none, and a process may have no descriptor left for one.
            _look_for(loop, pid, reaped)
            return

        try:
            self._made(loop).register(descriptor, select.EPOLLIN)
        except OSError:
            os.close(descriptor)
            _look_for(loop, pid, reaped)
            return

        self._watched[descriptor] = pid, reaped

    def _made(self, loop: asyncio.AbstractEventLoop) -> "select.epoll":
        """Return the set; there is one as long as there are children."""
        if self._set is None:
            made = select.epoll()

            try:
                loop.add_reader(made.fileno(), self._look, loop)
            except OSError:
                made.close()
                raise

            keep_from_forks(made.fileno())
            self._set = made

        return self._set

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        assert self._set is not None  # noqa: S101 (else nobody would have called)

        for descriptor, _ in self._set.poll(0):
            self._set.unregister(descriptor)
            os.close(descriptor)
            pid, reaped = self._watched.pop(descriptor)
            # A debugger may keep it from being waited for.
            _look_for(loop, pid, reaped)

        if not self._watched:
            loop.remove_reader(self._set.fileno())
            forget(self._set.fileno())
            self._set.close()
            self._set = None


def has_child_ended(pid: int) -> bool:
    """Whether a child has ended that is not reaped yet; not known on macOS before Python 3.13."""
    if sys.platform == "darwin" and sys.version_info < (3, 13):
        return False

    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _look_for(loop: asyncio.AbstractEventLoop, pid: int, reaped: _Reaped) -> None:
    try:
        found, status, usage = os.wait4(pid, os.WNOHANG)
    except ChildProcessError:
        # The host program ignores SIGCHLD, or waits for whatever ends: the
        # kernel cannot say any more how this one did.
        reaped(None, None)
        return

    if found:
        reaped(status, usage)
    else:
        loop.call_later(_LOOK, _look_for, loop, pid, reaped)


def reap_own(pid: int) -> ProcessResult | None:
    """Return how a child ended that this program started before it replaced itself."""
    try:
        found, status, usage = os.wait4(pid, os.WNOHANG)
    except ChildProcessError:
        return None

    return named_result(os.waitstatus_to_exitcode(status), usage) if found else None


def named_result(
    code: int | None, usage: Any = None, *, reaped: int | None = None
) -> ProcessResult:
    """
    Name an exit as asyncio gives it: negative for a signal.

    Args:
        code: None where nobody knows.
        usage: What the system says of it.
        reaped: The number of a leader of a group that was reaped just now.
    """
    return ProcessResult(
        exit_code=code if code is not None and code >= 0 else None,
        signal=None if code is None or code >= 0 else _signal_name(-code),
        cpu=None if usage is None else timedelta(seconds=usage.ru_utime + usage.ru_stime),
        max_rss_bytes=None if usage is None else _max_rss_bytes(usage),
        reaped_at=None if reaped is None else proc.uptime(),
        group_is_gone=reaped is not None and not proc.has_group(reaped),
    )


def _max_rss_bytes(usage: Any) -> int | None:
    """
    Return the peak resident set, None where it is hidden by the engine's own.

    Until it becomes the shell, a new process is counted with this process's
    memory. What is not above that is not known.
    """
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak: int = usage.ru_maxrss
    return peak * _RSS_UNIT if peak > own else None


# getrusage(2): kibibytes on Linux, bytes on macOS.
_RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
