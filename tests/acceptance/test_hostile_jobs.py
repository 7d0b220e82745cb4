"""Jobs that do what no job should: they end as documented, and the worker goes on."""

import os
import signal
from pathlib import Path
from typing import Final

import pytest

from tests.acceptance.home import Home, is_running
from tests.acceptance.hostile import (
    DAEMON,
    MEGABYTE,
    OWN_FILES,
    RESPAWN,
    assert_works_and_stops,
    end_all,
    ends,
    exits,
    killed,
    living,
    named,
    peak,
    start_worker,
)
from tests.acceptance.jobs import appending, gated
from tests.waiting import wait_until

ODD: Final = {
    "reads nothing": ("head -c 1 | wc -c | grep -qx 0; exit $?", exits(0)),
    "has no terminal": ("( : < /dev/tty ) 2>&1 | grep -q 'No such device'; exit $?", exits(0)),
    "closes its streams": ("exec 0<&- 1>&- 2>&-; exit 4", exits(4)),
    "closes everything": ("python3 -c 'import os; os.closerange(0, 4096); os._exit(5)'", exits(5)),
    "goes away": ("cd / && exit 6", exits(6)),
    "has no folder": ("mkdir gone && cd gone && rmdir ../gone; echo left; exit 7", exits(7)),
    "makes nothing readable": ("umask 777; set -C; exit 8", exits(8)),
    "unsets": ("for n in RUN DB JOB_ID ATTEMPT; do unset QUEUECTL_$n; done; exit 9", exits(9)),
    "has no environment": ("exec env -i /bin/sh -c 'exit 10'", exits(10)),
    "has no programs": ("PATH=/nowhere; exit 11", exits(11)),
    "splits at digits": ("IFS=0123456789; exit 12", exits(12)),
    "renames commands": ("echo() { :; }; cd() { :; }; command() { :; }; false", exits(1)),
    "sets everything": ("set -eu; : $nothing; exit 0", exits(2)),
    "has no words": ("if; then", exits(2)),
    "writes no file": ("ulimit -f 0; echo too much; exit 13", exits(153)),
    "opens no file": ("ulimit -n 0; exit 14", exits(14)),
    "traps its end": ("trap '' HUP INT QUIT TERM USR1; trap 'exit 15' EXIT; exit 3", exits(15)),
    "leaves some behind": ("(sleep 600 &); nohup sleep 600 & exit 16", exits(16)),
    "exits with 256": ("exit 256", exits(0)),
    "exits with 255": ("exit 255", exits(255)),
    "is short of memory": ("kill -SEGV $$", killed("SIGSEGV")),
    "ends its group": ("kill -TERM 0; sleep 600", killed("SIGTERM")),
    "kills its group": ("kill -KILL 0; sleep 600", killed("SIGKILL")),
    "kills its shell": ("sh -c 'kill -KILL $PPID; sleep 600'; exit 0", killed("SIGKILL")),
    "kills both shells": ("trap '' USR1; kill -KILL $PPID $$", killed("SIGKILL")),
}

ENDLESS: Final = {
    "ignores the request": "trap '' TERM; while :; do sleep 0.1; done",
    "traps everything": "trap ':' HUP INT QUIT TERM USR1 USR2 ALRM EXIT; while :; do :; done",
    "stops itself": "kill -STOP $$; sleep 600",
    "stops its group": "kill -STOP 0; sleep 600",
    "stops its children": "sleep 600 & kill -STOP $!; wait",
    "begins a group": "set -m; sleep 600 & wait",
    "has no streams": "exec 0<&- 1>&- 2>&-; sleep 600",
    "is twice forked": "(sh -c 'trap \"\" TERM; sleep 600' &) ; sleep 600",
}

SELFISH: Final = {
    "cuts its output": "echo before; : > /proc/self/fd/1; echo after; exit 3",
    "lengthens its output": "truncate -s 100M /proc/self/fd/1; exit 3",
    "deletes its output": "rm $(readlink /proc/$$/fd/1); echo after; exit 3",
    "deletes much output": "rm $(readlink /proc/$$/fd/1); head -c 100000 /dev/zero; exit 3",
    "writes into its lock": "os.pwrite(lock, b'999 999 junk', 0); sys.exit(3)",
    "empties its lock": "os.ftruncate(lock, 0); sys.exit(3)",
    "gives its lock up": "[fcntl.flock(n, fcntl.LOCK_UN) for n in (1, lock)]; sys.exit(3)",
    "deletes its lock": "os.unlink(stem + '.lock'); sys.exit(3)",
    "deletes its exit code": "os.unlink(stem + '.exit'); sys.exit(3)",
    "locks its exit code": "fcntl.flock(open(stem + '.exit'), fcntl.LOCK_EX); sys.exit(3)",
    "makes a pipe of it": "os.unlink(stem + '.exit'); os.mkfifo(stem + '.exit'); sys.exit(3)",
    "forges its exit code": "open(stem + '.exit', 'w').write(note + ' 0\\n'); sys.exit(3)",
}


