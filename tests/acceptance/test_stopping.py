"""How a worker in the foreground works and stops."""

import signal
import sys

import pytest

from queuectl import QueueEngine, WorkerState
from tests.acceptance.home import PATIENCE, Home, is_running
from tests.acceptance.jobs import appending, family, gated, stubborn
from tests.acceptance.terminal import terminal
from tests.waiting import wait_until

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


async def test_a_worker_in_the_foreground_runs_what_other_processes_enqueue_and_tells_its_pid(
    home: Home,
) -> None:
    worker = await home.worker()
    await home.ok("enqueue", '{"id": "a", "command": "echo from-a"}')
    await home.ok("enqueue", "--id", "b", "--", "echo", "from b")
    jobs = await home.json("wait", "a", "b")

    assert [job["state"] for job in jobs] == ["completed", "completed"]
    assert await home.ok("logs", "b") == "from b\n"
    assert f"started: pid {worker.pid}" in worker.err
    assert worker.is_running


@pytest.mark.parametrize("number", SIGNALS)
async def test_the_first_signal_lets_the_running_job_finish_and_the_worker_exit_with_0(
    home: Home, number: signal.Signals
) -> None:
    await home.enqueue(gated("running"), appending("ended", id="waiting"))
    worker = await home.worker()
    await home.has_lines("began")
    worker.send(number)
    await worker.says("stopping when the running jobs are done")

    assert worker.is_running
    home.file("go").touch()
    assert await worker.ended() == 0
    running, waiting = await home.json("list")
    assert (running["state"], running["exit_code"]) == ("completed", 0)
    assert (waiting["state"], waiting["attempts"]) == ("pending", 0)
    assert home.lines("ended") == ["running"]


async def test_an_idle_worker_ends_at_the_first_signal(home: Home) -> None:
    worker = await home.worker()
    worker.send(signal.SIGTERM)

    assert await worker.ended() == 0
    assert await home.json("worker", "list") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_second_signal_ends_the_whole_group_of_the_job_and_gives_it_back_uncharged(
    home: Home, number: signal.Signals
) -> None:
    await home.enqueue(family())
    worker = await home.worker()
    await home.has_lines("began")
    worker.send(number)
    await worker.says("again to end them now")
    worker.send(number)

    assert await worker.ended() == 0
    assert home.processes() == {}
    job = await home.job("job")
    assert (job["state"], job["attempts"]) == ("pending", 0)
    assert [run["outcome"] for run in job["runs"]] == ["interrupted"]


async def test_what_the_signals_said_is_seen_by_others(home: Home) -> None:
    await home.enqueue(stubborn())
    worker = await home.worker()
    await home.has_lines("began")

    async with QueueEngine(home.database) as engine:
        for state in (WorkerState.DRAINING, WorkerState.STOPPING):
            worker.send(signal.SIGTERM)

            async def is_seen(state: WorkerState = state) -> bool:
                return [shown.state for shown in await engine.list_workers()] == [state]

            await wait_until(is_seen)

    assert await worker.ended() == 0


async def test_the_third_signal_leaves_at_once_with_130(home: Home) -> None:
    await home.enqueue(stubborn())
    worker = await home.worker()
    [pid] = await home.has_lines("began")
    worker.send(signal.SIGINT)
    await worker.says("again to end them now")
    worker.send(signal.SIGINT)
    await worker.says("again to leave at once")
    worker.send(signal.SIGINT)

    assert await worker.ended() == 130
    assert is_running(int(pid))
    assert (await home.job("job"))["state"] == "processing"


async def test_ctrl_c_at_the_terminal_does_not_reach_the_job(home: Home) -> None:
    await home.enqueue(gated())

    async with terminal(home, sys.executable, "-m", "queuectl", "worker", "start") as window:
        await home.has_lines("began")
        window.type(b"\x03")
        await window.shows("stopping when the running jobs are done")
        home.file("go").touch()

        assert await window.program.ended() == 0

    job = await home.job("job")
    assert (job["state"], job["exit_code"], job["attempts"]) == ("completed", 0, 1)
    assert home.lines("ended") == ["job"]


async def test_closing_the_terminal_lets_the_running_job_of_a_foreground_worker_finish(
    home: Home,
) -> None:
    await home.enqueue(gated())

    async with terminal(home, sys.executable, "-m", "queuectl", "worker", "start") as window:
        await window.shows("started: pid")
        [pid] = await home.has_lines("began")
        window.close()
        [found] = await home.json("worker", "list")
        home.file("go").touch()
        code = await window.program.ended()

    job = await home.job("job")
    assert found["pid"] == window.program.pid
    assert code == 0
    assert not is_running(int(pid))
    assert (job["state"], job["exit_code"], job["attempts"]) == ("completed", 0, 1)


async def test_ctrl_c_reaches_each_of_several_worker_processes_once(home: Home) -> None:
    await home.enqueue(gated("a"), gated("b"))
    words = (sys.executable, "-m", "queuectl", "worker", "start", "--processes", "2")

    async with terminal(home, *words) as window:
        await home.has_lines("began", 2)
        window.type(b"\x03")
        await wait_until(
            lambda: window.text().count("stopping when the running jobs are done") >= 2,
            seconds=PATIENCE,
        )
        home.file("go").touch()

        assert await window.program.ended() == 0
        assert "ending the running jobs" not in window.text()

    assert [job["state"] for job in await home.json("list")] == ["completed"] * 2
    await home.is_quiet()


async def test_several_worker_processes_in_the_foreground_are_listed_and_stop_together(
    home: Home,
) -> None:
    await home.enqueue(gated("a"), gated("b"), gated("c"), gated("d"))
    starter = await home.start("worker", "start", "--processes", "2", "--count", "2")
    await home.has_lines("began", 4)
    workers = await home.json("worker", "list")
    pids = {worker["pid"] for worker in workers}
    starter.send(signal.SIGTERM)
    await wait_until(lambda: starter.err.count("stopping when") == 2, seconds=PATIENCE)
    home.file("go").touch()

    assert await starter.ended() == 0
    assert [worker["concurrency"] for worker in workers] == [2, 2]
    assert len(pids) == 2
    assert starter.pid not in pids
    assert sorted(home.lines("ended")) == ["a", "b", "c", "d"]
    await home.is_quiet()


async def test_a_worker_that_drains_ends_by_itself_and_leaves_later_jobs(home: Home) -> None:
    await home.enqueue(
        appending("ran", id="fine"),
        {"id": "flaky", "command": "exit $((2 - QUEUECTL_ATTEMPT))", "backoff_base": 1},
        {"id": "hopeless", "command": "exit 3", "max_retries": 0},
        {"id": "later", "command": "echo too early >> ran", "delay": "1h"},
    )
    worker = await home.start("worker", "start", "--drain")

    assert await worker.ended() == 0
    jobs = {job["id"]: job["state"] for job in await home.json("list")}
    assert jobs == {
        "fine": "completed",
        "flaky": "completed",
        "hopeless": "dead",
        "later": "pending",
    }
    assert home.lines("ran") == ["fine"]


async def test_jobs_have_no_terminal_and_nothing_to_read(home: Home) -> None:
    await home.enqueue(
        {"id": "tty", "command": "read answer </dev/tty", "max_retries": 0},
        {"id": "stdin", "command": "cat; echo done"},
    )
    words = (sys.executable, "-m", "queuectl", "worker", "start", "--drain")

    async with terminal(home, *words) as window:
        assert await window.program.ended() == 0

    tty, stdin = await home.json("list")
    assert tty["state"] == "dead"
    assert stdin["state"] == "completed"
