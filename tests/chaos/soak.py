"""
A long life: one engine runs many jobs, and what it takes of the machine is measured.

Run it with ``python -m tests.chaos.soak --jobs 10000 --json FILE``. Most jobs do nothing,
one in ten fails, and one in ten writes more than fits into a row of the database.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from queuectl import JobSpec, JobState, QueueEngine

EVERY: Final = 500
_SLOTS: Final = 4
_COMMANDS: Final = {3: "exit 1", 7: "head -c 20000 /dev/zero"}

# Threads and descriptors that come and go are looked at a few times, this far apart.
_LOOKS: Final = 5
_PAUSE: Final = 0.02


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """
    What an engine takes of its machine at a moment when nothing runs.

    Attributes:
        jobs: How many it has run until then.
        seconds: Since it was opened.
        jobs_per_second: Since the last sample.
        rss_kib: Memory, resident.
        descriptors: Open files.
        threads: Threads of the process.
        children: Processes that it has not waited for.
        wal_bytes: The size of the write-ahead log.
    """

    jobs: int
    seconds: float
    jobs_per_second: float
    rss_kib: int
    descriptors: int
    threads: int
    children: int
    wal_bytes: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, and how the jobs ended."""

    samples: list[Sample]
    completed: int
    dead: int
    output_files: int
    run_files: int


async def soak(database: Path, jobs: int) -> Report:
    """Run so many jobs in this process, and measure it on the way."""
    loop = asyncio.get_running_loop()
    began = last = loop.time()
    samples: list[Sample] = []

    async with QueueEngine(database) as engine, engine.workers(_SLOTS):
        for first in range(0, jobs, EVERY):
            specs = [spec(number) for number in range(first, min(first + EVERY, jobs))]
            added = await engine.enqueue_many(specs)
            await engine.wait_all([job.id for job in added], timeout=300)
            now = loop.time()
            samples.append(await measure(database, first + len(specs), now - began, now - last))
            last = loop.time()

        counts = (await engine.stats()).counts
        folder = database.with_name(database.name + "-run")
        return Report(
            samples=samples,
            completed=counts[JobState.COMPLETED],
            dead=counts[JobState.DEAD],
            output_files=len(list((folder / "output").glob("*/*"))),
            run_files=len(list((folder / "workers").glob("*/*"))),
        )


def spec(number: int) -> JobSpec:
    """Return a job of the mix."""
    return JobSpec(command=_COMMANDS.get(number % 10, ":"), max_retries=0, cwd="/")


async def measure(database: Path, jobs: int, seconds: float, took: float) -> Sample:
    """Look at this process, a few times over, and return the least of what comes and goes."""
    looks = []

    for _ in range(_LOOKS):
        looks.append((len(os.listdir("/proc/self/fd")), _status("Threads")))  # noqa: PTH208
        await asyncio.sleep(_PAUSE)

    return Sample(
        jobs=jobs,
        seconds=round(seconds, 2),
        jobs_per_second=round(EVERY / took, 1),
        rss_kib=_status("VmRSS"),
        descriptors=min(files for files, _ in looks),
        threads=min(threads for _, threads in looks),
        children=len(_children()),
        wal_bytes=database.with_name(database.name + "-wal").stat().st_size,
    )


def _status(name: str) -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    [line] = [line for line in text.splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1])


def _children() -> list[str]:
    tasks = Path("/proc/self/task").glob("*/children")
    return [pid for task in tasks for pid in task.read_text(encoding="ascii").split()]


def main() -> None:
    """Run it, and write down what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument(
        "--json", type=Path, help="where to write the figures; else standard output"
    )
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(soak(Path(folder) / "queue.db", arguments.jobs))

    text = msgspec.json.format(msgspec.json.encode(report), indent=2)

    if arguments.json is None:
        sys.stdout.buffer.write(text + b"\n")
    else:
        arguments.json.write_bytes(text + b"\n")


if __name__ == "__main__":
    main()
