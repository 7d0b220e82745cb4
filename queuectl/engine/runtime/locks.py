"""
File locks as proof of life.

A lock made with flock belongs to the open file, is inherited by the processes
that inherit the file, and is free the moment the last of them is gone.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

_HIGHEST_NAMED = 9
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


# What a process that the host program forks is to close: it would hold our locks
# when we are dead, and be taken for a part of our runs.
_OURS: Final[set[int]] = set()


def keep_from_forks(descriptor: int) -> int:
    """Have a descriptor closed in processes that are forked and go on as Python."""
    _OURS.add(descriptor)
    return descriptor


def forget(descriptor: int) -> None:
    """Leave the closing of a descriptor that `keep_from_forks` was told of to somebody else."""
    _OURS.discard(descriptor)


def close_own(descriptor: int) -> None:
    """Close a descriptor that `keep_from_forks` was told of."""
    _OURS.discard(descriptor)
    os.close(descriptor)


def _close_in_fork() -> None:
    for descriptor in _OURS:
        os.close(descriptor)

    _OURS.clear()


# A command is not forked so: it keeps what it is given.
os.register_at_fork(after_in_child=_close_in_fork)


def open_private(path: Path, flags: int = 0) -> int:
    """
    Open a file for reading and writing, made for its owner alone.

    Returns:
        A descriptor; the caller closes it.

    Raises:
        OSError: It is a link, or cannot be opened.
    """
    return os.open(path, _FLAGS | flags, 0o600)


def open_folder(path: Path) -> int:
    """
    Open a folder, to take its lock in place of a file's.

    Returns:
        A descriptor; the caller closes it.

    Raises:
        OSError: It is a link, or cannot be opened.
    """
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def lift(descriptor: int) -> int:
    """
    Move a descriptor out of the range that shell code can name, 0 to 9.

    Returns:
        The descriptor's new number; the old one is closed where it changed.
    """
    if descriptor > _HIGHEST_NAMED:
        return descriptor

    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGHEST_NAMED + 1)
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Take the lock of an open file, where nobody holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False

    return True


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock of a file; a missing file is not locked."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False

    try:
        # Shared: two who look at once do not take each other for the holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)

    return False
