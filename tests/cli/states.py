"""Queues in known states, made without processes: pretended runs under a clock that stands."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import blockbuster.blockbuster as guard
from anyio.from_thread import BlockingPortal, start_blocking_portal

from queuectl import QueueEngine
from queuectl.engine.domain.events import EventKind
from queuectl.engine.domain.models import OutcomeKind
from queuectl.engine.testing import FakeClock, FakeRun, FakeRunner, drain
from tests.contract.steps import end
from tests.waiting import wait_for_event

# Long ago, so that whatever is due by this clock is due by the real one.
START: Final = datetime(2020, 2, 29, 12, 30, tzinfo=UTC)
START_TEXT: Final = "2020-02-29T12:30:00.000Z"

FAILS: Final = FakeRun(exit_code=1, output=b"first line\nno such thing\n")


def run_jobs(database: Path, *commands: tuple[str, str, FakeRun], max_retries: int = 0) -> None:
    """
    Enqueue jobs, given as id, command and what its runs do, and run them.

    By default they are not retried, so what fails is dead.
    """

    async def main() -> None:
        clock = FakeClock(START)
        runner = FakeRunner(clock)

        async with QueueEngine(database, clock=clock, runner=runner) as engine:
            for job_id, command, run in commands:
                runner.script(command, run)
                await engine.enqueue(command, id=job_id, max_retries=max_retries, cwd="/")

            await drain(engine, clock)

    asyncio.run(main())


def run_interrupted_and_lost(database: Path, job_id: str) -> None:
    """Make a job that was given back once, and then lost two workers."""

    async def main() -> None:
        async with QueueEngine(database, clock=FakeClock(START)) as engine:
            store = engine._store
            await engine.enqueue("true", id=job_id, cwd="/")
            await store.release(
                (await store.claim(1, 1, now=START)).jobs, now=START, interrupted=True
            )

            for minute in range(2):
                now = START + timedelta(minutes=minute)
                [job] = (await store.claim(1, 1, now=now)).jobs
                await end(store, job, OutcomeKind.LOST, reason="lost", now=now)

    asyncio.run(main())


def run_to(database: Path, job_id: str, *outcomes: OutcomeKind) -> None:
    """Make a job whose runs ended so; the reason of each is the name of its outcome."""

    async def main() -> None:
        async with QueueEngine(database, clock=FakeClock(START)) as engine:
            store = engine._store
            await engine.enqueue("true", id=job_id, cwd="/")

            for day, outcome in enumerate(outcomes):
                now = START + timedelta(days=day)
                [job] = (await store.claim(1, 1, now=now)).jobs
                await end(store, job, outcome, reason=outcome.value, now=now)

    asyncio.run(main())


def run_due(database: Path) -> None:
    """Run what is due, as if every command succeeded."""

    async def main() -> None:
        clock = FakeClock(datetime(2035, 1, 1, tzinfo=UTC))
        async with QueueEngine(database, clock=clock, runner=FakeRunner(clock)) as engine:
            await drain(engine, clock)

    asyncio.run(main())


def fill(database: Path) -> None:
    """Make five jobs, named after the states that they are in: all but ``processing``."""

    async def main() -> None:
        clock = FakeClock(START)
        runner = FakeRunner(clock)
        runner.script("echo done", FakeRun(output=b"done\n"))
        runner.script("exit 1", FAILS)
        runner.script("kill -9 $$", FakeRun(exit_code=None, signal="SIGKILL"))

        async with QueueEngine(database, clock=clock, runner=runner) as engine:
            await engine.enqueue("echo done", id="completed", cwd="/", tags=["night", "red"])
            await engine.enqueue("kill -9 $$", id="dead", cwd="/", max_retries=0)
            await engine.enqueue("exit 1", id="failed", cwd="/", backoff_base=1000)

            async with engine.workers():
                await wait_for_event(engine, EventKind.FAILED, "failed")

            await engine.enqueue("echo no", id="cancelled", cwd="/")
            await engine.cancel("cancelled", reason="not wanted")
            await engine.enqueue("echo later", id="pending", cwd="/", priority=200)

    asyncio.run(main())


@contextmanager
def unguarded_loop() -> Iterator[None]:
    """Let this thread block its event loop: here it is a program of one task, or a pretence."""
    before = guard._skip.value
    guard._skip.value = True

    try:
        yield
    finally:
        guard._skip.value = before


class PretendedWorker:
    """A live worker in another thread whose jobs run until they are told to end."""

    def __init__(self, portal: BlockingPortal, engine: QueueEngine, clock: FakeClock) -> None:
        self._portal = portal
        self._engine = engine
        self._clock = clock

    def wait_for(self, kind: EventKind, job_id: str) -> None:
        """Return when something has happened to a job."""
        self._portal.call(wait_for_event, self._engine, kind, job_id)

    def be_stuck(self, job_id: str, words: str) -> None:
        """Say of a job that runs why it cannot go on."""

        async def mark() -> None:
            job = await self._engine.get(job_id)
            assert await self._engine._store.mark_stuck(job, words, now=self._clock.now())

        self._portal.call(mark)

    def end_runs(self) -> None:
        """Let all runs that have begun come to their end."""
        self._portal.call(self._clock.advance, 3000)


@contextmanager
def pretended_worker(database: Path, *running: str) -> Iterator[PretendedWorker]:
    """
    Keep a worker with jobs of these ids that run, inside the context.

    Their command is ``sleep 1000``. Leaving the context cancels what still runs.
    """
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_working(portal, database, running)) as worker,
    ):
        yield worker


@asynccontextmanager
async def _working(
    portal: BlockingPortal, database: Path, running: tuple[str, ...]
) -> AsyncIterator[PretendedWorker]:
    clock = FakeClock(START)
    runner = FakeRunner(clock)
    runner.script("sleep 1000", FakeRun(output=b"so far\n", takes=1000))

    with unguarded_loop():
        async with (
            QueueEngine(database, clock=clock, runner=runner) as engine,
            engine.workers(max(len(running), 1), grace=0),
        ):
            for job_id in running:
                await engine.enqueue("sleep 1000", id=job_id, cwd="/")
                await wait_for_event(engine, EventKind.CLAIMED, job_id)

            yield PretendedWorker(portal, engine, clock)
