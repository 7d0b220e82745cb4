"""An engine that stands still keeps what is its own; a clock that jumps changes little."""

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from queuectl import JobState, QueueEngine
from queuectl.engine.domain.events import EventKind
from queuectl.engine.testing import FakeClock, FakeRun, FakeRunner
from tests.acceptance.home import PATIENCE, Home
from tests.acceptance.jobs import appending, gated
from tests.factories import NOW
from tests.still import stand_still
from tests.waiting import wait_for_event, wait_until

STANDSTILL: Final = 3.0
DAY: Final = timedelta(days=1)

# A program that embeds an engine, and holds its event loop up.
HOLD_UP: Final = """
import asyncio, sys, time
from pathlib import Path
from queuectl import QueueEngine

async def main():
    async with QueueEngine() as engine:
        async with engine.workers(2):
            while not Path("hold").exists():
                await asyncio.sleep(0.01)
            print("held", flush=True)
            time.sleep(3)
            while not Path("free").exists():
                time.sleep(0.05)
            await engine.wait_all(["job", "second"], timeout=20)

asyncio.run(main())
"""


async def passes(seconds: float) -> None:
    """Return when so much time has passed, for nothing to happen in."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    await wait_until(lambda: loop.time() >= end, seconds=seconds + 5)


async def kinds(home: Home, job_id: str) -> list[str]:
    """Return what happened to a job."""
    async with QueueEngine(home.database) as engine:
        last = await engine.last_event()
        seen: list[str] = []

        async for event in engine.events(since=0):
            if event.job_id == job_id:
                seen.append(event.kind.value)
            if event.seq >= last:
                return seen

    raise AssertionError(seen)


async def others_work(home: Home) -> list[dict[str, Any]]:
    """Let two workers and some clients use the queue meanwhile."""
    workers = [await home.worker("--count", "2") for _ in range(2)]
    names = [f"other-{number}" for number in range(20)]
    await home.enqueue(*(appending("ran", id=name) for name in names))
    jobs: list[dict[str, Any]] = await home.json("wait", *names, "--timeout", "15")
    await home.ok("list")
    await home.ok("status")
    assert all(worker.is_running for worker in workers)
    return jobs


async def test_nothing_is_taken_from_a_worker_that_stands_still_for_three_seconds(
    home: Home,
) -> None:
    await home.enqueue(gated("job"), gated("second"), gated("cancelled"))
    first = await home.worker("--count", "3")
    await home.has_lines("began", 3)
    await asyncio.to_thread(stand_still, first.pid, home.database)

    try:
        others = await others_work(home)
        await home.ok("cancel", "cancelled")
        await passes(STANDSTILL)
        stopped = (await home.json("list"))[:3]
        home.file("go").touch()
        await home.has_lines("ended", 3)
        await passes(1.5)
        ended = (await home.json("list"))[:3]
    finally:
        first.send(signal.SIGCONT)

    done = await home.json("wait", "job", "second", "--timeout", "15")
    await home.run("wait", "cancelled", "--timeout", "15")
    expected = [("processing", "w1", 1)] * 3
    assert [(j["state"], j["worker"], j["run_count"]) for j in stopped] == expected
    assert [(j["state"], j["worker"], j["run_count"]) for j in ended] == expected
    assert {job["worker"] for job in others} <= {"w2", "w3"}
    assert [(j["state"], j["run_count"], j["attempts"]) for j in done] == [("completed", 1, 1)] * 2
    assert len(home.lines("began")) == len(home.lines("ended")) == 3
    # It had ended by itself when its worker could act on the order.
    assert (await home.job("cancelled"))["state"] in {"completed", "cancelled"}
    assert await kinds(home, "job") == ["enqueued", "claimed", "completed"]
    assert first.is_running


async def test_a_worker_that_stands_still_is_shown_and_no_job_of_it_is_lost(home: Home) -> None:
    await home.enqueue(gated())
    first = await home.worker()
    await home.has_lines("began")
    await asyncio.to_thread(stand_still, first.pid, home.database)

    try:
        second = await home.worker()
        await passes(STANDSTILL)
        states = {worker["id"]: worker["state"] for worker in await home.json("worker", "list")}
    finally:
        first.send(signal.SIGCONT)

    assert states["w1"] in {"running", "unresponsive"}
    assert states["w2"] == "running"
    home.file("go").touch()
    await home.ok("wait", "job", "--timeout", "15")
    assert await kinds(home, "job") == ["enqueued", "claimed", "completed"]
    assert second.is_running


async def test_nothing_is_taken_from_a_program_whose_event_loop_is_held_up(home: Home) -> None:
    await home.enqueue(gated("job"), gated("second"))
    program = await home.start_python("-c", HOLD_UP)
    await home.has_lines("began", 2)
    home.file("hold").touch()
    await wait_until(lambda: "held" in program.out, seconds=PATIENCE)

    await others_work(home)
    home.file("go").touch()
    await home.has_lines("ended", 2)
    jobs = (await home.json("list"))[:2]
    home.file("free").touch()

    assert await program.ended() == 0, program.err
    assert [(job["state"], job["worker"]) for job in jobs] == [("processing", "w1")] * 2
    assert len(home.lines("began")) == len(home.lines("ended")) == 2
    assert await kinds(home, "job") == ["enqueued", "claimed", "completed"]
    assert await kinds(home, "second") == ["enqueued", "claimed", "completed"]


async def test_a_local_time_means_the_zone_of_whoever_enqueued(home: Home) -> None:
    home.environ["TZ"] = "Asia/Tokyo"
    # What the clock on the wall in Tokyo will show two seconds from now.
    due = datetime.now(UTC) + timedelta(seconds=2)  # noqa: TID251 (the other side's clock)
    wall = (due + timedelta(hours=9)).strftime("%Y-%m-%dT%H:%M:%S.%f")
    await home.ok("enqueue", "--id", "job", "--run-at", wall, "--", "date", "+%Z %z")
    home.environ["TZ"] = "America/New_York"
    worker = await home.worker()
    await home.ok("wait", "job", "--timeout", "20")

    job = await home.job("job")
    run_at = datetime.fromisoformat(job["run_at"])
    started = datetime.fromisoformat(job["started_at"])
    assert abs(run_at - due) < timedelta(milliseconds=2)
    assert timedelta() <= started - run_at < timedelta(seconds=10)
    # The job has the worker's zone.
    assert await home.ok("logs", "job") in {"EDT -0400\n", "EST -0500\n"}
    assert worker.is_running


def engine_at(path: Path, clock: FakeClock, **runs: FakeRun) -> QueueEngine:
    runner = FakeRunner(clock)

    for command, run in runs.items():
        runner.script(command, run)

    return QueueEngine(path, clock=clock, runner=runner)


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["forward", "back"])
async def test_a_run_over_which_the_clock_jumps_takes_as_long_as_it_took(
    db_path: Path, jump: timedelta
) -> None:
    clock = FakeClock(NOW)

    async with engine_at(db_path, clock, long=FakeRun(takes=10.0)) as engine, engine.workers():
        await engine.enqueue("long", id="job")
        await wait_for_event(engine, EventKind.CLAIMED)
        clock.advance(4)
        clock.jump(jump)
        clock.advance(6)
        job = await engine.wait("job", timeout=5)
        [run] = await engine.attempts("job")

    assert (job.state, job.duration) == (JobState.COMPLETED, timedelta(seconds=10))
    assert run.duration == timedelta(seconds=10)
    assert run.finished_at is not None
    assert run.finished_at >= run.started_at


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["forward", "back"])
async def test_a_timeout_does_not_follow_a_clock_that_jumps(db_path: Path, jump: timedelta) -> None:
    clock = FakeClock(NOW)

    async with engine_at(db_path, clock, long=FakeRun(takes=100.0)) as engine, engine.workers():
        await engine.enqueue("long", id="job", timeout=10, max_retries=0)
        await wait_for_event(engine, EventKind.CLAIMED)
        clock.advance(4)
        clock.jump(jump)
        clock.advance(5)
        early = await engine.get("job")
        clock.advance(1)
        job = await engine.wait("job", timeout=5)

    assert early.state is JobState.PROCESSING
    assert (job.state, job.reason) == (JobState.DEAD, "timeout")
    assert job.duration == timedelta(seconds=10)


async def failed_once(engine: QueueEngine) -> Any:
    await engine.enqueue("bad", id="job", max_retries=1, backoff_base=5)
    await wait_for_event(engine, EventKind.FAILED)
    return await engine.get("job")


async def test_a_clock_that_jumps_forward_makes_a_retry_due_at_once(db_path: Path) -> None:
    clock = FakeClock(NOW)

    async with engine_at(db_path, clock, bad=FakeRun(exit_code=1)) as engine, engine.workers():
        await failed_once(engine)
        clock.jump(DAY)
        # The look that a worker takes each second.
        clock.advance(1)
        job = await engine.wait("job", timeout=5)

    assert (job.state, job.attempts) == (JobState.DEAD, 2)


async def test_a_retry_keeps_its_time_of_day_where_the_clock_is_set_back(db_path: Path) -> None:
    clock = FakeClock(NOW)

    async with engine_at(db_path, clock, bad=FakeRun(exit_code=1)) as engine, engine.workers():
        failed = await failed_once(engine)
        delay = failed.run_at - clock.now()
        clock.jump(-DAY)

        # Its delay is over by the clock that nobody sets; but a time of day is what is kept.
        for _ in range(8):
            clock.advance(1)
            await engine.get("job")

        early = await engine.get("job")
        clock.jump(DAY)
        clock.advance(1)
        job = await engine.wait("job", timeout=5)

    assert timedelta(seconds=5) <= delay <= timedelta(seconds=5.5)
    assert (early.state, early.run_at) == (JobState.FAILED, failed.run_at)
    assert (job.state, job.attempts) == (JobState.DEAD, 2)


async def test_a_clock_that_is_set_back_does_not_hold_up_what_was_due(db_path: Path) -> None:
    clock = FakeClock(NOW)

    async with engine_at(db_path, clock) as engine:
        await engine.enqueue("true", id="job")
        clock.jump(-DAY)
        async with engine.workers():
            job = await engine.wait("job", timeout=5)

    assert job.state is JobState.COMPLETED
    assert job.duration == timedelta()


async def test_jobs_run_by_priority_and_arrival_however_the_clock_jumps(db_path: Path) -> None:
    clock = FakeClock(NOW)
    runner = FakeRunner(clock)

    async with QueueEngine(db_path, clock=clock, runner=runner) as engine:
        for number, jump in enumerate((DAY, -2 * DAY, 3 * DAY, -DAY, -DAY, 2 * DAY)):
            await engine.enqueue(f"low {number}", id=f"low-{number}", priority=1)
            await engine.enqueue(f"high {number}", id=f"high-{number}", priority=9)
            clock.jump(jump)

        await engine.drain()
        jobs = await engine.list()

    words = [request.command for request in runner.started]
    assert words == [f"high {n}" for n in range(6)] + [f"low {n}" for n in range(6)]
    assert [job.id for job in jobs] == [f"{p}-{n}" for n in range(6) for p in ("low", "high")]


async def test_ids_that_are_made_sort_by_arrival_however_the_clock_jumps(db_path: Path) -> None:
    clock = FakeClock(NOW)
    made = []

    async with engine_at(db_path, clock) as engine:
        for jump in (DAY, -2 * DAY, timedelta(), 3 * DAY, -DAY):
            made.append((await engine.enqueue("true")).id)
            clock.jump(jump)

    assert made == sorted(set(made))
