"""Watching jobs from other processes than the one that runs them."""

import signal

from tests.acceptance.home import PATIENCE, Home
from tests.acceptance.jobs import gated
from tests.waiting import wait_until


async def test_logs_can_be_followed_before_the_start_and_through_retries(home: Home) -> None:
    await home.enqueue(
        {
            "id": "job",
            "command": "echo run $QUEUECTL_ATTEMPT; exit $((2 - QUEUECTL_ATTEMPT))",
            "backoff_base": 1,
        }
    )
    follower = await home.start("logs", "-f", "job")
    await follower.says("waiting for it to start")
    await follower.says("no worker is alive; start one with: queuectl worker start")
    await home.worker()

    assert await follower.ended() == 0
    assert follower.out == "run 1\nrun 2\n"


async def test_logs_are_shown_while_the_job_writes_them(home: Home) -> None:
    await home.enqueue(gated())
    await home.worker()
    await home.has_lines("began")
    followers = [await home.start("logs", "-f", "job") for _ in range(2)]

    for follower in followers:
        await wait_until(lambda shown=follower: shown.out == "hello\n", seconds=PATIENCE)  # type: ignore[misc]

    assert await home.ok("logs", "job") == "hello\n"
    home.file("go").touch()

    for follower in followers:
        assert await follower.ended() == 0
        assert follower.out == "hello\ngoodbye\n"


async def test_following_goes_on_when_the_worker_is_killed(home: Home) -> None:
    await home.enqueue(gated())
    first = await home.worker()
    follower = await home.start("logs", "-f", "job")
    await wait_until(lambda: follower.out == "hello\n", seconds=PATIENCE)
    await first.kill()
    home.file("go").touch()
    await home.has_lines("ended")
    await home.worker()

    assert await follower.ended() == 0
    assert follower.out == "hello\ngoodbye\n"


async def test_ctrl_c_ends_following_and_not_the_job(home: Home) -> None:
    await home.enqueue(gated())
    await home.worker()
    follower = await home.start("logs", "-f", "job")
    await wait_until(lambda: follower.out == "hello\n", seconds=PATIENCE)
    follower.send(signal.SIGINT)

    assert await follower.ended() == 130
    assert "Traceback" not in follower.err
    home.file("go").touch()
    await home.ok("wait", "job", "--timeout", "15")


async def test_following_a_job_that_is_cancelled_before_it_started_ends_with_an_error(
    home: Home,
) -> None:
    await home.enqueue(gated())
    follower = await home.start("logs", "-f", "job")
    await follower.says("waiting for it to start")
    await home.ok("cancel", "job")

    assert await follower.ended() == 1
    assert "it is cancelled" in follower.err


async def test_several_processes_wait_for_jobs_that_another_runs(home: Home) -> None:
    await home.enqueue(gated("good"), {"id": "bad", "command": "exit 4", "max_retries": 0})
    waits = [
        await home.start("wait", "good"),
        await home.start("wait", "good", "bad"),
        await home.start("wait", "good", "--timeout", "0.1"),
    ]
    assert await waits[2].ended() == 5
    await home.worker("--count", "2")
    await home.ok("cancel", "--help")
    assert waits[0].is_running
    home.file("go").touch()

    assert await waits[0].ended() == 0
    assert await waits[1].ended() == 6
    assert (await home.run("wait", "nobody")).code == 3
