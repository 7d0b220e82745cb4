"""Workers that are replaced while jobs run, and workers that do not answer or have died."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from tests.acceptance.home import PATIENCE, Home, is_running
from tests.acceptance.jobs import gated
from tests.still import stand_still
from tests.waiting import wait_until

EMBEDDED = """
import asyncio
from queuectl import QueueEngine

async def main():
    async with QueueEngine() as engine, engine.workers():
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_restarted_worker_goes_on_with_what_runs(home: Home) -> None:
    await home.enqueue(gated() | {"on_crash": "dead"}, {"id": "after", "command": "echo after"})
    worker = await home.worker()
    [shell] = await home.has_lines("began")
    printed = await home.ok("worker", "restart", "--timeout", "15")
    [new] = await home.json("worker", "list")
    running = await home.job("job")
    home.file("go").touch()
    await home.ok("wait", "job", "after", "--timeout", "15")

    job = await home.job("job")
    [run] = job["runs"]
    assert printed == f"Started worker: w2, pid {worker.pid}\n"
    assert (new["id"], new["pid"], new["state"]) == ("w2", worker.pid, "running")
    assert (running["state"], running["worker"], running["attempts"]) == ("processing", "w2", 1)
    assert (job["state"], job["exit_code"], len(job["runs"])) == ("completed", 0, 1)
    assert await home.ok("logs", "job") == "hello\ngoodbye\n"
    assert home.lines("ended") == ["job"]
    # It is still a child of that process, which so learns how it ended.
    assert run["cpu_sec"] is not None
    assert not is_running(int(shell))
    assert not Path(f"/proc/{shell}").exists()


async def test_a_job_that_ends_while_its_worker_is_replaced_keeps_how_it_ended(home: Home) -> None:
    jobs = [
        {"id": f"j{n}", "command": f"sleep 0.{n}; exit {n}", "max_retries": 0} for n in range(10)
    ]
    await home.enqueue(*jobs)
    await home.worker("--count", 10)
    for _ in range(3):
        await home.ok("worker", "restart", "--timeout", "15")
    await home.run("wait", *(job["id"] for job in jobs), "--timeout", "15")

    done = await home.json("list")
    assert {job["id"]: job["exit_code"] for job in done} == {f"j{n}": n for n in range(10)}
    assert {job["run_count"] for job in done} == {1}


async def test_a_detached_worker_is_restarted_with_its_log(home: Home) -> None:
    worker = await home.json("worker", "start", "--detach")
    [new] = await home.json("worker", "restart", "--timeout", "15")
    await home.enqueue({"id": "job", "command": "true"})
    await home.ok("wait", "job", "--timeout", "15")
    await home.ok("worker", "stop", "--timeout", "15")

    [log] = (home.state / "logs").iterdir()
    assert (new["id"], new["pid"]) == ("w2", worker["pid"])
    assert "making room for a successor" in log.read_text()
    assert " died:" not in log.read_text()
    assert "completed job" in log.read_text()
    await home.is_quiet()


async def test_a_worker_in_another_program_is_not_restarted(home: Home) -> None:
    program = await home.start_python("-c", EMBEDDED)
    await wait_until(lambda: "ready" in program.out, seconds=PATIENCE)
    result = await home.run("worker", "restart", "w1")
    await program.kill()

    assert result.code == 4
    assert "worker w1 is part of another program" in result.err


async def test_a_worker_that_is_stopping_is_not_restarted(home: Home) -> None:
    await home.enqueue(gated())
    worker = await home.worker()
    await home.has_lines("began")
    stop = await home.start("worker", "stop")

    async def is_draining() -> bool:
        return (await states(home)) == {"w1": "draining"}

    await wait_until(is_draining, seconds=PATIENCE)
    result = await home.run("worker", "restart", "w1")
    home.file("go").touch()

    assert result.code == 4
    assert "worker w1 is stopping" in result.err
    assert await stop.ended() == 0
    assert await worker.ended() == 0
    assert (await home.job("job"))["state"] == "completed"


async def test_a_worker_whose_lock_was_moved_is_not_taken_for_dead(home: Home) -> None:
    await home.enqueue(gated())
    worker = await home.worker("--count", 2)
    await home.has_lines("began")
    [folder] = (home.state / "workers").iterdir()
    (folder / "lock").rename(folder / "moved")
    (folder / "lock").touch(mode=0o600)
    other = await home.worker()
    await home.enqueue({"id": "after", "command": "true"})
    await home.ok("wait", "after", "--timeout", "15")
    seen = await states(home)
    home.file("go").touch()
    await home.ok("wait", "job", "--timeout", "15")

    job = await home.job("job")
    assert seen == {"w1": "running", "w2": "running"}
    assert (job["worker"], job["run_count"], home.lines("ended")) == ("w1", 1, ["job"])
    assert worker.is_running
    assert other.is_running


async def test_a_stopped_worker_is_unresponsive_and_keeps_its_jobs(home: Home) -> None:
    await home.enqueue(gated())
    stopped = await home.worker()
    await home.has_lines("began")
    await asyncio.to_thread(stand_still, stopped.pid, home.database)
    other = await home.worker()
    before = await states(home)
    home.file("go").touch()
    await home.has_lines("ended")
    job = await home.job("job")
    stopped.send(signal.SIGCONT)
    await home.ok("wait", "job", "--timeout", "15")
    after = await states(home)

    assert before == {"w1": "unresponsive", "w2": "running"}
    assert after == {"w1": "running", "w2": "running"}
    assert (job["state"], job["worker"]) == ("processing", "w1")
    assert (await home.job("job"))["worker"] == "w1"
    assert home.lines("ended") == ["job"]
    assert other.is_running


async def test_a_detached_worker_that_was_killed_has_that_in_its_log(home: Home) -> None:
    await home.enqueue(gated())
    worker = await home.json("worker", "start", "--detach")
    await home.has_lines("began")
    os.kill(worker["pid"], signal.SIGKILL)
    await wait_until(lambda: not is_running(worker["pid"]), seconds=PATIENCE)
    status = await home.json("status")
    await home.worker()
    home.file("go").touch()
    await home.ok("wait", "job", "--timeout", "15")

    [dead] = status["workers"]
    assert (dead["id"], dead["state"], dead["busy"]) == ("w1", "dead", 1)
    log = (home.state / "logs" / "w1.log").read_text()
    assert "worker w1 died: killed, out of memory, or of what stands above" in log


async def test_a_worker_that_a_fault_ends_leaves_the_place_in_its_log(home: Home) -> None:
    worker = await home.json("worker", "start", "--detach")
    os.kill(worker["pid"], signal.SIGSEGV)
    await wait_until(lambda: not is_running(worker["pid"]), seconds=PATIENCE)

    log = (home.state / "logs" / "w1.log").read_text()
    assert "Fatal Python error: Segmentation fault" in log


async def states(home: Home) -> dict[str, Any]:
    """Return what state each worker is in."""
    return {worker["id"]: worker["state"] for worker in await home.json("worker", "list")}
