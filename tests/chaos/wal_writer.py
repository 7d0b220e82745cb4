"""
A program that works with a queue while every write of SQLite is written down.

Tests run it as a process of its own: ``python -m tests.chaos.wal_writer FOLDER STORY``.
It opens two engines on one database, a client's and a worker's, and closes and opens
both again half way.
"""

import argparse
import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio

from queuectl import JobSpec, QueueEngine
from queuectl.engine.store.sqlite import checkpoint, connection
from tests.chaos.faults_vfs import WatchedFiles
from tests.chaos.wal_log import Log, save

# More than a page of the database, less than an output that becomes a file.
_WORDS = "head -c 9000 /dev/zero"


async def _work(path: Path, log: Log, part: str) -> None:
    """Enqueue, run, fail, cancel and retry; write down what was acknowledged."""
    async with (
        QueueEngine(path) as client,
        QueueEngine(path) as worker,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(_watch, client, log)

        async with worker.workers(2):
            for number in range(6):
                job = await client.enqueue(":", id=f"{part}-{number}")
                log.acknowledged(job.id)

            await _enqueue_many(client, log, part)
            await _change(client, log, part)
            ids = [job.id for job in await client.list() if job.id != f"{part}-later"]
            await client.wait_all(ids, timeout=20)

        tasks.cancel_scope.cancel()


async def _enqueue_many(client: QueueEngine, log: Log, part: str) -> None:
    specs = [JobSpec(command=":", id=f"{part}-many-{number}") for number in range(20)]
    specs.append(JobSpec(command="exit 3", id=f"{part}-fails", max_retries=0))
    specs.append(JobSpec(command=_WORDS, id=f"{part}-words", tags=("long",)))

    for job in await client.enqueue_many(specs):
        log.acknowledged(job.id)


async def _change(client: QueueEngine, log: Log, part: str) -> None:
    later = await client.enqueue(":", id=f"{part}-later", delay=3600)
    log.acknowledged(later.id)
    await client.cancel(later.id, reason="changed my mind")
    await client.wait(f"{part}-fails", timeout=20)
    await client.retry(f"{part}-fails")


async def _watch(client: QueueEngine, log: Log) -> None:
    """Write down each event that an engine shows."""
    async for event in client.events(since=0):
        log.seen(event.seq)


def main() -> None:
    """Work, and save the story."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("story", type=Path)
    parser.add_argument("--synchronous", default="FULL")
    parser.add_argument("--log-size", type=int, default=checkpoint.LARGEST_WAL)
    options = parser.parse_args()

    log = Log()
    WatchedFiles(log).install()
    setattr(checkpoint, "LARGEST_WAL", options.log_size)  # noqa: B010 (a constant)
    pragmas = [line for line in connection._PRAGMAS if "synchronous" not in line]
    pragmas.append(f"PRAGMA synchronous = {options.synchronous}")
    setattr(connection, "_PRAGMAS", tuple(pragmas))  # noqa: B010

    path = options.folder / "queue.db"
    asyncio.run(_work(path, log, "a"))
    asyncio.run(_work(path, log, "b"))
    records = list(log.records)

    with closing(sqlite3.connect(path)) as opened:
        events = opened.execute("SELECT seq, job, kind, run FROM events ORDER BY seq").fetchall()

    save(options.story, records, events)


if __name__ == "__main__":
    main()
