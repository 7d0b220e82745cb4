"""The lives of engines: those that are killed, and those that died before."""

import os
import signal
from contextlib import suppress
from typing import Final

import anyio
import anyio.lowlevel

from queuectl import JobSpec, JobState, JobStateError, QueueEngine
from tests.chaos.crash_points_counter import CrashPoints
from tests.chaos.crash_points_fork import Tell, in_fork
from tests.chaos.crash_points_place import GRACE, Place
from tests.waiting import wait_until

_DEADLINE: Final = 15.0
_ENDS: Final = frozenset({"completed", "failed", "died", "cancelled"})

# Says so where the run before it is still there; then that it began.
BEGIN: Final = (
    "read -r p 2>/dev/null <pid && read -r _ _ s _ 2>/dev/null </proc/$p/stat && "
    '[ "$s" != Z ] && echo "O $QUEUECTL_ATTEMPT" >>witness; '
    'echo $$ >pid; echo "S $QUEUECTL_ATTEMPT" >>witness; '
)
# Not for ever: a walk may be killed itself.
WAIT: Final = 'n=0; until [ -e go ] || [ "$((n += 1))" -gt 6000 ]; do sleep 0.01; done; '
END: Final = 'echo "E $QUEUECTL_ATTEMPT" >>witness; '


def engine_of(place: Place) -> QueueEngine:
    return QueueEngine(place.database, kill_grace=GRACE)


async def open_and_close(place: Place, points: CrashPoints) -> None:
    points.start()

    async with engine_of(place) as engine:
        await engine.drain()


async def drain(place: Place, points: CrashPoints) -> None:
    async with engine_of(place) as engine:
        points.start()
        await engine.drain()


async def cancel(place: Place, points: CrashPoints) -> None:
    async with engine_of(place) as engine:
        points.start()

        async with engine.workers():
            await wait_until(place.has_begun)
            await engine.cancel("job", reason="not wanted")
            place.acknowledge("cancelled")
            await engine.wait("job")


async def cancel_again(place: Place, engine: QueueEngine, _: int) -> None:
    # Whoever got no answer asks again.
    if "cancelled" not in place.acknowledged():
        with suppress(JobStateError):
            await engine.cancel("job", reason="not wanted")


async def stop(place: Place, points: CrashPoints, *, now: bool) -> None:
    async with engine_of(place) as engine:
        points.start()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.run)
            await wait_until(place.has_begun)
            tasks.start_soon(stop_workers, engine, now)

            if not now:
                await wait_until(lambda: is_draining(engine))
                place.open_gate()


async def stop_workers(engine: QueueEngine, now: bool) -> None:  # noqa: FBT001
    await engine.stop_workers(now=now)


async def is_draining(engine: QueueEngine) -> bool:
    await anyio.sleep(0.02)
    return [worker.state.value for worker in await engine.list_workers()] == ["draining"]


async def stop_gently(place: Place, points: CrashPoints) -> None:
    await stop(place, points, now=False)


async def stop_now(place: Place, points: CrashPoints) -> None:
    await stop(place, points, now=True)


async def open_gate(place: Place, engine: QueueEngine, since: int) -> None:
    """Let the run end when it has been adopted, given back or begun again."""
    if not (await engine.get("job")).is_finished:
        async for event in engine.events(since=since):
            if event.kind.value in {"adopted", "claimed", *_ENDS}:
                break

    place.open_gate()


async def open_gate_where_not_ending(place: Place, engine: QueueEngine, since: int) -> None:
    """Let the run end, unless the engine that died was about to end it: then the second."""
    if place.is_ending():
        await wait_until(lambda: begun(place) == 2)

    await open_gate(place, engine, since)


async def open_gate_for_second(place: Place) -> None:
    # Open before, it would let the first run end that is to be killed.
    await wait_until(lambda: begun(place) == 2)
    place.open_gate()


