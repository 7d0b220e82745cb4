"""What tests of one backend alone need."""

from pathlib import Path

import pytest

from queuectl.engine.store.base import JobStore
from queuectl.engine.store.sqlite.store import SqliteStore
from tests.conftest import OpenStore

SMALL_LOG = 64 * 1024


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no store that is opened later wait for a lock."""
    for module in ("connection", "setup"):
        monkeypatch.setattr(f"queuectl.engine.store.sqlite.{module}.BUSY_SECONDS", 0.05)


@pytest.fixture
def sqlite(store: JobStore) -> SqliteStore:
    """The store, where its inside is looked at."""
    assert isinstance(store, SqliteStore)
    return store


@pytest.fixture
async def small_log(
    monkeypatch: pytest.MonkeyPatch, opened: OpenStore, db_path: Path
) -> SqliteStore:
    """A store that makes a checkpoint after 64 KiB already."""
    monkeypatch.setattr("queuectl.engine.store.sqlite.checkpoint.LARGEST_WAL", SMALL_LOG)
    store = await opened(db_path)
    assert isinstance(store, SqliteStore)
    return store
