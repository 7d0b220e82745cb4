"""Moves the write-ahead log into the database, while nobody of ours commits."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from queuectl.engine.store.places import gate_file, turnstile_file, wal_file
from queuectl.engine.store.sqlite.connection import BUSY_SECONDS
from queuectl.engine.store.sqlite.filelocks import (
    cannot_lock,
    close_lock,
    held_by_another,
    open_lock,
    release_lock,
    take_lock,
)

# About a thousand small commits; a checkpoint of this takes some milliseconds.
LARGEST_WAL: Final = 4 * 1024 * 1024

# Seconds that a checkpoint waits for commits under way.
_COMMITS_SECONDS: Final = 0.5

# How much more log there must be before a reader is met again, at the most.
_LARGEST_STEP: Final = 64 * 1024 * 1024

# Milliseconds that a checkpoint waits for readers; everybody's writes wait too.
_READERS_MS: Final = 100

_SHARED_AT_ONCE: Final = fcntl.LOCK_SH | fcntl.LOCK_NB


class Checkpointer:
    """
    Checkpoints when the log has grown.

    In SQLite 3.7.0 to 3.51.2 a PASSIVE checkpoint that races a commit can lose
    it (https://sqlite.org/wal.html#walresetbug). TRUNCATE takes the writer's
    lock first, which rules that out, but falls back to PASSIVE where it does
    not get the lock. So every commit of ours holds a shared file lock, and a
    checkpoint is made only by who has that lock alone: then the writer's lock
    is free, and only readers can make it wait. Commits pass a turnstile on
    their way in, which a checkpoint closes, so that they cannot keep it out.

    Args:
        path: The database.

    Raises:
        StoreError: A lock file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal = wal_file(path)
        self._limit = LARGEST_WAL
        self._gate = open_lock(gate_file(path), path)

        try:
            self._turnstile = open_lock(turnstile_file(path), path)
        except BaseException:
            close_lock(self._gate)
            raise

    def close(self) -> None:
        """Close the file locks; closing twice is the same."""
        if self._gate >= 0:
            close_lock(self._gate)
            close_lock(self._turnstile)
            self._gate = -1

    @contextmanager
    def committing(self) -> Iterator[None]:
        """
        Keep checkpoints away while in the context.

        Raises:
            StoreBusyError: One does not come to its end, as where it was stopped.
            StoreError: The system refuses the lock.
        """
        try:
            try:
                self._enter()
            except OSError as error:
                raise cannot_lock(self._path, error) from error

            release_lock(self._turnstile)
            yield
        finally:
            release_lock(self._turnstile)
            release_lock(self._gate)

    def is_due(self) -> bool:
        """Whether the log is long enough to bother."""
        return self._size() >= self._limit

    def run(self, connection: sqlite3.Connection) -> None:
        """Checkpoint; where a reader is in the way, wait for more log before the next try."""
        try:
            fcntl.flock(self._turnstile, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Somebody goes in, or checkpoints; the next commit tries again.
            return

        try:
            size = self._size()
            # Raised first: whatever goes wrong, the next commit does not try again.
            self._limit = max(LARGEST_WAL, size + min(size, _LARGEST_STEP))

            if self._is_alone() and self._truncate(connection):
                self._limit = LARGEST_WAL
        finally:
            release_lock(self._gate)
            release_lock(self._turnstile)

    def _enter(self) -> None:
        try:
            fcntl.flock(self._turnstile, _SHARED_AT_ONCE)
            fcntl.flock(self._gate, _SHARED_AT_ONCE)
        except BlockingIOError:
            self._wait_to_enter()

    def _wait_to_enter(self) -> None:
        until = time.monotonic() + BUSY_SECONDS

        for lock in (self._turnstile, self._gate):
            if not take_lock(lock, fcntl.LOCK_SH, until=until):
                raise held_by_another(self._path)

    def _is_alone(self) -> bool:
        """Wait for those who commit; nobody follows them. One that is stopped is not waited for."""
        return take_lock(self._gate, fcntl.LOCK_EX, until=time.monotonic() + _COMMITS_SECONDS)

    def _truncate(self, connection: sqlite3.Connection) -> bool:
        """Move the whole log into the database and cut it; False where a reader needs it."""
        patience = connection.execute("PRAGMA busy_timeout").fetchone()[0]
        connection.execute(f"PRAGMA busy_timeout = {_READERS_MS}")

        try:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {patience}")

        return not busy

    def _size(self) -> int:
        try:
            return os.stat(self._wal).st_size
        except OSError:
            # There is none, or the system refuses the look: the next commit looks again.
            return 0
