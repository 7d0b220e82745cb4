"""Runs a piece of work in a process of its own, forked from one that has imported everything."""

import asyncio
import os
import select
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

Tell = Callable[[bytes], object]

_LONGEST_WORDS: Final = 1 << 20


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a forked process ended.

    Attributes:
        code: As Python gives it, negative for a signal; None where it had to
            be killed at its deadline.
        said: The last that it had to tell.
    """

    code: int | None
    said: bytes


def in_fork(work: Callable[[Tell], Awaitable[None]], *, noise: Path, seconds: float) -> Ended:
    """
    Run a coroutine in a new process, and wait for that to end.

    Args:
        work: Given a function to tell the result with.
        noise: Where standard output and error go.
        seconds: The deadline.
    """
    said = os.memfd_create("said")

    try:
        pid = os.fork()

        if pid == 0:
            _be_the_child(work, noise, said)

        code = _wait(pid, seconds)
        return Ended(code=code, said=os.pread(said, _LONGEST_WORDS, 0))
    finally:
        os.close(said)


def _be_the_child(work: Callable[[Tell], Awaitable[None]], noise: Path, said: int) -> None:
    code = 1

    try:
        descriptor = os.open(noise, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)

        async def main() -> None:
            await work(lambda words: os.pwrite(said, words, 0))

        asyncio.run(main())
        code = 0
    except BaseException:  # noqa: BLE001 (the end of a process: it has nobody else to tell)
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _wait(pid: int, seconds: float) -> int | None:
    """Return the exit code of a child; kill it at the deadline, and return None."""
    descriptor = os.pidfd_open(pid)

    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        is_late = not poll.poll(seconds * 1000)

        if is_late:
            os.kill(pid, signal.SIGKILL)

        _, status = os.waitpid(pid, 0)
    finally:
        os.close(descriptor)

    return None if is_late else os.waitstatus_to_exitcode(status)