async def open_gate_for_next(place: Place, engine: QueueEngine, _since: int) -> None:
    """Let the run end that comes after the one that is to be killed."""
    after = begun(place)
    await wait_until(lambda: _is_over_or_begun(place, engine, after + 1))
    place.open_gate()


async def _is_over_or_begun(place: Place, engine: QueueEngine, count: int) -> bool:
    return begun(place) >= count or (await engine.get("job")).is_finished


def begun(place: Place) -> int:
    return sum(line.startswith("S ") for line in place.lines())


async def drain_to_second(place: Place, points: CrashPoints) -> None:
    async with engine_of(place) as engine:
        points.start()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(open_gate_for_second, place)
            await engine.drain()


async def adopt(place: Place, points: CrashPoints) -> None:
    """Take over a run that goes on, and let it end only then."""
    async with engine_of(place) as engine:
        points.start()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.drain)

            async for event in engine.events(since=0):
                if event.kind.value == "adopted":
                    break

            place.open_gate()


async def retry(place: Place, points: CrashPoints) -> None:
    """Retry by hand what failed as long as the gate was closed."""
    async with engine_of(place) as engine:
        points.start()
        await engine.drain()
        place.open_gate()
        await engine.retry("job")
        place.acknowledge("retried")
        await engine.drain()


async def retry_again(place: Place, engine: QueueEngine, _: int) -> None:
    place.open_gate()
    job = await engine.wait("job")

    if job.state is JobState.DEAD:
        assert "retried" not in place.acknowledged()
        await engine.retry("job")


async def run_here(place: Place, points: CrashPoints) -> None:
    async with engine_of(place) as engine:
        points.start()
        spec = JobSpec(
            command=BEGIN + END, id="job", cwd=str(place.folder), max_retries=0, backoff_base=0
        )
        async with engine.run_here(spec):
            place.acknowledge("job")


async def enqueue(place: Place, points: CrashPoints) -> None:
    async with engine_of(place) as engine:
        points.start()

        for number in range(3):
            await engine.enqueue(":", id=f"job-{number}", cwd=place.folder)
            place.acknowledge(f"job-{number}")


async def enqueue_many(place: Place, points: CrashPoints) -> None:
    async with engine_of(place) as engine:
        points.start()
        specs = [
            JobSpec(command=":", id=f"job-{n}", cwd=str(place.folder), tags=("a", "b"))
            for n in range(8)
        ]
        for job in await engine.enqueue_many(specs):
            place.acknowledge(job.id)


async def lie(place: Place, points: CrashPoints) -> None:
    """Acknowledge what is nowhere."""
    points.start()
    place.acknowledge("job-0")
    await anyio.lowlevel.checkpoint()


def die_in(place: Place, *, words: str | None) -> None:
    """Let a first engine die: at a place, or when the job has begun."""

    async def work(tell: Tell) -> None:
        points = CrashPoints(kill_in=words, tell=tell)
        points.install()

        async with engine_of(place) as engine:
            points.start()

            async with engine.workers():
                await wait_until(place.has_begun)
                os.kill(os.getpid(), signal.SIGKILL)

    ended = in_fork(work, noise=place.noise, seconds=_DEADLINE)
    assert ended.code == -signal.SIGKILL, place.noise.read_text()


def running(place: Place) -> None:
    die_in(place, words=None)


def ended(place: Place) -> None:
    die_in(place, words=None)
    place.open_gate()
    until_no_process(place)


def lost(place: Place) -> None:
    die_in(place, words=None)

    for pid in place.processes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    place.open_gate()
    until_no_process(place)


def claimed(place: Place) -> None:
    die_in(place, words="before posixsubprocess.fork_exec in")


def forgotten(place: Place) -> None:
    """Take away what proves that the run came to its end."""
    ended(place)

    for file in place.folder.glob("queue.db-run/workers/*/*.exit"):
        file.unlink()


def until_no_process(place: Place) -> None:
    anyio.run(wait_until, lambda: not place.processes())
