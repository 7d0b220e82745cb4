"""What holds the loop of the program that an engine lives in is done in pieces, or elsewhere."""

import asyncio
import subprocess  # noqa: TID251 (a program of its own, which has imported nothing yet)
import sys
from pathlib import Path
from typing import Final

import pytest

from queuectl import QueueEngine


async def test_between_two_starts_of_processes_others_have_a_turn(
    engine: QueueEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fork = asyncio.SelectorEventLoop._make_subprocess_transport  # type: ignore[attr-defined]

    async def recorded(*values: object, **options: object) -> object:
        order.append("start")
        asyncio.get_running_loop().call_soon(order.append, "turn")
        return await fork(*values, **options)

    monkeypatch.setattr(asyncio.SelectorEventLoop, "_make_subprocess_transport", recorded)
    await engine.enqueue_many(["true"] * 4)
    await engine.drain(4)

    assert order.count("start") >= 4
    assert "start start" not in " ".join(order)


_IMPORTED: Final = """
import asyncio, sys, threading
from queuectl import QueueEngine

class Finder:
    def find_spec(self, name, *_):
        if name == "queuectl.engine.runtime.worker_life":
            print(threading.current_thread() is threading.main_thread())

async def main():
    async with QueueEngine(sys.argv[1]) as engine:
        await engine.drain()

sys.meta_path.insert(0, Finder())
asyncio.run(main())
"""


def test_what_only_workers_need_is_imported_outside_the_loop(db_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTED, db_path], stdout=subprocess.PIPE, text=True, check=True
    )

    assert done.stdout == "False\n"
