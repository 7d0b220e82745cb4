"""What starts a run's processes, as whoever runs jobs meets it."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from queuectl.engine.runtime.ending import Remains
from queuectl.engine.runtime.marks import Mark
from queuectl.engine.runtime.reaper import ProcessResult
from queuectl.engine.runtime.runfiles import RunFiles


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """
    What to start.

    Attributes:
        command: The command, for the shell.
        note: Says whose exit code it will be.
        mark: Carried by its processes, wherever they go.
        cwd: The folder to run in, absolute.
        env: The whole environment.
        files: Open, for the lock, the exit code and the output.
        is_wanted: Asked when all is ready: a start may have to wait for others'.
    """

    command: str
    note: str
    mark: Mark
    cwd: str
    env: dict[str, str]
    files: RunFiles
    is_wanted: Callable[[], bool]


class RunningProcess(Protocol):
    """A process that was started."""

    @property
    def pid(self) -> int:
        """Its number, which is its group's too."""

    @property
    def told_at(self) -> float | None:
        """When it was first told to end, as `file_time` says; None where it was not."""

    async def wait(self) -> ProcessResult:
        """Return when it has ended; what it left running may go on."""

    def has_ended(self) -> bool:
        """Whether it has ended, so that waiting for it takes no time."""

    async def end_group(self, grace: float) -> Remains:
        """End all of its group that is left: TERM, ``grace`` seconds, KILL."""

    async def end_tree(self, grace: float) -> Remains:
        """End its group, and what has left that."""


class Runner(Protocol):
    """Starts processes."""

    async def start(self, request: RunRequest) -> RunningProcess | None:
        """
        Start a command; not to be cancelled.

        Returns:
            None where it is not wanted any more, and nothing was started.

        Raises:
            OSError: The system did not start it.
            ValueError: No program can be given this.
            RuntimeError: The event loop cannot start anything.
        """
