"""The program on an empty database, in surroundings that are the same everywhere."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.program import Queuectl
from tests.cli.states import unguarded_loop


@pytest.fixture(autouse=True)
def own_loop() -> Iterator[None]:
    """
    Let the program wait for its own output and input.

    Nothing else runs in its loop. The engine's habits are tested elsewhere.
    """
    with unguarded_loop():
        yield


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what the developer's terminal is like out of the tests."""
    for name in ("NO_COLOR", "COLUMNS", "LINES", "TERM"):
        monkeypatch.delenv(name, raising=False)

    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture
def queuectl(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, db_path: Path
) -> Queuectl:
    """Runs commands in this process, on the database of the test."""
    return Queuectl(capsys, monkeypatch, db_path)
