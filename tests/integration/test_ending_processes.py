"""Jobs that are ended: by their timeout, by hand, and what they leave behind."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from queuectl import EventKind, JobState, JobStateError, OutcomeKind, QueueEngine
from queuectl.engine.runtime import proc
from queuectl.engine.runtime.reaper import Ends
from tests.integration.processes import end, is_running, pid_in
from tests.waiting import wait_for_event, wait_until

# A process that hears no TERM, without the word that makes the shell code another.
DEAF = (
    f'{sys.executable} -c "import os, signal; signal.signal(15, signal.SIG_IGN);'
    " print(os.getpid(), file=open('pid', 'w')); signal.pause()\""
)

STUBBORN = {
    "obeys": "echo $$ > pid; sleep 60",
    "child in the background": "sleep 60 & echo $! > pid; wait",
    "several children": "sleep 60 & sleep 60 & sleep 60 | sleep 60 & echo $! > pid; wait",
    "double fork": "(sh -c 'echo $$ > pid; exec sleep 60' &) ; sleep 60",
    "shell ignores TERM": "trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done",
    "shell catches TERM": "trap 'echo no' TERM; echo $$ > pid; while :; do sleep 0.1; done",
    "leader obeys, child does not": (
        "sh -c \"trap '' TERM; echo \\$\\$ > pid; while :; do sleep 0.1; done\" & wait"
    ),
    "child ignores TERM": DEAF,
    "child in the background ignores TERM": f"{DEAF} & wait",
}


@pytest.mark.parametrize("command", STUBBORN.values(), ids=STUBBORN.keys())
async def test_cancelling_ends_every_process_of_a_job(
    engine: QueueEngine, tmp_path: Path, command: str
) -> None:
    await engine.enqueue(command, id="job", cwd=tmp_path)

    async with engine.workers():
        pid = await pid_in(tmp_path / "pid")
        await engine.cancel("job", reason="not needed")
        job = await engine.wait("job", timeout=10)

        assert (job.state, job.reason) == (JobState.CANCELLED, "not needed")
        assert not is_running(pid)


@pytest.mark.parametrize(
    "shape", ["obeys", "double fork", "shell ignores TERM", "leader obeys, child does not"]
)
async def test_a_timeout_ends_every_process_of_a_job(
    engine: QueueEngine, tmp_path: Path, shape: str
) -> None:
    await engine.enqueue(STUBBORN[shape], id="job", cwd=tmp_path, timeout=0.3, max_retries=0)

    async with engine.workers():
        job = await engine.wait("job", timeout=10)

    (run,) = await engine.attempts("job")
    assert (job.state, job.reason) == (JobState.DEAD, "timeout")
    assert run.outcome is OutcomeKind.TIMED_OUT
    assert run.duration is not None
    assert 0.3 <= run.duration.total_seconds() < 5
    assert not is_running(await pid_in(tmp_path / "pid"))


async def test_a_command_has_the_grace_to_clean_up_after_its_timeout(
    engine: QueueEngine, tmp_path: Path
) -> None:
    command = "trap 'echo cleaned; exit 3' TERM; while :; do sleep 0.02; done"
    await engine.enqueue(command, id="job", cwd=tmp_path, timeout=0.2, max_retries=0)

    await engine.drain()

    assert (await engine.get("job")).reason == "timeout"
    assert "cleaned" in await engine.output("job")


async def test_a_timeout_counts_as_a_failure_and_is_retried(engine: QueueEngine) -> None:
    await engine.enqueue(
        'test "$QUEUECTL_ATTEMPT" -gt 1 || sleep 60', id="job", timeout=0.3, backoff_base=0
    )

    await engine.drain()

    runs = await engine.attempts("job")
    assert [run.outcome for run in runs] == [OutcomeKind.TIMED_OUT, OutcomeKind.COMPLETED]
    assert (await engine.get("job")).attempts == 2


async def test_a_timeout_of_zero_is_none(engine: QueueEngine) -> None:
    job = await engine.enqueue("sleep 0.1", timeout=0)

    await engine.drain()

    job = await engine.get(job.id)
    assert (job.timeout, job.state) == (None, JobState.COMPLETED)


@pytest.mark.parametrize("code", [0, 5])
async def test_what_a_command_leaves_in_the_background_ends_with_it(
    engine: QueueEngine, tmp_path: Path, code: int
) -> None:
    await engine.enqueue(
        f"sleep 60 & echo $! > pid; exit {code}", id="job", cwd=tmp_path, max_retries=0
    )

    await engine.drain()

    job = await engine.get("job")
    assert job.exit_code == code
    assert job.duration is not None
    assert job.duration.total_seconds() < 5
    assert not is_running(await pid_in(tmp_path / "pid"))


async def test_a_process_that_escaped_does_not_keep_its_job_from_ending(
    engine: QueueEngine, tmp_path: Path
) -> None:
    command = "setsid sh -c 'echo $$ > pid; exec sleep 60' & until [ -s pid ]; do :; done"
    await engine.enqueue(command, id="job", cwd=tmp_path)

    try:
        await engine.drain()

        assert (await engine.get("job")).state is JobState.COMPLETED
    finally:
        end(await pid_in(tmp_path / "pid"))


async def test_a_waiting_job_is_cancelled_at_once(engine: QueueEngine) -> None:
    await engine.enqueue("true", id="job")

    job = await engine.cancel("job", reason="changed my mind")

    assert (job.state, job.reason, job.run_count) == (JobState.CANCELLED, "changed my mind", 0)
    assert await engine.attempts("job") == []


async def test_a_job_that_waits_for_its_retry_is_cancelled_and_not_run_again(
    engine: QueueEngine,
) -> None:
    await engine.enqueue("exit 1", id="job", backoff_base=100)

    async with engine.workers():
        await wait_for_event(engine, EventKind.FAILED, "job")
        await engine.cancel("job")
    await engine.drain()

    job = await engine.get("job")
    assert (job.state, job.reason, job.run_count) == (JobState.CANCELLED, "cancelled", 1)


async def test_the_run_of_a_cancelled_job_is_kept_with_the_reason(
    engine: QueueEngine, tmp_path: Path
) -> None:
    await engine.enqueue("echo began; echo $$ > pid; sleep 60", id="job", cwd=tmp_path)

    async with engine.workers():
        await pid_in(tmp_path / "pid")
        await engine.cancel("job", reason="the first")
        await engine.cancel("job", reason="the second")
        await engine.wait("job", timeout=10)

    (run,) = await engine.attempts("job")
    assert (run.outcome, run.reason) == (OutcomeKind.CANCELLED, "the first")
    assert run.signal == "SIGTERM"
    assert await engine.output("job") == "began\n"


async def test_a_finished_job_cannot_be_cancelled(engine: QueueEngine) -> None:
    await engine.enqueue("true", id="job")
    await engine.drain()

    with pytest.raises(JobStateError):
        await engine.cancel("job")


async def test_a_cancelled_job_can_be_run_after_all(engine: QueueEngine) -> None:
    await engine.enqueue("echo ran", id="job")
    await engine.cancel("job")

    await engine.retry("job")
    await engine.drain()

    assert (await engine.get("job")).state is JobState.COMPLETED


async def test_cancelling_while_jobs_end_leaves_each_with_one_end(engine: QueueEngine) -> None:
    jobs = await engine.enqueue_many([":"] * 60)
    taken: set[str] = set()
    refused: set[str] = set()

    async with engine.workers(4):
        async for event in engine.events(since=0):
            # One that was claimed ahead and given back is claimed twice.
            if event.kind is EventKind.CLAIMED and event.job_id not in taken:
                try:
                    await engine.cancel(event.job_id)
                    taken.add(event.job_id)
                except JobStateError:
                    refused.add(event.job_id)
            if event.job_id == jobs[-1].id and event.state in {"completed", "cancelled"}:
                break
        finished = await engine.wait_all([job.id for job in jobs], timeout=10)

    ends: dict[str, int] = {}
    async for event in engine.events(since=0):
        ends[event.job_id] = ends.get(event.job_id, 0) + (
            event.state in {"completed", "cancelled", "dead"}
        )
        if event.seq == await engine.last_event():
            break
    completed = sum(job.state is JobState.COMPLETED for job in finished)
    assert {job.state for job in finished} <= {JobState.COMPLETED, JobState.CANCELLED}
    assert len(refused - taken) <= completed
    assert set(ends.values()) == {1}


async def test_an_engine_that_is_left_tells_all_of_its_workers_before_it_waits_for_one(
    db_path: Path, tmp_path: Path
) -> None:
    both = "touch told-$QUEUECTL_JOB_ID; until [ -e told-one ] && [ -e told-two ]; do :; done; exit"
    command = f"trap '{both}' TERM; echo $$ > pid-$QUEUECTL_JOB_ID; while :; do sleep 0.02; done"

    # Told one after the other, the first would wait for the second to the end of its grace.
    async with QueueEngine(db_path, kill_grace=60) as engine:
        working = [asyncio.create_task(engine.run()) for _ in range(2)]

        for name in ("one", "two"):
            await engine.enqueue(command, id=name, cwd=tmp_path)
            await pid_in(tmp_path / f"pid-{name}")

    await asyncio.gather(*working)
    async with QueueEngine(db_path) as engine:
        jobs = [await engine.get(name) for name in ("one", "two")]

    assert [(job.state, job.interruptions) for job in jobs] == [(JobState.PENDING, 1)] * 2


async def test_a_command_that_is_cancelled_and_ends_well_is_cancelled(
    engine: QueueEngine, tmp_path: Path
) -> None:
    command = "trap 'exit 0' TERM; echo $$ > pid; while :; do sleep 0.02; done"
    await engine.enqueue(command, id="job", cwd=tmp_path)

    async with engine.workers():
        await pid_in(tmp_path / "pid")
        await engine.cancel("job")
        job = await engine.wait("job", timeout=10)

    # It was told to stop, and stopped: that it said 0 does not make it complete.
    assert job.state is JobState.CANCELLED


async def test_cancelling_from_another_engine_ends_the_job_soon(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue("echo $$ > pid; exec sleep 60", id="job", cwd=tmp_path)

    async with engine.workers(), QueueEngine(db_path) as other:
        pid = await pid_in(tmp_path / "pid")
        began = asyncio.get_running_loop().time()
        await other.cancel("job")
        await wait_until(lambda: not is_running(pid))

        assert asyncio.get_running_loop().time() - began < 1
        assert (await other.wait("job", timeout=5)).state is JobState.CANCELLED


# Follows the process whose number it is given, until it is told to go.
TRACER = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE = 0x4206
if libc.ptrace(PTRACE_SEIZE, int(sys.argv[1]), None, None):
    sys.exit(77)
print("there", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="traces as Linux does")
async def test_a_process_that_a_debugger_holds_holds_up_nobody_else() -> None:
    heard: list[int | None] = []
    child = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})

    try:
        tracer = await asyncio.create_subprocess_exec(  # noqa: TID251 (a debugger)
            sys.executable, "-c", TRACER, str(child), stdin=PIPE, stdout=PIPE
        )
        assert tracer.stdin is not None
        assert tracer.stdout is not None

        if not await tracer.stdout.readline():
            pytest.skip("tracing is not allowed here")

        Ends().wait_for(asyncio.get_running_loop(), child, lambda status, _: heard.append(status))
    finally:
        os.kill(child, signal.SIGKILL)

    # Our loop closes that, if it goes on: a wait for the child would not.
    await wait_until(lambda: proc.find_process(child) is None)
    await asyncio.sleep(0)
    tracer.stdin.close()
    await tracer.wait()
    await wait_until(lambda: bool(heard))

    assert heard == [signal.SIGKILL]
