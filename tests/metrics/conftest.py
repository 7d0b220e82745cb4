"""An engine on a real database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from queuectl import QueueEngine


@pytest.fixture
async def engine(db_path: Path) -> AsyncIterator[QueueEngine]:
    async with QueueEngine(db_path) as engine:
        yield engine
