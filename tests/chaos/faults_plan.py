"""Which operation fails, and how; counts operations and lets one of them fail."""

import errno
import fcntl
import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import msgspec

from tests.chaos import faults_vfs as vfs


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """
    A way to fail.

    Attributes:
        name: For people.
        operations: What is counted, and what each of them fails with: a result code of
            SQLite, or an errno where the operation is one of ours.
        is_ours: Whether the operations are calls of the engine, not of SQLite.
        is_lasting: Whether everything fails from there on, until the process ends.
    """

    name: str
    operations: dict[str, int]
    is_ours: bool = False
    is_lasting: bool = False


_FULL: Final = {"write": vfs.FULL, "map": vfs.IOERR_SHMMAP}
_OURS: Final = ("open", "pwrite", "ftruncate", "rename", "fsync", "mkfifo", "flock", "mkdir")

KINDS: Final = (
    Kind(name="disk full once", operations=_FULL),
    Kind(name="disk full for good", operations=_FULL, is_lasting=True),
    Kind(
        name="write error",
        operations={"write": vfs.IOERR_WRITE, "truncate": vfs.IOERR_TRUNCATE},
    ),
    Kind(name="sync error", operations={"sync": vfs.IOERR_FSYNC}),
    Kind(name="read error", operations={"read": vfs.IOERR_READ}),
    Kind(name="open error", operations={"open": vfs.CANTOPEN, "delete": vfs.IOERR_DELETE}),
    Kind(name="ENOSPC", operations=dict.fromkeys(_OURS, errno.ENOSPC), is_ours=True),
    Kind(name="EIO", operations=dict.fromkeys(_OURS, errno.EIO), is_ours=True),
    Kind(name="EMFILE", operations=dict.fromkeys(_OURS, errno.EMFILE), is_ours=True),
)


class Plan:
    """
    Lets the N-th operation of a kind fail.

    Args:
        kind: The way to fail.
        number: Which operation, the first is 1; 0 for none.
        fired: Called with what failed, the first time.
    """

    def __init__(self, kind: Kind, number: int, fired: Callable[[str], object]) -> None:
        self._kind = kind
        self._number = number
        self._fired = fired
        self._count = 0

    def due(self, operation: str, subject: str) -> int:
        """Count an operation; return what it is to fail with, 0 for nothing."""
        if operation not in self._kind.operations:
            return 0

        self._count += 1

        if self._count == self._number:
            self._fired(f"{operation} {subject}")
        elif not (self._kind.is_lasting and 0 < self._number < self._count):
            return 0

        return self._kind.operations[operation]


class FailingFiles:
    """A watcher of SQLite's files that lets a plan decide."""

    def __init__(self) -> None:
        self.plan: Plan | None = None

    def fault(self, operation: str, path: str) -> int:
        """Ask the plan, where there is one."""
        return vfs.OK if self.plan is None else self.plan.due(operation, path)

    def opened(self, path: str) -> None:
        del path

    def deleted(self, path: str, *, synced: bool) -> None:
        del path, synced

    def wrote(self, path: str, offset: int, data: bytes) -> None:
        del path, offset, data

    def truncated(self, path: str, size: int) -> None:
        del path, size

    def sync_begins(self, path: str) -> int:
        del path
        return 0

    def synced(self, path: str, mark: int) -> None:
        del path, mark


def fail_our_calls(plan: Plan) -> None:
    """Let the plan decide on each call that the engine makes; this cannot be undone."""
    for name in _OURS:
        module = fcntl if name == "flock" else os
        setattr(module, name, _deciding(name, getattr(module, name), plan))


def _deciding(name: str, function: Callable[..., Any], plan: Plan) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        caller = _caller(sys._getframe(1))

        if caller.startswith("queuectl.engine"):
            subject = f"{arguments[0] if arguments else ''} in {caller}"

            if code := plan.due(name, subject):
                raise OSError(code, os.strerror(code))

        return function(*arguments, **named)

    return call


def _caller(frame: FrameType | None) -> str:
    """Return the module that a call comes from, behind the standard library's helpers."""
    while frame is not None:
        name: str = frame.f_globals.get("__name__", "")

        if not name.startswith(("pathlib", "os", "shutil")):
            return name

        frame = frame.f_back

    return ""
