"""Workers in the background: how they outlive their terminal, and how they are stopped."""

import asyncio
import os
import signal
import sys
from typing import Any

from tests.acceptance.home import PATIENCE, Home, is_running
from tests.acceptance.jobs import appending, family, gated, stubborn
from tests.acceptance.terminal import terminal
from tests.still import stand_still
from tests.waiting import wait_until

QUEUECTL = (sys.executable, "-m", "queuectl")


async def detach(home: Home, *words: object) -> dict[str, Any]:
    """Start one worker in the background, and return it."""
    worker: dict[str, Any] = await home.json("worker", "start", "--detach", *words)
    return worker


async def test_a_detached_worker_says_its_id_its_pid_and_its_log_file(home: Home) -> None:
    printed = await home.ok("worker", "start", "--detach")
    [worker] = await home.json("worker", "list")

    [log_file] = (home.state / "logs").iterdir()
    assert printed == (
        f"Started worker: {worker['id']}, pid {worker['pid']}, log {log_file.resolve()}\n"
    )
    assert f"started: pid {worker['pid']}" in log_file.read_text()


async def test_a_detached_worker_outlives_its_terminal_until_it_is_stopped(home: Home) -> None:
    shell = '"$@"; echo "status $?"; read -r _'
    words = ("/bin/sh", "-c", shell, "sh", *QUEUECTL, "worker", "start", "--detach")

    async with terminal(home, *words) as window:
        await window.shows("status 0")
        [worker] = await home.json("worker", "list")
        window.close()
        await window.program.ended()

    await home.enqueue(appending("ran", id="after"))
    await home.ok("wait", "after", "--timeout", "15")
    assert await home.json("worker", "list") == [worker | {"busy": 0}]
    stopped = await home.ok("worker", "stop")

    assert stopped == f"Stopped worker: {worker['id']}\n"
    await home.is_quiet()
    assert home.lines("ran") == ["after"]
    assert await home.json("worker", "list") == []


async def test_stopping_waits_for_running_jobs(home: Home) -> None:
    await home.enqueue(gated(), appending("ended", id="waiting"))
    await detach(home)
    await home.has_lines("began")
    stop = await home.start("worker", "stop")

    async def is_draining() -> bool:
        [worker] = await home.json("worker", "list")
        return bool(worker["state"] == "draining")

    await wait_until(is_draining, seconds=PATIENCE)
    assert stop.is_running
    home.file("go").touch()

    assert await stop.ended() == 0
    running, waiting = await home.json("list")
    assert (running["state"], waiting["state"]) == ("completed", "pending")
    await home.is_quiet()


async def test_stopping_now_ends_running_jobs_and_gives_them_back_uncharged(home: Home) -> None:
    await home.enqueue(family())
    await detach(home)
    await home.has_lines("began")
    await home.ok("worker", "stop", "--now")

    await home.is_quiet()
    job = await home.job("job")
    assert (job["state"], job["attempts"]) == ("pending", 0)


async def test_stopping_now_ends_a_job_that_ignores_the_request(home: Home) -> None:
    await home.enqueue(stubborn())
    await detach(home)
    await home.has_lines("began")
    await home.ok("worker", "stop", "--now")

    await home.is_quiet()
    assert (await home.job("job"))["state"] == "pending"


async def test_waiting_for_a_stop_gives_up_with_5_and_the_worker_still_stops(home: Home) -> None:
    await home.enqueue(gated())
    worker = await detach(home)
    await home.has_lines("began")
    result = await home.run("worker", "stop", "--timeout", "0.2")
    [found] = await home.json("worker", "list")
    home.file("go").touch()

    assert result.code == 5
    assert worker["id"] in result.err
    assert (found["id"], found["state"], found["busy"]) == (worker["id"], "draining", 1)
    await home.is_quiet()
    assert (await home.job("job"))["state"] == "completed"


async def test_now_hastens_a_stop_that_waits(home: Home) -> None:
    await home.enqueue(family())
    await detach(home)
    await home.has_lines("began")
    assert (await home.run("worker", "stop", "--timeout", "0.1")).code == 5
    await home.ok("worker", "stop", "--now")

    await home.is_quiet()
    assert (await home.job("job"))["state"] == "pending"


async def test_one_of_several_workers_can_be_stopped(home: Home) -> None:
    workers = await home.json("worker", "start", "--detach", "--processes", "2")
    first, second = (worker["id"] for worker in workers)
    stopped = await home.ok("worker", "stop", first)
    unknown = await home.run("worker", "stop", first)

    assert stopped == f"Stopped worker: {first}\n"
    assert unknown.code == 3
    assert [worker["id"] for worker in await home.json("worker", "list")] == [second]


async def test_a_worker_that_is_asked_to_stop_while_it_is_suspended_stops_when_it_goes_on(
    home: Home,
) -> None:
    worker = await detach(home)
    await asyncio.to_thread(stand_still, worker["pid"], home.database)
    result = await home.run("worker", "stop", "--timeout", "0.2")
    os.kill(worker["pid"], signal.SIGCONT)

    assert result.code == 5
    await wait_until(lambda: not is_running(worker["pid"]), seconds=PATIENCE)


async def test_stopping_leaves_nothing_behind(home: Home) -> None:
    await home.enqueue(
        *(appending("ran", id=f"job-{number}") for number in range(20)),
        {"id": "left", "command": "sleep 600 & (sleep 600 &) ; echo left"},
        {"id": "large", "command": "head -c 3000000 /dev/zero"},
    )
    workers = await home.json("worker", "start", "--detach", "--processes", "2", "--count", "3")
    ids = [job["id"] for job in await home.json("list")]
    await home.ok("wait", *ids, "--timeout", "30")
    await home.ok("worker", "stop")

    await home.is_quiet()
    assert len(workers) == 2
    files = {str(path.relative_to(home.state)) for path in home.state.rglob("*")}
    outputs = {name for name in files if name.startswith("output/")}
    logs = {name for name in files if name.startswith("logs/")}
    assert files - outputs - logs == {"database", "workers", "wake", "output", "logs"}
    assert len(logs) == 2
    assert len([name for name in outputs if name.endswith(".log")]) == 1
    assert {path.name for path in home.database.parent.iterdir()} == {
        "queue.db",
        "queue.db-checkpoint",
        "queue.db-run",
        "queue.db-turnstile",
    }
    assert await home.json("worker", "list") == []
