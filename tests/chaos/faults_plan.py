"""Which operation fails, and how; counts operations and lets one of them fail."""

import builtins
import errno
import fcntl
import io
import os
import re
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
        is_recovery: Whether it is a worker that is disturbed that settles what others left.
    """

    name: str
    operations: dict[str, int]
    is_ours: bool = False
    is_lasting: bool = False
    is_recovery: bool = False


_FULL: Final = {"write": vfs.FULL, "map": vfs.IOERR_SHMMAP}
_OURS: Final = ("open", "pwrite", "ftruncate", "rename", "fsync", "mkfifo", "flock", "mkdir")
# Where processes and the files of others are looked at: what only reads may fail too.
_LOOKS: Final = ("open_file", "stat", "lstat", "listdir", "readlink", "pread", "unlink")
_DESCRIPTORS: Final = ("open", "open_file", "listdir", "pidfd_open", "mkfifo")
_ALL_OF_SQLITE: Final = {
    "open": vfs.CANTOPEN,
    "read": vfs.IOERR_READ,
    "write": vfs.IOERR_WRITE,
    "truncate": vfs.IOERR_TRUNCATE,
    "sync": vfs.IOERR_FSYNC,
    "delete": vfs.IOERR_DELETE,
}
# Where the functions are; what opens a file is known by two more names.
_MODULES: Final = {"flock": (fcntl,), "open_file": (builtins, io)}

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
    Kind(
        name="recovery, EIO",
        operations=dict.fromkeys((*_OURS, *_LOOKS), errno.EIO),
        is_ours=True,
        is_recovery=True,
    ),
    Kind(name="recovery, SQLite", operations=_ALL_OF_SQLITE, is_recovery=True),
    Kind(
        name="recovery, EMFILE",
        operations=dict.fromkeys(_DESCRIPTORS, errno.EMFILE),
        is_ours=True,
        is_recovery=True,
    ),
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
        self._is_armed = not kind.is_recovery

    def arm(self) -> None:
        """Count from here."""
        self._is_armed = True

    @property
    def operations(self) -> frozenset[str]:
        """What is counted."""
        return frozenset(self._kind.operations)

    def due(self, operation: str, subject: str) -> int:
        """Count an operation; return what it is to fail with, 0 for nothing."""
        if not self._is_armed or operation not in self._kind.operations:
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


def fail_our_calls(plan: Plan, mark: str) -> None:
    """
    Let the plan decide on each call that the engine makes; this cannot be undone.

    Args:
        plan: Counts them.
        mark: What the processes of its jobs have in their environment. Looks at other
            processes are not counted: a machine has any number of them.
    """
    for operation in sorted(plan.operations):
        name = operation.removesuffix("_file")

        for module in _MODULES.get(operation, (os,)):
            function = getattr(module, name)
            setattr(module, name, _deciding(operation, function, plan, _Strangers(mark)))


class _Strangers:
    """
    Knows which paths are of processes that are nobody's job.

    Args:
        mark: What the processes of jobs have in their environment.
    """

    def __init__(self, mark: str) -> None:
        self._mark = mark.encode()
        self._open = open
        self._known: dict[str, bool] = {}

    def have(self, path: object = "") -> bool:
        """Whether a path is one of theirs."""
        found = re.match(r"/proc/(\d+)\b", str(path))
        return found is not None and not self._is_ours(found[1])

    def _is_ours(self, pid: str) -> bool:
        if pid not in self._known:
            try:
                with self._open(f"/proc/{pid}/environ", "rb") as file:
                    self._known[pid] = self._mark in file.read()
            except OSError:
                # Gone, a zombie, or somebody else's.
                return False

        return self._known[pid]


def _deciding(
    name: str, function: Callable[..., Any], plan: Plan, strangers: _Strangers
) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        caller = _caller(sys._getframe(1))

        if caller.startswith("queuectl.engine") and not strangers.have(*arguments[:1]):
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
