"""Standard output and standard error: what may be written there, and how."""

import asyncio
import os
import select
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from io import TextIOWrapper
from typing import Final, TextIO

from queuectl import escape_text
from queuectl.cli.errors import CommandError

# Seconds between two looks at whether somebody still reads.
_LOOK: Final = 0.1


class OutputClosedError(Exception):
    """Whoever read the standard output or standard error has left."""


def write(text: str) -> None:
    """Write text to the standard output."""
    with named_errors():
        sys.stdout.write(text)


def write_line(text: str) -> None:
    """Write a line to the standard output."""
    write(f"{text}\n")


def write_bytes(content: bytes) -> None:
    """Write bytes to the standard output as they are, at once."""
    with named_errors():
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def flush() -> None:
    """Hand on what was written to the standard output."""
    with named_errors():
        sys.stdout.flush()


def note(text: str) -> None:
    """Write a line for a person to the standard error."""
    with named_errors():
        sys.stderr.write(f"{escape_text(text)}\n")
        sys.stderr.flush()


def note_bytes(content: bytes) -> None:
    """Write bytes to the standard error as they are."""
    with named_errors():
        sys.stderr.flush()
        sys.stderr.buffer.write(content)
        sys.stderr.buffer.flush()


def ask(question: str) -> bool:
    """Ask a person on the standard error; anything but yes is no."""
    with named_errors():
        sys.stderr.write(f"{escape_text(question)} [y/N] ")
        sys.stderr.flush()

    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def is_terminal(stream: TextIO) -> bool:
    """Whether a person reads, or types into, the stream."""
    return stream.isatty()


def is_colored() -> bool:
    """Whether colour is welcome, as far as the environment says."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_animated(stream: TextIO) -> bool:
    """Whether something on the stream may move: a person looks, and we are in front."""
    return is_terminal(stream) and is_colored() and is_in_foreground(stream)


def make_ready() -> None:
    """
    Prepare the standard streams for what may happen.

    A stream that the caller closed goes nowhere. What its encoding does not
    have is written as an escape.
    """
    if sys.stdin is None:
        sys.stdin = _open_nowhere("r")

    if sys.stdout is None:
        sys.stdout = _open_nowhere("w")

    if sys.stderr is None:
        sys.stderr = _open_nowhere("w")

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def abandon() -> None:
    """Send what is still to be written nowhere, so that Python's exit does not stumble."""
    nowhere = os.open(os.devnull, os.O_WRONLY)

    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())

    os.close(nowhere)


@asynccontextmanager
async def ended_with_reader() -> AsyncIterator[None]:
    """
    End what goes on inside the context soon after whoever read the standard output has left.

    For what may have nothing to write for long, and would not learn of it until then. A
    terminal that is closed tells by SIGHUP.

    Raises:
        OutputClosedError: They have left; it is in a group.
    """
    import anyio

    async with anyio.create_task_group() as tasks:
        if not is_terminal(sys.stdout):
            tasks.start_soon(_watch_reader, sys.stdout)

        yield
        tasks.cancel_scope.cancel()


async def _watch_reader(stream: TextIO) -> None:
    """Look at a pipe or a socket until its other end is closed; what is neither has none."""
    looks = select.poll()

    try:
        # Linux tells without being asked; macOS only who asks for something to read.
        looks.register(stream, select.POLLRDBAND)
    except OSError:
        # No file at all, as in a program that has put something of its own there.
        return

    has_left = select.POLLERR | select.POLLHUP

    while not any(what & has_left for _, what in looks.poll(0)):  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(_LOOK)

    raise OutputClosedError


def is_in_foreground(stream: TextIO) -> bool:
    """Whether the terminal of the stream is ours to write to now."""
    try:
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except OSError:
        return False


def _open_nowhere(mode: str) -> TextIO:
    # Kept open until the program ends.
    return TextIOWrapper(open(os.devnull, f"{mode}b"), encoding="utf-8")  # noqa: PTH123


@contextmanager
def named_errors() -> Iterator[None]:
    """Name the errors of whatever writes to the standard streams inside the context."""
    try:
        yield
    except (BrokenPipeError, ConnectionResetError) as error:
        raise OutputClosedError from error
    except OSError as error:
        raise CommandError(f"cannot write the output: {error.strerror}") from error
