"""The files whose locks order commits, checkpoints and migrations."""

import fcntl
import logging
import os
import time
from pathlib import Path
from typing import Final

from queuectl.engine.descriptors import close_own, keep_from_forks
from queuectl.engine.errors import StoreBusyError, StoreError
from queuectl.engine.store.sqlite.connection import refused

_log = logging.getLogger(__name__)

# Seconds between two tries: the first pause, how it grows, and the longest. Who has
# such a lock has it for milliseconds, or was stopped.
_FIRST_PAUSE: Final = 0.001
_GROWTH: Final = 1.25
_LONGEST_PAUSE: Final = 0.01


def open_lock(file: Path, database: Path) -> int:
    """
    Open one of these files, made for its owner alone.

    Returns:
        A descriptor, for `close_lock`; it is closed in processes that are forked
        and go on as Python.

    Raises:
        StoreError: It is a link, or cannot be opened.
    """
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        problem = f"cannot make the lock file {file}"
        raise refused(error, database, problem, hint="check the permissions") from error

    return keep_from_forks(descriptor)


def close_lock(descriptor: int) -> None:
    """Close a file that `open_lock` has opened, and give its lock up."""
    # To close it is not enough: a process that was forked may have the same open file.
    release_lock(descriptor)
    close_own(descriptor)


def take_lock(descriptor: int, how: int, *, until: float) -> bool:
    """
    Take a lock that others may have for a moment. Blocking.

    The system's own wait has no end, and one that was stopped gives nothing back.

    Args:
        descriptor: Of the open file.
        how: ``LOCK_SH`` or ``LOCK_EX``.
        until: When to give up, by the monotonic clock.

    Returns:
        Whether it was taken.

    Raises:
        OSError: The system refuses it.
    """
    pause = _FIRST_PAUSE

    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False

            time.sleep(pause)  # noqa: TID251 (in the connection's thread)
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)
        else:
            return True


def release_lock(descriptor: int) -> None:
    """Give a lock up; that it fails does not undo what was done while it was held."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except OSError as error:
        _log.error("cannot give a file lock up: %s", error)


def cannot_lock(database: Path, error: OSError) -> StoreError:
    """Return the error for a lock that the system refuses, as some network disks do."""
    return StoreError(database, f"cannot lock the database ({error.strerror})")


def held_by_another(database: Path) -> StoreBusyError:
    """Return the error for a lock that somebody has had for too long."""
    return StoreBusyError(
        database,
        "the database is locked by another program",
        hint="try again when it is done; a worker that was stopped meanwhile is shown by:"
        " queuectl worker list",
    )
