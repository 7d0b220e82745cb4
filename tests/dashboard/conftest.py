"""An engine on a real database, and its dashboard on a real port."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from queuectl import QueueEngine
from tests.dashboard.serving import Served, served


@pytest.fixture
async def engine(db_path: Path) -> AsyncIterator[QueueEngine]:
    async with QueueEngine(db_path) as engine:
        yield engine


@pytest.fixture
async def site(engine: QueueEngine, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(engine, tmp_path) as site:
        yield site
