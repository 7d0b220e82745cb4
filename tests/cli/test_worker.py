"""``worker``: processes, for they are the point of it."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import (
    Queuectl,
    Result,
    Running,
    finish,
    next_line,
    run_process,
    started_process,
)
from tests.cli.schema import check_jobs, is_time
from tests.cli.states import pretended_worker
from tests.still import stand_still


@contextmanager
def started_worker(database: Path, *options: str) -> Iterator[tuple[Running, dict[str, Any]]]:
    """Start a worker in the foreground, and yield it when it is there."""
    words = ("--db", str(database), "worker", "start", "--json", *options)

    with started_process(*words) as process:
        yield process, json.loads(next_line(process))


def end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_draining_runs_what_is_due_and_ends(queuectl: Queuectl, db_path: Path) -> None:
    queuectl.ok("enqueue", "-", stdin='{"id":"a","command":"echo hi"}\n{"id":"b","command":":"}\n')
    queuectl.ok("enqueue", "--id", "later", "--delay", "1h", "--", "true")
    result = run_process("--db", str(db_path), "worker", "start", "--drain", "--count", "2")

    assert (result.code, result.out) == (0, "")
    assert " worker w1 started: pid " in result.err
    assert " completed a\n" in result.err
    check_jobs(queuectl.json("list", "--state", "completed"), "a", "b")
    assert queuectl.json("info", "later")["state"] == "pending"


def test_a_quiet_worker_tells_only_what_is_amiss(queuectl: Queuectl, db_path: Path) -> None:
    queuectl.ok("enqueue", "--", "true")

    assert run_process("--db", str(db_path), "worker", "start", "--drain", "-q") == Result(
        0, "", ""
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_ends_it_in_order(number: signal.Signals, db_path: Path) -> None:
    with started_worker(db_path, "--count", "3") as (process, worker):
        assert (worker["pid"], worker["concurrency"]) == (process.pid, 3)
        assert is_time(worker["started_at"])
        process.send_signal(number)
        result = finish(process)

    assert result.code == 0
    assert result.out == ""


def test_the_first_signal_waits_for_a_running_job(
    queuectl: Queuectl, db_path: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    queuectl.ok("enqueue", "--id", "a", "--command", f"echo on; cat {gate}")
    queuectl.ok("enqueue", "--id", "b", "--command", "true", "--priority", "1")

    with (
        started_worker(db_path) as (process, _),
        started_process("--db", str(db_path), "logs", "-f", "a") as logs,
    ):
        assert next_line(logs) == "on\n"
        process.send_signal(signal.SIGTERM)
        assert " worker w1 started: " in next_line(process, "stderr")
        assert " stopping when the running jobs are done" in next_line(process, "stderr")
        gate.write_text("off\n")
        assert finish(process).code == 0

    assert queuectl.json("info", "a")["state"] == "completed"
    assert queuectl.json("info", "b")["state"] == "pending"


def test_stop_waits_until_the_worker_is_gone(queuectl: Queuectl, db_path: Path) -> None:
    with started_worker(db_path) as (process, worker):
        assert queuectl("worker", "stop") == Result(0, f"Stopped worker: {worker['id']}\n", "")
        assert finish(process).code == 0

    assert queuectl.json("worker", "list") == []


def test_stop_now_ends_running_jobs_and_gives_them_back(queuectl: Queuectl, db_path: Path) -> None:
    queuectl.ok("enqueue", "--id", "a", "--command", "echo on; exec sleep 1000")

    with (
        started_worker(db_path) as (process, worker),
        started_process("--db", str(db_path), "logs", "-f", "a") as logs,
    ):
        assert next_line(logs) == "on\n"
        [stopped] = queuectl.json("worker", "stop", "--now")
        assert stopped["id"] == worker["id"]
        assert finish(process).code == 0

    job = queuectl.json("info", "a")
    assert (job["state"], job["attempts"]) == ("pending", 0)


def test_stop_that_takes_too_long_is_exit_code_5(queuectl: Queuectl, db_path: Path) -> None:
    with pretended_worker(db_path, "busy"):
        result = queuectl("worker", "stop", "--timeout", "20ms")

    assert result.code == 5
    assert "waiting for: w1" in result.err


def test_stop_of_a_worker_that_is_not_there_is_exit_code_3(queuectl: Queuectl) -> None:
    result = queuectl.error("worker", "stop", "w99")

    assert result.code == 3
    assert result.err == (
        "error: no such worker: w99\nhint: see what is there with: queuectl worker list\n"
    )


def test_stop_where_nobody_works_says_so_and_is_ok(queuectl: Queuectl) -> None:
    assert queuectl("worker", "stop") == Result(0, "", "no worker is alive\n")
    assert queuectl.json("worker", "stop") == []


@contextmanager
def dead_worker(queuectl: Queuectl, database: Path, *job_ids: str) -> Iterator[None]:
    """Leave jobs whose worker was killed, and end them afterwards."""
    folder = database.parent

    for job_id in job_ids:
        command = "echo $$ > $QUEUECTL_JOB_ID.pid; echo on; exec sleep 1000"
        queuectl.ok("enqueue", "--id", job_id, "--cwd", str(folder), "--command", command)

    with started_worker(database, "--count", str(len(job_ids))) as (process, _):
        for job_id in job_ids:
            with started_process("--db", str(database), "logs", "-f", job_id) as logs:
                assert next_line(logs) == "on\n"

        process.kill()
        process.wait()

    try:
        yield
    finally:
        for job_id in job_ids:
            end(int((folder / f"{job_id}.pid").read_text()))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stop",), "no worker is alive\n"),
        (("stop", "--now"), "no worker is alive\n"),
        (("restart",), "no worker is alive that could be replaced\n"),
    ],
)
def test_where_a_dead_worker_left_running_jobs_it_is_told_who_left_how_many(
    words: tuple[str, ...], said: str, queuectl: Queuectl, db_path: Path
) -> None:
    with dead_worker(queuectl, db_path, "a", "b"):
        result = queuectl("worker", *words)
        as_json = queuectl("worker", *words, "--json")

    assert result == Result(
        0,
        "",
        f"{said}worker w1 is dead, and left 2 running jobs\n"
        "a worker takes them over, and ends those that were cancelled; start one with:"
        f" queuectl --db {db_path} worker start\n",
    )
    assert (as_json.code, as_json.json, as_json.err) == (0, [], "")


@pytest.mark.parametrize("command", ["stop", "restart"])
def test_a_dead_worker_is_said_to_be_dead_when_it_is_named(
    command: str, queuectl: Queuectl, db_path: Path
) -> None:
    with dead_worker(queuectl, db_path, "a"):
        alone = queuectl.error("worker", command, "w1")
        stranger = queuectl.error("worker", command, "w99")

    assert alone.code == 3
    assert alone.err == (
        "error: worker w1 is dead, and left 1 running job\nhint: start a worker, which settles"
        f" what it left: queuectl --db {db_path} worker start\n"
    )
    assert "no such worker: w99" in stranger.err


def test_restart_of_a_worker_that_is_leaving_says_that_it_is(
    queuectl: Queuectl, db_path: Path
) -> None:
    with pretended_worker(db_path, "busy"):
        assert queuectl("worker", "stop", "--timeout", "1ms").code == 5
        result = queuectl("worker", "restart")

    assert result == Result(
        0,
        "",
        "worker w1 is draining, so it is not replaced; start another with:"
        f" queuectl --db {db_path} worker start\n",
    )


def test_cancelling_what_a_dead_worker_left_says_when_it_takes_effect(
    queuectl: Queuectl, db_path: Path
) -> None:
    with dead_worker(queuectl, db_path, "a", "b"):
        result = queuectl("cancel", "a")
        as_json = queuectl("cancel", "b", "--json")
        quiet = queuectl("cancel", "b", "-q")

    assert result == Result(
        0,
        "Cancelling job: a\n",
        "no worker is alive; what runs is ended when one is started, with:"
        f" queuectl --db {db_path} worker start\n",
    )
    assert (as_json.code, as_json.err) == (0, "")
    assert quiet == Result(0, "b\n", "")


def test_restart_where_nobody_works_says_so_and_is_ok(queuectl: Queuectl) -> None:
    assert queuectl("worker", "restart") == Result(
        0, "", "no worker is alive that could be replaced\n"
    )
    assert queuectl.json("worker", "restart") == []
    assert queuectl("worker", "restart", "-q") == Result(0, "", "")


def test_restart_of_a_worker_that_is_not_there_is_exit_code_3(queuectl: Queuectl) -> None:
    result = queuectl.error("worker", "restart", "w99")

    assert result.code == 3
    assert result.err == (
        "error: no such worker: w99\nhint: see what is there with: queuectl worker list\n"
    )


def test_a_worker_inside_another_program_is_not_restarted_and_goes_on(
    queuectl: Queuectl, db_path: Path
) -> None:
    with pretended_worker(db_path, "busy"):
        everyone = queuectl("worker", "restart")
        result = queuectl.error("worker", "restart", "w1")
        [worker] = queuectl.json("worker", "list")

    assert everyone == Result(0, "", "no worker is alive that could be replaced\n")
    assert result.code == 4
    assert result.err == (
        "error: worker w1 is part of another program\n"
        "hint: restart that program; what it runs is adopted by other workers\n"
    )
    assert (worker["id"], worker["state"], worker["busy"]) == ("w1", "running", 1)


def test_a_worker_that_does_not_answer_is_shown_as_that_until_it_does(
    queuectl: Queuectl, db_path: Path
) -> None:
    with started_worker(db_path) as (process, worker):
        stand_still(process.pid, db_path)
        [stopped] = queuectl.json("worker", "list")
        text = queuectl.ok("status").out
        process.send_signal(signal.SIGCONT)
        [going_on] = queuectl.json("worker", "list")

    assert (stopped["id"], stopped["state"]) == (worker["id"], "unresponsive")
    assert f"  {worker['id']:<18}unresponsive, pid {process.pid} on " in text
    assert "workers             1 (0 of 1 slots busy)\n" in text
    assert going_on["state"] == "running"


def test_restart_says_that_a_worker_that_was_to_stop_does_not_answer(
    queuectl: Queuectl, db_path: Path
) -> None:
    with started_worker(db_path) as (process, worker):
        stand_still(process.pid, db_path)
        assert queuectl("worker", "stop", "--timeout", "1ms").code == 5
        result = queuectl("worker", "restart")
        process.send_signal(signal.SIGCONT)

    assert result.code == 0
    assert f"worker {worker['id']} is unresponsive, so it is not replaced" in result.err


def test_list_shows_live_workers(queuectl: Queuectl, db_path: Path) -> None:
    with pretended_worker(db_path, "busy"):
        [worker] = queuectl.json("worker", "list")
        heading, line = queuectl.ok("worker", "list").out.splitlines()
        assert queuectl.ok("worker", "list", "-q").out == "w1\n"

    assert heading.split() == ["ID", "State", "PID", "Slots", "Busy", "Started", "Host"]
    assert line.split()[:5] == ["w1", "running", str(os.getpid()), "1", "1"]
    assert worker.keys() >= {"id", "state", "host", "pid", "concurrency", "busy", "started_at"}
    assert queuectl.json("worker", "list") == []


def test_a_detached_worker_prints_its_id_pid_and_log_file_and_goes_on(
    queuectl: Queuectl, db_path: Path
) -> None:
    result = run_process("--db", str(db_path), "worker", "start", "--detach", "--count", "2")
    assert result.code == 0
    [worker] = queuectl.json("worker", "list")

    try:
        head, log = result.out.rstrip("\n").split(", log ")
        assert head == f"Started worker: {worker['id']}, pid {worker['pid']}"
        assert f"worker {worker['id']} started" in Path(log).read_text()
        assert worker["concurrency"] == 2
        queuectl.ok("enqueue", "--id", "a", "--", "true")
        assert queuectl.ok("wait", "--timeout", "15", "a").code == 0
        assert queuectl.ok("worker", "stop").code == 0
        assert " completed a\n" in Path(log).read_text()
    finally:
        end(worker["pid"])


def test_a_detached_worker_in_json_is_one_object(queuectl: Queuectl, db_path: Path) -> None:
    worker = run_process("--db", str(db_path), "worker", "start", "--detach", "--json").json

    try:
        assert worker.keys() >= {"id", "pid", "log_file", "concurrency", "started_at"}
        assert queuectl.ok("worker", "stop", "--now", worker["id"]).code == 0
    finally:
        end(worker["pid"])


def test_several_processes_share_the_queue_and_end_together(
    queuectl: Queuectl, db_path: Path
) -> None:
    lines = "".join(f'{{"id":"j{number}","command":":"}}\n' for number in range(20))
    queuectl.ok("enqueue", "-", stdin=lines)
    words = ("worker", "start", "--processes", "2", "--count", "2", "--drain", "-q")
    result = run_process("--db", str(db_path), *words)

    assert (result.code, result.out) == (0, "")
    jobs = queuectl.json("list", "--state", "completed")
    assert [job["attempts"] for job in jobs] == [1] * 20


@pytest.mark.parametrize("option", ["--count", "--processes"])
@pytest.mark.parametrize("number", ["0", "-1", "x"])
def test_a_number_that_is_none_is_refused(option: str, number: str, queuectl: Queuectl) -> None:
    assert queuectl.error("worker", "start", option, number).code == 2


@pytest.mark.parametrize("options", [(), ("--detach",), ("--processes", "2")])
def test_a_worker_on_no_database_is_exit_code_7(options: tuple[str, ...], db_path: Path) -> None:
    db_path.write_text("a shopping list\n" * 100)
    result = run_process("--db", str(db_path), "worker", "start", *options)

    assert (result.code, result.out) == (7, "")
    assert result.err.startswith("error: not a database, or damaged")
