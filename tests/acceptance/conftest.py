"""A home folder for each test, in which nothing is left running."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.home import Home

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these tests a minute: each starts many processes, and has deadlines of its own."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(60))

            if sys.platform != "linux":
                item.add_marker(pytest.mark.skip(reason="looks at processes in /proc"))


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    home = Home(tmp_path)

    try:
        yield home
    finally:
        await home.close()
