"""
Who is alive: whoever holds its lock, whatever clocks and process numbers say.

A worker holds a lock for its life. Free means dead, within a millisecond, and a
worker that is stopped, suspended or blocked keeps what it has.
"""

import functools
import os
import stat
from pathlib import Path
from typing import Final

from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.locks import is_locked
from queuectl.engine.store.base import WorkerRow

LOCK_NAME: Final = "lock"


def is_alive(folder: StateFolder, worker: WorkerRow) -> bool:
    """Whether a worker holds its lock, wherever the file is by now."""
    path = folder.worker(worker.token) / LOCK_NAME
    found = _identity(path)

    if found is not None and worker.lock_file in {None, found}:
        return is_locked(path)

    return _has_lock_open(folder, worker)


def lock_identity(descriptor: int) -> str:
    """Return what a lock is known by where its file has been moved or deleted."""
    found = os.fstat(descriptor)
    return f"{found.st_dev}:{found.st_ino}"


def has_lock(folder: StateFolder, worker: WorkerRow) -> bool:
    """Whether a worker's lock file is where it was made."""
    found = _identity(folder.worker(worker.token) / LOCK_NAME)
    return found is not None and worker.lock_file in {None, found}


def has_live_worker(folder: StateFolder) -> bool:
    """Whether any worker holds its lock."""
    locks = (home / LOCK_NAME for home in folder.workers.iterdir())
    return any(_identity(lock) is not None and is_locked(lock) for lock in locks)


def is_of_this_boot(worker: WorkerRow) -> bool:
    """Whether a worker began since the machine was started."""
    return worker.boot_id == boot_id()


def is_in_sight(worker: WorkerRow) -> bool:
    """Whether its process number, and those of its runs, mean here what they meant there."""
    return is_of_this_boot(worker) and worker.pid_namespace == pid_namespace()


@functools.cache
def boot_id() -> str:
    """Return what changes when the machine boots, empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


@functools.cache
def pid_namespace() -> str:
    """Return what containers differ in, empty where the system has no such thing."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _identity(path: Path) -> str | None:
    """Return device and inode of a file; None where there is none, or a link in its place."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None

    return f"{found.st_dev}:{found.st_ino}" if stat.S_ISREG(found.st_mode) else None


def _has_lock_open(folder: StateFolder, worker: WorkerRow) -> bool:
    """
    Whether a worker has its lock open, whose file was deleted or replaced under it.

    Where that cannot be seen, that there is a process of its number has to do.
    """
    if not is_of_this_boot(worker):
        return False

    if not is_in_sight(worker):
        # Nobody here can tell; what it runs stays its own.
        return True

    if not os.path.isdir("/proc/self") or worker.lock_file is None:
        return has_process(worker.pid)

    open_files = f"/proc/{worker.pid}/fd"
    try:
        return any(
            _is_open_as(path, worker.lock_file) and not _is_of_another(folder, path)
            for path in (f"{open_files}/{name}" for name in os.listdir(open_files))
        )
    except FileNotFoundError:
        return False
    except PermissionError:
        return True


def _is_open_as(path: str, identity: str) -> bool:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False

    return f"{found.st_dev}:{found.st_ino}" == identity


def _is_of_another(folder: StateFolder, path: str) -> bool:
    """Whether an open lock is in the folder of another database, of which ours is a copy."""
    parents = Path(os.readlink(path)).parents

    # Near the root there is no state folder around it.
    if len(parents) < len(("TOKEN", "workers", "queue.db-run")):
        return False

    state_folder = parents[2]
    database = Path(str(state_folder).removesuffix("-run"))
    is_elsewhere = database not in {state_folder, folder.database}
    return is_elsewhere and os.path.lexists(database)


def has_process(pid: int) -> bool:
    """Whether there is a process of this number, whose ever it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True

    return True
