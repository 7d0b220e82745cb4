"""Open files of ours: what becomes of them in a fork, and when a folder is on the disk."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

# What a process that the host program forks is to close: it would hold our locks when
# we are dead, so that nobody can commit, and be taken for a part of our runs.
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
    # Before it is closed: its number is anybody's then.
    _OURS.discard(descriptor)
    os.close(descriptor)


def fsync_folder(folder: Path) -> None:
    """
    Return when the names in a folder are on the disk. Blocking.

    Raises:
        OSError: The system refuses it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)

    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _close_in_fork() -> None:
    for descriptor in _OURS:
        # The host may have closed one of them itself; the others go all the same.
        with suppress(OSError):
            os.close(descriptor)

    _OURS.clear()


# A command is not forked so: it keeps what it is given.
os.register_at_fork(after_in_child=_close_in_fork)
