"""An engine over a real SQLite file, with real processes."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from queuectl import QueueEngine
from queuectl.engine.testing import FakeClock

# Seconds between TERM and KILL: enough for a command that obeys.
GRACE = 0.3


@pytest.fixture
async def engine(db_path: Path) -> AsyncIterator[QueueEngine]:
    async with QueueEngine(db_path, kill_grace=GRACE) as engine:
        yield engine


@pytest.fixture
async def still_engine(db_path: Path, clock: FakeClock) -> AsyncIterator[QueueEngine]:
    """An engine whose time moves only when told to; its processes are real."""
    async with QueueEngine(db_path, kill_grace=GRACE, clock=clock) as engine:
        yield engine


@pytest.fixture
def others_folder() -> Iterator[Path]:
    """A folder that belongs to the user as whom `AS_ANOTHER_USER` goes on."""
    path = Path(tempfile.mkdtemp())

    if os.geteuid() == 0:
        os.chown(path, 54321, 54321)

    yield path
    shutil.rmtree(path)
