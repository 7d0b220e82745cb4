"""Moves the write-ahead log into the database, one process at a time."""

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Final

# About a thousand small commits; a checkpoint of this takes some milliseconds.
LARGEST_WAL: Final = 4 * 1024 * 1024


class Checkpointer:
    """
    Checkpoints when the log has grown.

    Only RESTART and TRUNCATE are used: they take the writer's lock before they
    read the log's header, so that no commit can reset the log meanwhile. A
    PASSIVE one racing a commit can lose it in SQLite 3.7.0 to 3.51.2
    (https://sqlite.org/wal.html#walresetbug).
    """

    def __init__(self, path: Path) -> None:
        self._wal = path.with_name(path.name + "-wal")
        self._lock = path.with_name(path.name + "-checkpoint")
        self._limit = LARGEST_WAL

    def is_due(self) -> bool:
        """Whether the log is long enough to bother."""
        return self._size() >= self._limit

    def run(self, connection: sqlite3.Connection) -> None:
        """Checkpoint; where that cannot be now, ask for more log before the next."""
        size = self._size()
        self._limit = LARGEST_WAL if self.checkpoint(connection) else size + LARGEST_WAL

    def checkpoint(self, connection: sqlite3.Connection) -> bool:
        """
        Move the whole log into the database and cut it.

        Returns:
            False where another process does it already, or a reader needs
            the log still.
        """
        flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(self._lock, flags, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False

        try:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            os.close(lock)

        return not busy

    def _size(self) -> int:
        try:
            return os.stat(self._wal).st_size
        except FileNotFoundError:
            return 0
