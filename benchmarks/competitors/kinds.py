"""What a competitor is to the program that measures it."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.bench import Bench, CannotRunError

SLOTS: Final = 4


class Competitor(msgspec.Struct, frozen=True, kw_only=True):
    """
    A way to run shell commands.

    Attributes:
        name: With what matters of its settings.
        lacks: What it does not do that queuectl does.
        jobs: How many a round takes: so many that it lasts seconds, not half a minute.
        opened: Gives what runs so many jobs, whatever has to run beside it, and ends that.
            Raises CannotRunError where it is not installed.
    """

    name: str
    lacks: str
    jobs: int
    opened: Callable[[Bench], AbstractContextManager[Callable[[int], float]]]


def find(program: str) -> str:
    """
    Return the path of a program.

    Raises:
        CannotRunError: It is not installed.
    """
    path = shutil.which(program)

    if path is None:
        raise CannotRunError(f"{program} is not installed")

    return path


@contextmanager
def gate(folder: Path, holders: int) -> Iterator[tuple[str, Callable[[], None]]]:
    """
    Hold a queue that runs what it has at once, until it has everything.

    Gives:
        The command of a job that holds a slot, for up to `holders` jobs, and what lets all
        of them go.
    """
    path = folder / "gate"
    os.mkfifo(path, 0o600)
    # Open for both, so that nobody waits for the other side.
    pipe = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def let_go() -> None:
        os.write(pipe, b"go\n" * holders)

    try:
        yield f"read word < {path}", let_go
    finally:
        os.close(pipe)
