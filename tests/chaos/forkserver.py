"""
A small process that has imported queuectl and forks engines on demand.

It has no event loop and no database connection, so its children begin as fresh
programs do, without the half second that the imports take. It takes orders as lines
of JSON from its standard input, and says what became of them on its standard output.
What jobs leave when their engine was killed becomes its child, and is reaped.
"""

import asyncio
import ctypes
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

_PR_SET_CHILD_SUBREAPER: Final = 36
_LOG_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND

Role = Callable[[dict[str, Any]], Coroutine[Any, Any, None]]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """
    What to start.

    Attributes:
        number: Comes back with the answer.
        log: The file for standard output and error.
        role: A name from the roles; empty for a program of its own.
        arguments: Of the role.
        words: The program's command line.
        out: The file for the program's standard output alone.
    """

    number: int
    log: str
    role: str = ""
    arguments: dict[str, Any] = {}
    words: list[str] = []
    out: str | None = None


class News(msgspec.Struct, frozen=True, kw_only=True):
    """A process was started, or has ended with a status as `os.waitpid` gives it."""

    pid: int
    number: int
    status: int | None = None


class ForkServer:
    """
    Starts what it is told to.

    Args:
        roles: What a child can be.
    """

    def __init__(self, roles: Mapping[str, Role]) -> None:
        self._roles = roles
        self._children: dict[int, int] = {}
        self._woken, self._waking = os.pipe()

    def serve(self) -> None:
        """Take orders until the input is closed; then end the children."""
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        os.set_blocking(self._waking, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waking, warn_on_full_buffer=False)
        text = b""

        while True:
            ready, _, _ = select.select([0, self._woken], [], [])

            if self._woken in ready:
                os.read(self._woken, 4096)
                self._reap()

            if 0 in ready:
                read = os.read(0, 65536)

                if not read:
                    break

                *lines, text = (text + read).split(b"\n")

                for line in lines:
                    self._start(msgspec.json.decode(line, type=Order))

        for pid in self._children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _start(self, order: Order) -> None:
        pid = self._fork(order) if order.role else _run(order)
        self._children[pid] = order.number
        _tell(News(pid=pid, number=order.number))

    def _fork(self, order: Order) -> int:
        pid = os.fork()

        if not pid:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(self._woken)
            os.close(self._waking)
            _be(self._roles[order.role], order)

        return pid

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return

            if not pid:
                return

            if pid in self._children:
                _tell(News(pid=pid, number=self._children.pop(pid), status=status))


def _be(role: Role, order: Order) -> NoReturn:
    """Be a process of its own, to its end."""
    code = 1
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        log = os.open(order.log, _LOG_FLAGS, 0o600)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(nothing)
        os.close(log)
        asyncio.run(role(order.arguments))
        code = 0
    except BaseException:  # noqa: BLE001 (the log has it, and the exit code says it)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(order: Order) -> int:
    """Start a program of its own."""
    return os.posix_spawn(
        order.words[0],
        order.words,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, order.out or order.log, _LOG_FLAGS, 0o600),
            (os.POSIX_SPAWN_OPEN, 2, order.log, _LOG_FLAGS, 0o600),
        ],
        setsid=True,
        setsigdef=[signal.SIGCHLD],
    )


def _tell(news: News) -> None:
    os.write(1, msgspec.json.encode(news) + b"\n")


def main() -> None:
    """Be the server."""
    from tests.chaos.roles import ROLES

    ForkServer(ROLES).serve()


# What the harness runs: paths are appended, for the folder must not be searched first.
COMMAND: Final = (
    "import sys; sys.path += {paths!r}; from tests.chaos import forkserver as f; f.main()"
)
ROOT: Final = Path(__file__).parents[2]
