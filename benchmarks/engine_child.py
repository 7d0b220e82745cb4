"""
A process of its own that uses the library, and prints what it found as JSON.

Run by path, so that it finds the installed queuectl: `engine_child.py WHAT DATABASE NUMBER`.
"""

import asyncio
import contextlib
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from queuectl import JobSpec, QueueEngine


async def drain(database: str, slots: int) -> dict[str, float]:
    """
    Run all jobs of a database.

    Returns:
        `seconds`, and the processor time that this process took, without its jobs:
        `user` and `system`, and of both what the thread of the loop took, `loop`; and what
        its jobs took, `jobs`.
    """
    async with QueueEngine(database) as engine:
        begun = time.perf_counter()
        jobs_before = resource.getrusage(resource.RUSAGE_CHILDREN)
        before = resource.getrusage(resource.RUSAGE_SELF)
        loop_before = time.thread_time()
        await engine.drain(slots)
        loop = time.thread_time() - loop_before
        after = resource.getrusage(resource.RUSAGE_SELF)
        jobs_after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = time.perf_counter() - begun

    return {
        "seconds": seconds,
        "user": after.ru_utime - before.ru_utime,
        "system": after.ru_stime - before.ru_stime,
        "loop": loop,
        "jobs": jobs_after.ru_utime
        - jobs_before.ru_utime
        + jobs_after.ru_stime
        - jobs_before.ru_stime,
    }


async def enqueue_many(database: str, jobs: int) -> dict[str, float]:
    """Add jobs in one call; return the `seconds` of the call, which ends with the commit."""
    async with QueueEngine(database) as engine:
        specs = [JobSpec(command=f"echo {number}") for number in range(jobs)]
        begun = time.perf_counter()
        await engine.enqueue_many(specs)
        return {"seconds": time.perf_counter() - begun}


async def tick(database: str, jobs: int) -> dict[str, float]:
    """
    Run jobs that write, one slot a job, while a coroutine ticks every millisecond.

    Returns:
        What `ticking` returns.
    """
    specs = [JobSpec(command=_command(), cwd="/", max_output_bytes=0)] * jobs

    async with QueueEngine(database) as engine, engine.workers(jobs):
        # What is done once, at the first job, is not what is looked for.
        await engine.wait((await engine.enqueue("true")).id)

        async with ticking() as found:
            added = await engine.enqueue_many(specs)
            await engine.wait_all([job.id for job in added])

    return found


async def tick_bare(folder: str, jobs: int) -> dict[str, float]:
    """Do as `tick`, with processes that nothing but asyncio starts: what the machine allows."""
    await (await asyncio.create_subprocess_shell("true")).wait()

    with contextlib.ExitStack() as files:
        outputs = [files.enter_context(open(f"{folder}/{n}", "wb")) for n in range(jobs)]  # noqa: PTH123

        async with ticking() as found:
            children = [
                await asyncio.create_subprocess_shell(_command(), stdout=output)
                for output in outputs
            ]
            await asyncio.gather(*(child.wait() for child in children))

    return found


def _command() -> str:
    return os.environ["BENCH_COMMAND"]


class ticking:  # noqa: N801 (used as a function)
    """
    Tick while the body runs.

    The dictionary that it gives is filled at the end: `worst` and `common`, the longest and
    the 99th percentile of how late a tick came, and `blocked`, the longest less the time for
    which this thread was ready and had no core; all in milliseconds.
    """

    _EVERY: Final = 0.001

    async def __aenter__(self) -> dict[str, float]:
        """Begin."""
        self._found: dict[str, float] = {}
        self._latenesses: list[tuple[float, float]] = []
        self._task = asyncio.create_task(self._tick())
        return self._found

    async def __aexit__(self, *_: object) -> None:
        """End, and count."""
        self._task.cancel()

        with contextlib.suppress(asyncio.CancelledError):
            await self._task

        latenesses = sorted(late for late, _ in self._latenesses)
        self._found["worst"] = latenesses[-1]
        self._found["common"] = latenesses[int(0.99 * len(latenesses))]
        self._found["blocked"] = max(late - waited for late, waited in self._latenesses)

    async def _tick(self) -> None:
        with open("/proc/thread-self/schedstat", "rb", buffering=0) as file:  # noqa: PTH123
            waited_before = _waited(file.read(64))

            while True:
                begun = time.perf_counter()
                await asyncio.sleep(self._EVERY)
                late = (time.perf_counter() - begun - self._EVERY) * 1000
                file.seek(0)
                waited = _waited(file.read(64))
                self._latenesses.append((late, waited - waited_before))
                waited_before = waited


def _waited(schedstat: bytes) -> float:
    """Return the milliseconds for which a thread was ready and had no core."""
    return int(schedstat.split()[1]) / 1e6


_WHAT: Final[dict[str, Callable[[str, int], Awaitable[dict[str, float]]]]] = {
    "drain": drain,
    "enqueue-many": enqueue_many,
    "tick": tick,
    "tick-bare": tick_bare,
}


async def main() -> None:
    """Do what is asked for."""
    what, database, number = sys.argv[1:]
    found = await _WHAT[what](database, int(number))
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")


if __name__ == "__main__":
    asyncio.run(main())
