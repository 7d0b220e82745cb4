"""A terminal with a program on it, as a person has one."""

import os
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.acceptance.home import PATIENCE, Home, Program
from tests.waiting import wait_until

# Takes the terminal for its own, as a shell's window does, and becomes the program.
_TAKE = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.dup2(0, 1)
os.dup2(0, 2)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """
    A terminal.

    Args:
        side: The side at which the person sits.
        program: What runs on it.
    """

    def __init__(self, side: int, program: Program) -> None:
        self._side = side
        self.program = program
        self._shown = b""

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._side, keys)

    def text(self) -> str:
        """Return all that was shown so far."""
        with suppress(BlockingIOError, OSError):
            while piece := os.read(self._side, 65536):
                self._shown += piece

        return self._shown.decode(errors="backslashreplace")

    async def shows(self, text: str) -> str:
        """Return all that was shown, when this was."""
        await wait_until(lambda: text in self.text(), seconds=PATIENCE)
        return self.text()

    def close(self) -> None:
        """Close the window."""
        if self._side >= 0:
            os.close(self._side)
            self._side = -1


@asynccontextmanager
async def terminal(home: Home, *words: object) -> AsyncIterator[Terminal]:
    """Run a program as the leader of a terminal."""
    side, other = os.openpty()
    os.set_blocking(side, False)
    termios.tcsetwinsize(other, (24, 200))

    try:
        program = await home.start_python("-c", _TAKE, *words, stdin=other, session=True)
    finally:
        os.close(other)

    shown = Terminal(side, program)

    try:
        yield shown
    finally:
        shown.close()
