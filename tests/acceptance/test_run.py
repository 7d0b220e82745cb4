"""``run``: a job here and now, as if the command had been typed alone."""

import signal
import sys

import pytest

from tests.acceptance.home import PATIENCE, Home
from tests.acceptance.terminal import terminal
from tests.waiting import wait_until

_LIMITED = """
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))
os.execvp("sh", ["sh", "-c", {words!r}])
"""


@pytest.mark.parametrize(
    ("command", "code", "state"),
    [
        ("echo out; echo err >&2", 0, "completed"),
        ("exit 7", 7, "dead"),
        ("kill -9 $$", 137, "dead"),
        ("kill -TERM $$", 143, "dead"),
        ("kill -35 0", 163, "dead"),
        ("no-such-program", 127, "dead"),
    ],
)
async def test_run_exits_as_its_command_does(
    home: Home, command: str, code: int, state: str
) -> None:
    result = await home.run("run", "--id", "job", "--", "sh", "-c", command)

    job = await home.job("job")
    assert result.code == code
    assert (job["state"], job["run_count"]) == (state, 1)
    assert await home.ok("logs", "job") == result.out
    await home.is_quiet()


async def test_run_does_not_exit_as_a_command_that_ended_well_and_wrote_too_much(
    home: Home,
) -> None:
    words = ("--max-output-bytes", "4", "--", "echo", "too much")

    result = await home.run("run", "--id", "job", *words)

    assert (result.code, (await home.job("job"))["state"]) == (1, "dead")
    assert "output_limit=4" in result.err


async def test_run_shows_and_keeps_the_output_as_it_comes(home: Home) -> None:
    script = "echo first; until [ -e go ]; do sleep 0.02; done; printf second"
    run = await home.start("run", "--id", "job", "--", "sh", "-c", script)
    await wait_until(lambda: run.out == "first\n", seconds=PATIENCE)
    home.file("go").touch()

    assert await run.ended() == 0
    assert run.out == "first\nsecond"
    assert await home.ok("logs", "job") == "first\nsecond"


async def test_run_exits_with_124_where_the_command_took_too_long(home: Home) -> None:
    result = await home.run("run", "--id", "job", "--timeout", "0.3", "--", "sleep", "600")

    assert result.code == 124
    assert "timeout" in result.err
    assert (await home.job("job"))["reason"] == "timeout"
    await home.is_quiet()


async def test_ctrl_c_cancels_the_command_of_run_and_waits_for_its_end(home: Home) -> None:
    script = "trap 'echo cleaning; exit 1' TERM; echo x > began; while :; do sleep 0.02; done"
    words = ("-m", "queuectl", "run", "--id", "job", "--", "sh", "-c", script)

    async with terminal(home, sys.executable, *words) as window:
        await home.has_lines("began")
        window.type(b"\x03")

        assert await window.program.ended() == 130
        assert "cancelling job job" in window.text()

    job = await home.job("job")
    assert (job["state"], job["reason"]) == ("cancelled", "SIGINT")
    assert (await home.ok("logs", "job")).endswith("cleaning\n")
    await home.is_quiet()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_to_run_cancels_its_command(home: Home, number: signal.Signals) -> None:
    run = await home.start("run", "--id", "job", "--", "sh", "-c", "echo x > began; sleep 600")
    await home.has_lines("began")
    run.send(number)

    assert await run.ended() == 128 + number
    assert (await home.job("job"))["state"] == "cancelled"
    await home.is_quiet()


async def test_the_command_of_a_killed_run_goes_on_and_is_recorded_by_the_next_worker(
    home: Home,
) -> None:
    script = "echo x >> began; until [ -e go ]; do sleep 0.02; done; echo x >> ended; exit 3"
    run = await home.start("run", "--id", "job", "--", "sh", "-c", script)
    await home.has_lines("began")
    await run.kill()
    home.file("go").touch()
    await home.has_lines("ended")
    assert await (await home.start("worker", "start", "--drain")).ended() == 0

    job = await home.job("job")
    assert (job["state"], job["exit_code"], job["run_count"]) == ("dead", 3, 1)
    assert home.lines("began") == home.lines("ended") == ["x"]


async def test_a_run_whose_worker_is_stopped_is_cancelled_and_no_other_worker_has_it(
    home: Home,
) -> None:
    await home.worker()
    script = "echo x >> began; sleep 600"
    run = await home.start("run", "--id", "job", "--", "sh", "-c", script)
    await home.has_lines("began")
    [worker] = [job["worker"] for job in [await home.job("job")]]
    await home.ok("worker", "stop", "--now", worker)

    assert await run.ended() == 128 + signal.SIGTERM
    assert "interrupted" in run.err
    job = await home.job("job")
    assert (job["state"], job["run_count"], home.lines("began")) == ("cancelled", 1, ["x"])
    await home.ok("worker", "stop")
    await home.is_quiet()


@pytest.mark.parametrize("descriptors", range(13, 20))
async def test_what_run_cannot_start_no_other_worker_starts(home: Home, descriptors: int) -> None:
    await home.worker()
    words = f"{sys.executable} -m queuectl run --id job -- sh -c 'echo x >> ran'"
    limited = await home.start_python("-c", _LIMITED.format(words=words, limit=descriptors))
    code = await limited.ended()
    await home.ok("worker", "stop")

    if code == 0:
        assert home.lines("ran") == ["x"]
    else:
        assert not home.file("ran").exists()
        assert "\npending" not in await home.ok("list")
