"""Waits for processes in asyncio's place, to learn what they used."""

import asyncio
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, Self

import msgspec

# The policy is the process's: engines in two threads take turns at it.
_STANDING_IN: Final = threading.Lock()

# Seconds between two looks at a child where the system gives no sign.
_LOOK: Final = 0.01


class ProcessResult(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a process ended.

    Attributes:
        exit_code: None where a signal ended it.
        signal: The signal that ended it, as ``SIGKILL``. Where this is None as
            well, nobody can say how it ended.
        cpu: Processor time of it and the children it waited for; None where
            unknown.
        max_rss_bytes: The largest resident set among them; None where unknown.
    """

    exit_code: int | None
    signal: str | None
    cpu: timedelta | None = None
    max_rss_bytes: int | None = None


class Reaper:
    """
    Waits for our processes in asyncio's place, to learn what they used.

    asyncio's own watchers reap with waitpid, which throws the resource usage
    away, and the default one of Python 3.11 starts a thread for each process.
    This stands in for them while one of ours is being started, and only then.
    """

    def __init__(self) -> None:
        self._ended: dict[int, asyncio.Future[ProcessResult]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def is_active(self) -> bool:
        """Say that children are waited for."""
        return True

    def add_child_handler(self, pid: int, call: Callable[..., object], *args: Any) -> None:
        """Begin to wait for a process; asyncio calls this when it has started one."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[ProcessResult] = loop.create_future()
        self._ended[pid] = ended

        def reaped(status: int | None, usage: Any) -> None:
            code = None if status is None else os.waitstatus_to_exitcode(status)

            if not ended.done():
                ended.set_result(named_result(code, usage))

            # 255 is what asyncio itself says of what it does not know.
            call(pid, 255 if code is None else code, *args)

        _wait_for(loop, pid, reaped)

    def take(self, pid: int) -> "asyncio.Future[ProcessResult] | None":
        """Return the end of a process that was just started, None where it is not ours."""
        return self._ended.pop(pid, None)


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

        with _STANDING_IN, _as_watcher(self._reaper):
            first = next(steps)

        try:
            yield first
        except BaseException as error:
            steps.throw(error)
            raise

        process: asyncio.subprocess.Process = yield from steps
        return process


@contextmanager
def _as_watcher(reaper: Reaper) -> Iterator[None]:
    """Answer asyncio's question for the child watcher, in this thread."""
    if sys.version_info >= (3, 14):
        # There are no watchers to stand in for; usage stays unknown.
        yield
        return

    policy = asyncio.get_event_loop_policy()
    ours = threading.get_ident()
    usual = policy.get_child_watcher

    def get_child_watcher() -> Any:
        return reaper if threading.get_ident() == ours else usual()

    policy.get_child_watcher = get_child_watcher  # type: ignore[method-assign]
    try:
        yield
    finally:
        del policy.get_child_watcher


def _wait_for(
    loop: asyncio.AbstractEventLoop, pid: int, reaped: Callable[[int | None, Any], None]
) -> None:
    """Call back when a child has ended and is reaped."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        # macOS has none, and a process may have no descriptor left for one.
        _look_for(loop, pid, reaped)
        return

    def ready() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        reaped(*_reap(pid))

    try:
        loop.add_reader(descriptor, ready)
    except OSError:
        os.close(descriptor)
        _look_for(loop, pid, reaped)


def _reap(pid: int) -> tuple[int | None, Any]:
    """Return status and usage of a child that has ended, None where they are not known."""
    try:
        _, status, usage = os.wait4(pid, 0)
    except ChildProcessError:
        # The host program ignores SIGCHLD, or waits for whatever ends: the
        # kernel cannot say any more how this one did.
        return None, None

    return status, usage


def _look_for(
    loop: asyncio.AbstractEventLoop, pid: int, reaped: Callable[[int | None, Any], None]
) -> None:
    try:
        found, status, usage = os.wait4(pid, os.WNOHANG)
    except ChildProcessError:
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


def named_result(code: int | None, usage: Any = None) -> ProcessResult:
    """Name an exit as asyncio gives it: negative for a signal."""
    if code is None:
        return ProcessResult(exit_code=None, signal=None)

    return ProcessResult(
        exit_code=code if code >= 0 else None,
        signal=None if code >= 0 else _signal_name(-code),
        cpu=None if usage is None else timedelta(seconds=usage.ru_utime + usage.ru_stime),
        max_rss_bytes=None if usage is None else _max_rss_bytes(usage),
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
