"""Opens the store that a database's name asks for; the only importer of backends."""

from datetime import datetime
from pathlib import Path

import anyio.abc

from queuectl.engine.store.base import JobStore
from queuectl.engine.store.sqlite.store import SqliteStore


async def open_store(path: Path, tasks: anyio.abc.TaskGroup, *, now: datetime) -> JobStore:
    """
    Open a store; its background work runs in the task group.

    Args:
        path: The SQLite file; it is made where there is none.
        tasks: Lives longer than the store.
        now: When.

    Raises:
        StoreError: The database cannot be used.
    """
    store = SqliteStore(path)
    await store.open(tasks, now=now)
    return store
