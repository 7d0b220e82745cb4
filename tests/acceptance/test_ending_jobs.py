"""What is left of jobs that are ended: nothing."""

import pytest

from tests.acceptance.home import Home
from tests.acceptance.jobs import family, stubborn

# A daemon as old programs make it: two forks, so that its parent is gone. It ignores TERM.
DOUBLE_FORK = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    if os.fork() == 0:
        with open("began", "a") as file:
            print(os.getpid(), file=file)
        time.sleep(600)
    os._exit(0)
os.wait()
time.sleep(600)
"""


async def test_a_timeout_leaves_no_process_of_the_tree(home: Home) -> None:
    home.file("daemon.py").write_text(DOUBLE_FORK)
    # As long as four programs may take to begin, where others have the machine.
    more: dict[str, object] = {"timeout": 4, "max_retries": 0}
    await home.enqueue(
        family("family") | more,
        stubborn("stubborn") | more,
        {"id": "daemon", "command": "python3 daemon.py", **more},
        {"id": "exec", "command": "exec python3 daemon.py", **more},
    )
    worker = await home.worker("--count", "4")
    await home.has_lines("began", 4)
    result = await home.run("wait", "family", "stubborn", "daemon", "exec", "--timeout", "20")
    left = home.processes()
    jobs = await home.json("list")

    assert result.code == 6
    assert {pid for pid, words in left.items() if "queuectl" not in words} == set()
    assert worker.pid in left
    assert {(job["state"], job["reason"]) for job in jobs} == {("dead", "timeout")}
    assert all(job["duration_sec"] >= 4 for job in jobs)


async def test_a_timeout_of_a_retried_job_counts_as_a_failure(home: Home) -> None:
    command = "echo run $QUEUECTL_ATTEMPT; [ $QUEUECTL_ATTEMPT = 2 ] || sleep 600"
    await home.enqueue({"id": "job", "command": command, "timeout": 1, "backoff_base": 1})
    worker = await home.start("worker", "start", "--drain")
    assert await worker.ended() == 0

    job = await home.job("job")
    assert (job["state"], job["attempts"]) == ("completed", 2)
    assert [run["outcome"] for run in job["runs"]] == ["timed_out", "completed"]
    assert await home.ok("logs", "job", "--attempt", "1") == "run 1\n"
    await home.is_quiet()


@pytest.mark.parametrize("job", [family(), stubborn()], ids=["obeys", "ignores TERM"])
async def test_cancelling_a_running_job_ends_all_its_processes(
    home: Home, job: dict[str, object]
) -> None:
    await home.enqueue(job)
    worker = await home.worker()
    await home.has_lines("began")
    await home.ok("cancel", "job", "--reason", "not needed")
    result = await home.run("wait", "job", "--timeout", "15")

    left = home.processes()
    found = await home.job("job")
    assert result.code == 6
    assert list(left) == [worker.pid]
    assert (found["state"], found["reason"]) == ("cancelled", "not needed")
    assert [run["outcome"] for run in found["runs"]] == ["cancelled"]


async def test_what_a_job_leaves_in_the_background_is_ended_with_it(home: Home) -> None:
    await home.enqueue({"id": "job", "command": "(sleep 600 &); sleep 600 & echo left"})
    worker = await home.worker()
    await home.ok("wait", "job", "--timeout", "15")

    assert list(home.processes()) == [worker.pid]
    assert await home.ok("logs", "job") == "left\n"
