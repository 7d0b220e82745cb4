"""A store that is only looked at: it makes no file, migrates nothing, and moves no log."""

import os
import sqlite3
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio

from queuectl.engine.domain.models import RunKey
from queuectl.engine.errors import StoreBusyError
from queuectl.engine.store.base import INLINE_OUTPUT_BYTES
from queuectl.engine.store.places import wal_file
from queuectl.engine.store.sqlite.check import migration_problems
from queuectl.engine.store.sqlite.connection import connect, name_error, named_errors
from queuectl.engine.store.sqlite.lookups import SqliteLookups
from queuectl.engine.store.sqlite.rows import from_ms
from queuectl.engine.store.sqlite.setup import MIGRATIONS, file_version

if TYPE_CHECKING:
    from queuectl.engine.domain.webhooks import Webhook

NEWEST_SCHEMA: Final = len(MIGRATIONS)

# How long a lock is tried, in seconds; and how long one try waits, in milliseconds: tried
# that often, a lock that many take in turn is free once.
_PATIENCE: Final = 2.0
_TRY_MS: Final = 10


class SqliteReader(SqliteLookups):
    """
    A `JobReader` of a file that may be older, in use or damaged.

    Args:
        path: The file; it must exist.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.schema_version: int = 0

    @property
    def is_current(self) -> bool:
        """Whether its schema is the one that the queries are written for."""
        return self.schema_version == NEWEST_SCHEMA

    async def open_to_read(self) -> None:
        """
        Connect.

        Raises:
            StoreError: The file cannot be used, is something else, or newer.
        """
        # Whoever only looks leaves no log, and takes none away.
        reader = connect(self._path, reader=True, mode=_mode(self._path))

        with named_errors(self._path):
            await reader.open()
            self._reading = reader
            # Read first: it is then that SQLite makes a log where there is none.
            self.schema_version = await reader.run(self._version)

    async def close(self) -> None:
        """Close the connection, where there is one."""
        await self._close_reader()

    async def large_outputs(self) -> set[RunKey]:
        """Return the finished runs whose output is a file."""
        rows = await self._rows("all_large_runs", inline=INLINE_OUTPUT_BYTES)
        return {RunKey(row["job"], row["number"]) for row in rows}

    async def webhooks(self) -> "list[Webhook]":
        """Return all webhooks."""
        # Few programs ask for it, and all are to start fast.
        from queuectl.engine.store.sqlite.deliveries import list_webhooks

        return await self._read(list_webhooks)

    async def next_delivery(self) -> datetime | None:
        """Return when the first message to a webhook is or was due; None without one."""
        [row] = await self._rows("first_delivery_due")
        return None if row["due_at"] is None else from_ms(row["due_at"])

    async def migration_problems(self) -> list[str]:
        """Return what is wrong with the migrations that were applied."""
        return await self._read(migration_problems)

    async def is_locked(self) -> bool:
        """Whether another program keeps changes from beginning; nothing is changed by that."""
        # Our reader is open meanwhile: closed as the last one, this would move the log.
        trial = connect(self._path, reader=False)

        with named_errors(self._path):
            await trial.open()

            try:
                return await trial.run(self._cannot_begin)
            finally:
                with anyio.CancelScope(shield=True):
                    await trial.close()

    def _cannot_begin(self, connection: sqlite3.Connection) -> bool:
        connection.execute(f"PRAGMA busy_timeout = {_TRY_MS}")
        until = time.monotonic() + _PATIENCE

        while time.monotonic() < until:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not isinstance(name_error(error, self._path), StoreBusyError):
                    raise
            else:
                connection.execute("ROLLBACK")
                return False

        return True

    def _version(self, connection: sqlite3.Connection) -> int:
        return file_version(connection, self._path)


def _mode(path: Path) -> str:
    return "ro" if os.path.lexists(wal_file(path)) else "rw"
