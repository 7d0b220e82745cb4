"""
Who is alive: whoever holds its lock, whatever clocks and process numbers say.

A worker holds a lock for its life. Free means dead, within a millisecond, and a
worker that is stopped, suspended or blocked keeps what it has.
"""

import fcntl
import functools
import os
import re
import shutil
import stat
from pathlib import Path
from typing import Final

from queuectl.engine.descriptors import close_own, keep_from_forks
from queuectl.engine.runtime import proc
from queuectl.engine.runtime.folder import StateFolder, make_private
from queuectl.engine.runtime.locks import is_locked, open_folder, open_private
from queuectl.engine.store.base import WorkerRow
from queuectl.engine.store.places import database_of

LOCK_NAME: Final = "lock"

_LONGEST_COUNT: Final = 16
_COUNT: Final = re.compile(rb"([0-9]{1,9}) *\n")

# No such file, or none for us; anything else is an error of this moment.
_NOT_SAID: Final = (FileNotFoundError, NotADirectoryError, PermissionError)


class Home:
    """
    A worker's folder, locked before anybody can know of the worker.

    Args:
        folder: Of the database.

    Raises:
        OSError: The folder or the lock cannot be made.
    """

    def __init__(self, folder: StateFolder) -> None:
        # As `secrets.token_hex`, which to import costs each command two milliseconds.
        self.path: Path = folder.worker(os.urandom(8).hex())

        try:
            self._lock = self._make_and_lock()
        except BaseException:
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def _make_and_lock(self) -> int:
        while True:
            make_private(self.path)
            lock = open_private(self.path / LOCK_NAME)

            try:
                # Not "try": somebody who only looks whether it is held may hold it just now.
                fcntl.flock(lock, fcntl.LOCK_EX)

                # Whoever sweeps may have taken it for a dead one's before it was locked.
                if _file_identity(self.path / LOCK_NAME) == _identity(os.fstat(lock)):
                    _write_count(lock, 0)
                    return keep_from_forks(lock)
            except BaseException:
                os.close(lock)
                raise

            os.close(lock)

    def count_sets(self, count: int) -> None:
        """Write down how many sets of run files there are, so that a removed one is missed."""
        _write_count(self._lock, count)

    def identity(self) -> str:
        """Return what the lock is known by, wherever its file goes."""
        return _identity(os.fstat(self._lock))

    def let_go(self) -> None:
        """Let go of the lock, and leave the folder: whoever recovers what is left needs it."""
        close_own(self._lock)

    def remove(self) -> None:
        """Remove the folder, and let go of the lock."""
        shutil.rmtree(self.path, ignore_errors=True)
        close_own(self._lock)


def sets_counted(home: Path) -> int | None:
    """Return how many sets of run files a worker had made; None where that is gone. Blocking."""
    try:
        descriptor = os.open(home / LOCK_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None

    try:
        found = _COUNT.fullmatch(os.pread(descriptor, _LONGEST_COUNT, 0))
    finally:
        os.close(descriptor)

    return int(found[1]) if found else None


def _write_count(lock: int, count: int) -> None:
    # As long each time: what is written over needs no room on the disk.
    os.pwrite(lock, f"{count:<9}\n".encode(), 0)


def open_lock(home: Path, *, by_file: bool) -> int:
    """
    Open what a dead worker's lock is taken by.

    Args:
        home: The worker's folder.
        by_file: Whether the lock file is there. One that was deleted is not made anew:
            that it is missing says that other files may be, and the folder has to do.

    Returns:
        A descriptor, not locked, for `locks.release`.

    Raises:
        OSError: It is a link, or cannot be opened.
    """
    return keep_from_forks(open_private(home / LOCK_NAME) if by_file else open_folder(home))


def is_alive(folder: StateFolder, worker: WorkerRow) -> bool:
    """Whether a worker holds its lock, wherever the file is by now."""
    path = folder.worker(worker.token) / LOCK_NAME
    found = _file_identity(path)

    if found is not None and worker.lock_file in {None, found}:
        return is_locked(path)

    return _has_lock_open(folder, worker)


def has_successor(worker: WorkerRow) -> bool:
    """
    Whether a dead worker's process goes on, to come back as another worker.

    It left its runs on purpose, and is the only one who can wait for their shells.
    Of our own process that is not said: we are that successor.
    """
    if not worker.restart or worker.pid == os.getpid() or not is_in_sight(worker):
        return False

    return goes_on(worker.pid)


def goes_on(pid: int) -> bool:
    """Whether a process goes on; where it can be told, one does not that nobody has waited for."""
    return bool(proc.find_process(pid)) if proc.can_list() else has_process(pid)


def has_lock(folder: StateFolder, worker: WorkerRow) -> bool:
    """Whether a worker's lock file is where it was made."""
    found = _file_identity(folder.worker(worker.token) / LOCK_NAME)
    return found is not None and worker.lock_file in {None, found}


def has_live_worker(folder: StateFolder) -> bool:
    """Whether any worker holds its lock."""
    locks = (home / LOCK_NAME for home in folder.workers.iterdir())
    return any(_file_identity(lock) is not None and is_locked(lock) for lock in locks)


def is_of_this_boot(worker: WorkerRow) -> bool:
    """Whether a worker began since the machine was started."""
    return worker.boot_id == boot_id()


def is_in_sight(worker: WorkerRow) -> bool:
    """Whether its process number, and those of its runs, mean here what they meant there."""
    return is_of_this_boot(worker) and worker.pid_namespace == pid_namespace()


@functools.cache
def boot_id() -> str:
    """
    Return what changes when the machine boots, empty where the system does not say.

    Raises:
        OSError: It cannot say now, as without free descriptors; that is no other boot.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except _NOT_SAID:
        return ""


@functools.cache
def pid_namespace() -> str:
    """
    Return what containers differ in, empty where the system has no such thing.

    Raises:
        OSError: As `boot_id`.
    """
    try:
        return os.readlink("/proc/self/ns/pid")
    except _NOT_SAID:
        return ""


def _identity(found: os.stat_result) -> str:
    """Return device and inode: what a lock is known by, wherever its file goes."""
    return f"{found.st_dev}:{found.st_ino}"


def _file_identity(path: Path) -> str | None:
    """Return device and inode of a file; None where there is none, or a link in its place."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None

    return _identity(found) if stat.S_ISREG(found.st_mode) else None


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

    device, inode = map(int, worker.lock_file.split(":"))
    try:
        return any(
            found.identity == (device, inode) and not _is_of_another(folder, found.path)
            for found in proc.open_files(worker.pid, {inode})
        )
    except FileNotFoundError:
        return False
    except PermissionError:
        return True


def _is_of_another(folder: StateFolder, path: str) -> bool:
    """Whether an open lock is in the folder of another database, of which ours is a copy."""
    parents = Path(os.readlink(path)).parents

    # Near the root there is no state folder around it.
    if len(parents) < len(("TOKEN", "workers", "queue.db-run")):
        return False

    database = database_of(parents[2])
    return database is not None and database != folder.database and os.path.lexists(database)


def has_process(pid: int) -> bool:
    """Whether there is a process of this number, whose ever it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True

    return True