async def test_jobs_that_behave_oddly_end_as_documented(home: Home) -> None:
    worker = await start_worker(home)
    await home.enqueue(*named({name: command for name, (command, _) in ODD.items()}, max_retries=0))

    found = await ends(home, list(ODD))

    assert found == {name: end for name, (_, end) in ODD.items()}
    assert {job["state"] for job in await home.json("list")} == {"completed", "dead"}
    await assert_works_and_stops(home, worker)


async def test_jobs_that_do_not_want_to_end_are_ended_by_their_timeout(home: Home) -> None:
    worker = await start_worker(home)
    await home.enqueue(*named(ENDLESS, max_retries=0, timeout=0.5))

    found = await ends(home, list(ENDLESS))

    assert {name: end if isinstance(end, str) else end.reason for name, end in found.items()} == (
        dict.fromkeys(ENDLESS, "timeout")
    )
    assert all(job["duration_sec"] < 5 for job in await home.json("list"))
    await assert_works_and_stops(home, worker)


async def test_what_a_job_does_to_its_own_files_harms_nobody(home: Home) -> None:
    home.file("own.py").write_text(OWN_FILES + "exec(sys.argv[1])\n")
    jobs = {
        name: command if "/proc" in command else f'exec python3 own.py "{command}"'
        for name, command in SELFISH.items()
    }
    worker = await start_worker(home, 1)
    await home.enqueue(*named(jobs, max_retries=0))

    found = await ends(home, list(SELFISH))

    assert found == dict.fromkeys(SELFISH, exits(3))
    outputs = {name: await home.ok("logs", name.replace(" ", "-")) for name in list(jobs)[:3]}
    missing = await home.run("logs", "deletes-much-output")
    assert outputs["cuts its output"] == outputs["deletes its output"] == "after\n"
    assert len(outputs["lengthens its output"]) == 100 * MEGABYTE
    assert (missing.code, missing.out) == (3, "")
    assert "the output of job deletes-much-output, attempt 1 is missing" in missing.err
    await assert_works_and_stops(home, worker)


async def test_a_job_that_deletes_its_workers_folder_does_not_stop_the_queue(home: Home) -> None:
    command = "rm -r $(dirname $(readlink /proc/$$/fd/1)); exit 3"
    worker = await start_worker(home, 1)
    await home.enqueue({"id": "job", "command": command, "max_retries": 0})
    await home.run("wait", "job", "--timeout", "15")
    await home.enqueue(*(appending("ran", id=f"after-{n}") for n in range(3)))

    result = await home.run("wait", *(f"after-{n}" for n in range(3)), "--timeout", "15")

    assert (await home.job("job"))["reason"] == "exit_code=3"
    assert result.code == 0, worker.err
    assert worker.is_running


async def job_of_dead_worker(home: Home) -> Path:
    """Kill a worker and its job together; return the file for the job's exit code."""
    worker = await start_worker(home)
    await home.enqueue(gated() | {"max_retries": 0})
    [pid] = await home.has_lines("began")
    await worker.kill()
    os.killpg(int(pid), signal.SIGKILL)
    await wait_until(lambda: not is_running(int(pid)))
    [note] = (home.state / "workers").glob("*/*.exit")
    return note


@pytest.mark.parametrize(
    "text",
    [
        *("{note}", "{note} -1 -1", "{note} 0 0", "{note} {note} {note}"),
        *("{note} 1 \u00b2", "{note} \u00b2", "{note} 4194304 300"),
        *("{note} 4194304 99999999999999999999", "{note} 99999999999999999999"),
        *("\xff\xfe", "", "x" * 9999, "a pipe"),
    ],
)
async def test_a_forged_note_of_a_dead_workers_job_stops_nobody(home: Home, text: str) -> None:
    note = await job_of_dead_worker(home)

    if text == "a pipe":
        note.unlink()
        os.mkfifo(note)
    else:
        note.write_bytes(f"{text.format(note='1 1')}\n".encode("latin-1"))

    second = await start_worker(home)
    await home.enqueue({"id": "after", "command": "echo fine"})
    await home.ok("wait", "after", "--timeout", "10")
    await wait_until(lambda: len(list((home.state / "workers").iterdir())) == 1)

    job = await home.job("job")
    # Settled, by whatever the note says; or given back, and taken by the second.
    assert job["state"] in {"completed", "dead"} or job["worker"] == "w2"
    assert "Traceback" not in second.err
    assert second.is_running
    await home.ok("worker", "stop", "--now", "--timeout", "15")
    await home.is_quiet()


@pytest.mark.parametrize("ending", ["", " 0"])
async def test_a_forged_note_does_not_end_a_stranger(home: Home, ending: str) -> None:
    stranger = await home.start_python("-c", "import time; time.sleep(600)", session=True)
    note = await job_of_dead_worker(home)
    note.write_text(f"1 1 {stranger.pid}{ending}\n")
    # The run began a minute before the stranger did.
    then = note.stat().st_mtime - 60
    os.utime(note, (then, then))

    await start_worker(home)
    await wait_until(lambda: len(list((home.state / "workers").iterdir())) == 1)

    assert is_running(stranger.pid)
    await home.ok("worker", "stop", "--now", "--timeout", "15")
    assert is_running(stranger.pid)


