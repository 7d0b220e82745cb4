"""Who delivers to webhooks: one worker of a database, whose name is in the file that it locks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from queuectl.engine.descriptors import keep_from_forks
from queuectl.engine.domain.models import worker_name
from queuectl.engine.runtime.locks import is_locked, open_private, release, try_lock
from queuectl.engine.runtime.reporting import reported

# As long each time: what is written over needs no room on the disk.
_LONGEST_NAME: Final = 20


@contextmanager
def held(lock: Path, worker: int) -> Iterator[bool]:
    """
    Hold the lock of who delivers while in the context; False where another holds it.

    Args:
        lock: The file.
        worker: The number of whoever is to deliver.

    Raises:
        OSError: It cannot be opened, locked or let go of.
    """
    descriptor = keep_from_forks(open_private(lock))

    try:
        yield _took(descriptor, worker)
    finally:
        release(descriptor)


def who_delivers(lock: Path) -> str | None:
    """
    Return the name of the worker that has the lock; None without one. Blocking.

    It may be empty, where one has just taken it or could not write.

    Args:
        lock: The file; where it cannot be read, nobody is known to have it.
    """
    try:
        if not is_locked(lock):
            return None

        name = lock.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None

    return name if name.isalnum() else ""


def _took(descriptor: int, worker: int) -> bool:
    if not try_lock(descriptor):
        return False

    with reported("cannot write down who delivers to webhooks"):
        os.pwrite(descriptor, f"{worker_name(worker):<{_LONGEST_NAME}}\n".encode(), 0)

    return True
