"""Processes forked from one that has imported everything, and has no event loop."""

import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

_LOOK: Final = 0.005
_PATIENCE: Final = 15.0


def begin(work: Callable[[], None], folder: Path) -> int:
    """Do something in a process of its own; return its number. What it says goes to a file."""
    pid = os.fork()

    if pid == 0:
        code = 1
        try:
            noise = os.open(folder / "noise", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(noise, 2)
            work()
            code = 0
        except BaseException:  # noqa: BLE001 (this process ends here, whatever it is)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    return pid


def ended(pid: int, seconds: float) -> int:
    """Return how a process ended, -6 where it had to be ended after so many seconds."""
    descriptor = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([descriptor], [], [], seconds)

        if not ready:
            os.kill(pid, signal.SIGABRT)

        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(descriptor)


def kill(pids: list[int]) -> None:
    """End processes so that none of them sees another end."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)

    for pid in pids:
        os.waitpid(pid, 0)


def until(is_so: Callable[[], bool], what: str) -> None:
    """
    Return when something is so.

    Raises:
        TimeoutError: It is not so for long.
    """
    deadline = time.monotonic() + _PATIENCE

    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(what)

        time.sleep(_LOOK)  # noqa: TID251 (there is no event loop here)
