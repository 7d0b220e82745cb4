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
    """Whether a worker holds its lock."""
    path = folder.worker(worker.token) / LOCK_NAME
    return is_locked(path) if _is_file(path) else _holds_deleted(worker, path)


def has_lock(folder: StateFolder, worker: WorkerRow) -> bool:
    """Whether a worker's lock file is where it was made."""
    return _is_file(folder.worker(worker.token) / LOCK_NAME)


def has_live_worker(folder: StateFolder) -> bool:
    """Whether any worker holds its lock."""
    locks = (home / LOCK_NAME for home in folder.workers.iterdir())
    return any(_is_file(lock) and is_locked(lock) for lock in locks)


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


def _is_file(path: Path) -> bool:
    """Whether there is a file, and not a link that somebody put in its place."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _holds_deleted(worker: WorkerRow, path: Path) -> bool:
    """
    Whether a process has a lock file open that was deleted under it.

    Where that cannot be seen, that there is a process of its number has to do.
    """
    if not is_of_this_boot(worker):
        return False

    folder = f"/proc/{worker.pid}/fd"
    try:
        return any(
            os.readlink(f"{folder}/{name}") == f"{path} (deleted)" for name in os.listdir(folder)
        )
    except FileNotFoundError:
        return not os.path.isdir("/proc/self") and has_process(worker.pid)
    except PermissionError:
        return True


def has_process(pid: int) -> bool:
    """Whether there is a process of this number, whose ever it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True

    return True
