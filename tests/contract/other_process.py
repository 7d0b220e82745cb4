"""
Another process on the same database; tests run this file as a program.

It says "ready", waits for a line, does its one thing, and says what came of it.
"""

import asyncio
import fcntl
import os
import signal
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import anyio

from queuectl.engine.domain.models import NewJob, OnCrash
from queuectl.engine.store.open import open_store
from queuectl.engine.store.sqlite.checkpoint import Checkpointer
from queuectl.engine.store.sqlite.setup import prepare

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


def wait_for_word() -> str:
    """Say that everything is prepared, and return the line that starts it."""
    print("ready", flush=True)  # noqa: T201
    return sys.stdin.readline().strip()


async def claim(path: Path, worker: int) -> None:
    """Claim jobs, a few at a time, until there are none; tell which."""
    async with anyio.create_task_group() as tasks:
        store = await open_store(path, tasks, now=NOW)
        await asyncio.to_thread(wait_for_word)
        taken: list[str] = []

        while jobs := (await store.claim(worker, 3, now=NOW)).jobs:
            taken += [job.id for job in jobs]

        await store.close()

    print(*taken)  # noqa: T201


async def insert(path: Path, job_id: str) -> None:
    """Insert one job; tell how many there are."""
    job = NewJob(
        id=job_id,
        command="echo hi",
        priority=100,
        max_retries=3,
        backoff_base=None,
        timeout=None,
        on_crash=OnCrash.ADOPT,
        max_output_bytes=None,
        run_at=NOW,
        is_due=True,
        created_at=NOW,
        cwd="/",
        env={},
        tags=(),
    )

    async with anyio.create_task_group() as tasks:
        store = await open_store(path, tasks, now=NOW)
        await asyncio.to_thread(wait_for_word)
        await store.insert(lambda _: [job], now=NOW)
        stats = await store.stats(now=NOW)
        await store.close()

    print(sum(stats.counts.values()))  # noqa: T201


def hold(path: Path, statement: str) -> None:
    """Execute a statement, and keep the transaction that it began until told."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute(statement).fetchone()
    wait_for_word()
    connection.execute("ROLLBACK")
    connection.close()


def migrate(folder: Path, count: int) -> None:
    """Make databases that others make at the same moment; tell how many migrations it did."""
    me = os.getpid()
    databases = [folder / f"{n}.db" for n in range(count)]

    for database in databases:
        wait_for_word()
        # The time says whose migrations they are.
        prepare(database, now_ms=me)

    print(sum(applied_at(database, me) for database in databases))  # noqa: T201


def applied_at(database: Path, now_ms: int) -> int:
    """Return how many migrations were applied at that time."""
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT count(*) FROM migrations WHERE applied_at = ?"
        return int(connection.execute(query, [now_ms]).fetchone()[0])


def fork(path: Path) -> None:
    """Die in a checkpoint, as a program that has forked a child, which goes on until told."""
    checkpointer = Checkpointer(path)

    for lock in (checkpointer._turnstile, checkpointer._gate):
        fcntl.flock(lock, fcntl.LOCK_EX)

    if os.fork() == 0:
        wait_for_word()
        os._exit(0)

    os.kill(os.getpid(), signal.SIGKILL)


def main(action: str, path: str, argument: str) -> None:
    """Do one thing."""
    os.umask(0o077)

    match action:
        case "claim":
            asyncio.run(claim(Path(path), int(argument)))
        case "insert":
            asyncio.run(insert(Path(path), argument))
        case "hold":
            hold(Path(path), argument)
        case "migrate":
            migrate(Path(path), int(argument))
        case "fork":
            fork(Path(path))


if __name__ == "__main__":
    main(*sys.argv[1:])
