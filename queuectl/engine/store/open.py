"""Opens the store that a database's name asks for; the only importer of backends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import anyio
import anyio.abc

from queuectl.engine.domain.findings import Finding
from queuectl.engine.store.base import InspectedStore, JobStore
from queuectl.engine.store.sqlite.driver import check_library
from queuectl.engine.store.sqlite.reader import SqliteReader
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


@asynccontextmanager
async def store_to_read(path: Path) -> AsyncIterator[InspectedStore]:
    """
    Have a store that changes nothing, not even the files, while in the context.

    Args:
        path: The SQLite file; it must exist.

    Raises:
        StoreError: The database cannot be used.
    """
    store = SqliteReader(path)

    try:
        await store.open_to_read()
        yield store
    finally:
        with anyio.CancelScope(shield=True):
            await store.close()


def check_driver() -> Finding:
    """Say which version of the database library there is, and what that means."""
    return check_library()
