"""Processes that are stopped, as by Ctrl-Z, where they keep nobody else out."""

import fcntl
import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from queuectl.engine.store.places import gate_file

_PATIENCE: Final = 10.0


def stand_still(pid: int, database: Path) -> None:
    """
    Stop a worker's process between its commits: within one it would hold the database's locks.

    Raises:
        AssertionError: It is never between them.
    """
    until = time.monotonic() + _PATIENCE

    while time.monotonic() < until:
        os.kill(pid, signal.SIGSTOP)

        while _state(pid) != "T":
            os.sched_yield()

        if _is_free(database):
            return

        os.kill(pid, signal.SIGCONT)

    raise AssertionError(f"process {pid} holds {database} all the time")


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").split(")")[-1][1]


def _is_free(database: Path) -> bool:
    gate = os.open(gate_file(database), os.O_RDWR | os.O_CLOEXEC)

    try:
        fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)

        with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except (BlockingIOError, sqlite3.OperationalError):
        return False
    finally:
        os.close(gate)

    return True
