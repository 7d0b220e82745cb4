"""A small disk of its own for a run that fills it, where one can be mounted."""

import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# More than the engine lets its log grow before it cuts it, and room for what is kept of
# each job's outputs: else it is full for ever.
_SIZE: Final = 8 << 20
_SIZE_OF_A_JOB: Final = 64 << 10
_MNT_DETACH: Final = 2


@contextmanager
def small_disk(folder: Path, jobs: int = 0) -> Iterator[None]:
    """
    Have a small disk in a folder while in the context.

    Args:
        folder: There, and empty.
        jobs: How many jobs are to leave their outputs on it.

    Raises:
        OSError: The system does not let us.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    name = os.fsencode(folder)

    size = _SIZE + jobs * _SIZE_OF_A_JOB

    if libc.mount(b"chaos", name, b"tmpfs", 0, f"size={size}".encode()):
        raise OSError(ctypes.get_errno(), "cannot mount", str(folder))

    try:
        yield
    finally:
        libc.umount2(name, _MNT_DETACH)


def can_mount() -> bool:
    """Whether a small disk can be had here."""
    if sys.platform != "linux":
        return False

    with tempfile.TemporaryDirectory() as folder:
        try:
            with small_disk(Path(folder)):
                return True
        except OSError:
            return False
