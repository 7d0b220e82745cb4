"""Run me: drains short jobs, and prints what one of them cost the loop's thread, as JSON."""

import asyncio
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any, Final

from queuectl import QueueEngine

_JOBS: Final = 300

# Functions of these that do not ask the system for anything.
_PURE: Final = {"fspath", "waitstatus_to_exitcode", "WIFSTOPPED", "fileno"}


class Counts:
    """Counts the calls of a thread: Python's functions, C's, and those that ask the system."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def __call__(self, _: FrameType, event: str, called: Any) -> None:
        """Count a call, as `sys.setprofile` tells of it."""
        if event == "call":
            self.calls["python"] += 1
        elif event == "c_call":
            self.calls["c"] += 1
            owner = called.__module__ or type(called.__self__).__name__
            asks = owner in {"posix", "fcntl", "_posixsubprocess", "epoll", "socket"}
            self.calls["system"] += asks and called.__name__ not in _PURE


async def main() -> None:
    """Drain twice, and count the second time."""
    counts = Counts()

    with tempfile.TemporaryDirectory() as folder:
        async with QueueEngine(Path(folder) / "queue.db") as engine:
            await engine.enqueue("true")
            await engine.drain(4)
            await engine.enqueue_many(["true"] * _JOBS)
            sys.setprofile(counts)
            await engine.drain(4)
            sys.setprofile(None)

    sys.stdout.write(json.dumps({kind: number / _JOBS for kind, number in counts.calls.items()}))


if __name__ == "__main__":
    asyncio.run(main())
