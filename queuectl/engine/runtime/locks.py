"""
File locks as proof of life.

A lock made with flock belongs to the open file, is inherited by the processes
that inherit the file, and is free the moment the last of them is gone.
"""

import fcntl
import os
from pathlib import Path

from queuectl.engine.descriptors import close_own

_HIGHEST_NAMED = 9
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


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


def release(descriptor: int) -> None:
    """
    Give up the lock of an open file, and close it.

    A process that the host program has just forked may have it open still, and
    would keep the lock.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        close_own(descriptor)


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
