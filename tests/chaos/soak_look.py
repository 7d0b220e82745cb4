"""What a process takes of its machine, as Linux tells it from outside."""

import asyncio
import os
from pathlib import Path
from typing import Final

import msgspec

# Threads, descriptors and children come and go with every job, so they are looked at a few
# times, this far apart in seconds, and the least is taken.
_LOOKS: Final = 5
_PAUSE: Final = 0.02


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """
    A process at a moment.

    Attributes:
        rss_kib: Memory, resident.
        descriptors: Open files.
        threads: Threads of the process.
        children: Processes that it has not waited for, running ones among them.
    """

    rss_kib: int
    descriptors: int
    threads: int
    children: int


async def look_at(pid: int) -> Look:
    """
    Look at a process, a few times over.

    Raises:
        FileNotFoundError: There is none.
    """
    looks = [_look(pid)]

    for _ in range(_LOOKS - 1):
        await asyncio.sleep(_PAUSE)
        looks.append(_look(pid))

    return Look(
        rss_kib=looks[-1].rss_kib,
        descriptors=min(look.descriptors for look in looks),
        threads=min(look.threads for look in looks),
        children=min(look.children for look in looks),
    )


def _look(pid: int) -> Look:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    figures = dict(line.split(":", 1) for line in status.splitlines())
    return Look(
        rss_kib=int(figures["VmRSS"].split()[0]),
        descriptors=len(os.listdir(f"/proc/{pid}/fd")),  # noqa: PTH208 (only counted)
        threads=int(figures["Threads"]),
        children=len(_children(pid)),
    )


def _children(pid: int) -> list[str]:
    children: list[str] = []

    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children += task.read_text(encoding="ascii").split()
        except (FileNotFoundError, ProcessLookupError):
            # That thread has ended since.
            continue

    return children
