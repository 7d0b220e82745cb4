"""
A long life: one worker runs many jobs, and what it takes of the machine is measured.

Run it with ``python -m tests.chaos.soak --jobs 100000 --seconds 600 --json FILE``: until
so many jobs have run and so much time has passed. This process enqueues, so that jobs are
always waiting and never many; the worker is a process of its own, and is looked at from
outside. Most jobs do nothing, one in ten fails, one in ten writes a kilobyte, and one in
a hundred writes more than fits into a row of the database. A job that goes before all
others is enqueued now and then, to see how long it takes until it starts.

After a warm-up, the first fifth of what was seen is compared with the last. The program
ends with 1 where something has grown.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import anyio
import msgspec

from queuectl import JobSpec, JobState, QueueEngine
from tests.chaos.soak_figures import Report, Sample, Seen, find_flats
from tests.chaos.soak_look import look_at

# Jobs that are run before anything is compared, and how many slots run them.
WARM_UP: Final = 500
SLOTS: Final = 4

# With fewer jobs waiting than this, so many are added.
_LOW: Final = 500
_MORE: Final = 250

# Seconds between two looks at the queue, and between a job that goes first and the next.
_FEEDING: Final = 0.05
_PROBING: Final = 0.2

# In seconds: until a worker is there, until what waits has run, until it has ended.
_START: Final = 30
_REST: Final = 300
_END: Final = 30

_COMMANDS: Final = {3: "exit 1", 7: "head -c 1000 /dev/zero"}
_LARGE: Final = "head -c 20000 /dev/zero"
_LARGE_ONE: Final = 55
_FIRST: Final = 1000


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """
    How long to go on.

    Attributes:
        jobs: At least so many, `WARM_UP` of them to warm up.
        seconds: At least so long.
        every: Seconds between two samples.
    """

    jobs: int
    seconds: float = 0.0
    every: float = 2.0


class Soak:
    """
    One long life.

    Args:
        plan: How long.
        database: The file, not there yet.
    """

    def __init__(self, plan: Plan, database: Path) -> None:
        self._plan = plan
        self._database = database
        self._added = 0
        self._probes = 0
        self._pickups: list[float] = []
        self._samples: list[Sample] = []
        self._began = 0.0
        self._is_fed = False
        self._watching: anyio.CancelScope
        self._client: QueueEngine

    async def run(self) -> Report:
        """
        Run it, and measure on the way.

        Raises:
            TimeoutError: The worker does not start, or jobs do not end.
        """
        async with QueueEngine(self._database) as self._client, self._worker() as pid:
            self._began = asyncio.get_running_loop().time()
            await self._add(min(WARM_UP, self._plan.jobs))
            await self._rest()
            rested = [await self._sample(pid, None)]

            async with anyio.create_task_group() as others:
                others.start_soon(self._probe)
                others.start_soon(self._watch, pid)
                await self._feed()
                # A job that goes first is waited for, so that each is counted.
                self._is_fed = True
                self._watching.cancel()

            await self._rest()
            rested.append(await self._sample(pid, rested[0]))
            return await self._report(rested)

    @asynccontextmanager
    async def _worker(self) -> AsyncIterator[int]:
        """Have a worker that serves the database; yield its process number."""
        process = await asyncio.create_subprocess_exec(  # noqa: TID251 (what is measured)
            *(sys.executable, "-m", "queuectl", "--db", str(self._database)),
            *("worker", "start", "--quiet", "--count", str(SLOTS)),
            stdin=asyncio.subprocess.DEVNULL,
        )

        try:
            with anyio.fail_after(_START):
                # Nothing tells another process of it.
                while not self._client.has_live_worker():  # noqa: ASYNC110
                    await asyncio.sleep(_FEEDING)

            yield process.pid

            with anyio.fail_after(_END):
                await self._client.stop_workers()
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()

            with anyio.CancelScope(shield=True):
                await process.wait()

    async def _feed(self) -> None:
        """Add jobs while there are to be more, a few at a time, so that some always wait."""
        loop = asyncio.get_running_loop()

        while self._added < self._plan.jobs or loop.time() - self._began < self._plan.seconds:
            waiting = (await self._client.stats()).counts[JobState.PENDING]

            if waiting < _LOW:
                left = self._plan.jobs - self._added
                await self._add(min(_MORE, left) if left > 0 else _MORE)
            else:
                await asyncio.sleep(_FEEDING)

    async def _add(self, number: int) -> None:
        await self._client.enqueue_many(
            [spec(number) for number in range(self._added, self._added + number)]
        )
        self._added += number

    async def _rest(self) -> None:
        """Wait until nothing waits or runs."""
        with anyio.fail_after(_REST):
            while True:
                counts = (await self._client.stats()).counts

                if not counts[JobState.PENDING] and not counts[JobState.PROCESSING]:
                    return

                await asyncio.sleep(_FEEDING)

    async def _probe(self) -> None:
        """Enqueue a job that goes first, see when it started, and again."""
        while not self._is_fed:
            job = await self._client.enqueue(":", priority=_FIRST, max_retries=0, cwd="/")
            self._probes += 1
            acknowledged = datetime.now(UTC)  # noqa: TID251 (of one clock with the worker's)
            await self._client.wait(job.id)
            [attempt] = await self._client.attempts(job.id)
            # The worker may hear of a commit before the one who made it does.
            self._pickups.append(max(0.0, (attempt.started_at - acknowledged).total_seconds()))
            await asyncio.sleep(_PROBING)

    async def _watch(self, pid: int) -> None:
        last: Sample | None = None

        with anyio.CancelScope() as self._watching:
            while True:
                await asyncio.sleep(self._plan.every)
                last = await self._sample(pid, last)
                self._samples.append(last)

    async def _sample(self, pid: int, last: Sample | None) -> Sample:
        """Look at the worker and the queue now; rates are since the last sample."""
        looked = await look_at(pid)
        counts = (await self._client.stats()).counts
        seconds = asyncio.get_running_loop().time() - self._began
        done = counts[JobState.COMPLETED] + counts[JobState.DEAD]
        since = (last.jobs, last.seconds) if last else (0, 0.0)
        pickups, self._pickups = self._pickups, []
        return Sample.make(
            looked,
            Seen(jobs=done, waiting=counts[JobState.PENDING], seconds=seconds, pickups=pickups),
            since=since,
            wal_bytes=self._database.with_name(self._database.name + "-wal").stat().st_size,
        )

    async def _report(self, rested: list[Sample]) -> Report:
        counts = (await self._client.stats()).counts
        folder = self._database.with_name(self._database.name + "-run")
        return Report(
            samples=self._samples,
            rested=rested,
            flat=find_flats(self._samples, rested),
            jobs=self._added,
            probes=self._probes,
            completed=counts[JobState.COMPLETED],
            dead=counts[JobState.DEAD],
            output_files=len(list((folder / "output").glob("*/*"))),
            run_files=len(list((folder / "workers").glob("*/*"))),
        )


def spec(number: int) -> JobSpec:
    """Return a job of the mix."""
    command = _LARGE if number % 100 == _LARGE_ONE else _COMMANDS.get(number % 10, ":")

    return JobSpec(command=command, max_retries=0, cwd="/")


def main() -> int:
    """Run it, write down what was measured, and say what has grown."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.soak", description=(__doc__ or "").strip().splitlines()[0]
    )
    parser.add_argument("--jobs", type=int, default=100_000, help="at least so many")
    parser.add_argument("--seconds", type=float, default=0.0, help="at least so long")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two samples")
    parser.add_argument(
        "--json", type=Path, help="where to write the figures; else standard output"
    )
    given = parser.parse_args()
    plan = Plan(jobs=given.jobs, seconds=given.seconds, every=given.every)

    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(Soak(plan, Path(folder) / "queue.db").run())

    text = msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"

    if given.json is None:
        sys.stdout.buffer.write(text)
    else:
        given.json.write_bytes(text)

    for flat in report.flat:
        sys.stderr.write(f"{flat.words()}\n")

    return 0 if all(flat.is_flat for flat in report.flat) else 1


if __name__ == "__main__":
    sys.exit(main())