async def test_a_tree_of_processes_that_start_again_is_ended_whole(home: Home) -> None:
    home.file("respawn.py").write_text(RESPAWN)
    worker = await start_worker(home)
    await home.enqueue({"id": "job", "command": "exec python3 respawn.py", "max_retries": 0})
    await home.has_lines("grown")
    grown = len(living(home))
    await home.ok("cancel", "job")
    await home.run("wait", "job", "--timeout", "20")

    # At any moment some have ended, and others are being started in their places.
    assert grown > 100
    assert (await home.job("job"))["state"] == "cancelled"
    await assert_works_and_stops(home, worker)


@pytest.mark.parametrize("how", ["fork", "session", "closed", "popen", "setsid -f", "nohup"])
async def test_a_process_that_left_its_job_is_gone_when_its_worker_is(home: Home, how: str) -> None:
    await _assert_goes_with_its_worker(
        home,
        {
            "setsid -f": "setsid -f python3 $PWD/daemon.py stay",
            "nohup": "nohup setsid python3 $PWD/daemon.py stay &",
        }.get(how, f"python3 $PWD/daemon.py {how}"),
    )


async def test_a_process_that_left_its_environment_too_is_gone_when_its_worker_is(
    home: Home,
) -> None:
    await _assert_goes_with_its_worker(home, "env -i setsid -f python3 $PWD/daemon.py stay")


async def _assert_goes_with_its_worker(home: Home, command: str) -> None:
    home.file("daemon.py").write_text(DAEMON)
    worker = await start_worker(home)

    try:
        # It ends when the other has left it.
        waiting = f"{command}\nuntil [ -e began ]; do sleep 0.02; done; exit 3"
        await home.enqueue({"id": "job", "command": waiting, "max_retries": 0})
        await home.run("wait", "job", "--timeout", "10")
        assert (await home.job("job"))["reason"] == "exit_code=3"
        await home.run("worker", "stop", "--timeout", "15")
        assert await worker.ended() == 0
        assert living(home) == {}
    finally:
        await end_all(home)


async def test_an_output_of_one_long_line_is_kept_and_shown(home: Home) -> None:
    worker = await start_worker(home)
    await home.enqueue({"id": "job", "command": "head -c 50M /dev/zero | tr '\\0' x"})
    await home.ok("wait", "job", "--timeout", "15")

    job = await home.job("job")
    assert job["runs"][0]["output_bytes"] == 50 * MEGABYTE
    assert (await home.ok("logs", "job")).count("x") == 50 * MEGABYTE
    assert len(await home.ok("logs", "-n", "1", "job")) == 50 * MEGABYTE
    assert peak(worker) < 100 * MEGABYTE
    await assert_works_and_stops(home, worker)


async def test_an_output_of_any_bytes_is_kept_as_it_was_written(home: Home) -> None:
    worker = await start_worker(home)
    await home.enqueue({"id": "job", "command": "head -c 1M /dev/urandom | tee copy"})
    await home.ok("wait", "job", "--timeout", "15")

    looked = await home.start("logs", "job")
    assert await looked.ended() == 0
    text = (await home.json("logs", "job"))["output"]
    content = home.file("copy").read_bytes()
    assert len(content) == MEGABYTE
    assert looked._out.read_bytes() == content
    assert text == content.decode(errors="backslashreplace")
    await assert_works_and_stops(home, worker)


@pytest.mark.parametrize(
    "command",
    [
        "yes",
        "trap '' TERM; yes & yes & yes",
        "head -c 1048577 /dev/zero",
        "head -c 900000 /dev/zero; sleep 0.3; head -c 900000 /dev/zero; sleep 600",
        "truncate -s 2M /proc/self/fd/1; sleep 600",
    ],
)
async def test_a_job_that_writes_more_than_it_may_is_ended_and_its_output_cut(
    home: Home, command: str
) -> None:
    limit = {"max_output_bytes": MEGABYTE, "max_retries": 0, "timeout": 20}
    worker = await start_worker(home)
    await home.enqueue({"id": "job", "command": command, **limit})
    await home.run("wait", "job", "--timeout", "15")

    job = await home.job("job")
    assert (job["state"], job["reason"]) == ("dead", "output_limit=1048576")
    assert [run["outcome"] for run in job["runs"]] == ["failed"]
    assert job["runs"][0]["output_bytes"] == MEGABYTE
    assert len(await home.ok("logs", "job")) == MEGABYTE
    assert peak(worker) < 100 * MEGABYTE
    await assert_works_and_stops(home, worker)


async def test_a_job_that_writes_as_much_as_it_may_completes(home: Home) -> None:
    worker = await start_worker(home)
    command = "head -c 1048576 /dev/zero"
    await home.enqueue({"id": "job", "command": command, "max_output_bytes": MEGABYTE})
    await home.ok("wait", "job", "--timeout", "15")

    assert (await home.job("job"))["runs"][0]["output_bytes"] == MEGABYTE
    await assert_works_and_stops(home, worker)
