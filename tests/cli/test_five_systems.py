"""Every row of the table of the five earlier systems, as their users typed it."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.cli.program import Queuectl, finish, next_line, run_process, started_process
from tests.cli.schema import STATES, check_jobs
from tests.cli.states import FAILS, fill, run_jobs


def drain(database: Path, *options: str) -> str:
    """Run what is due in a process of its own, and return its log."""
    result = run_process("--db", str(database), "worker", "start", "--drain", *options)
    assert result.code == 0
    return result.err


def test_enqueue_a_json_object(queuectl: Queuectl) -> None:
    result = queuectl.ok("enqueue", '{"id":"job1","command":"echo hi"}')
    assert result.out == "Enqueued job: job1\n"


def test_enqueue_by_flags(queuectl: Queuectl) -> None:
    result = queuectl.ok("enqueue", "--id", "job1", "--command", "echo hi")
    assert result.out == "Enqueued job: job1\n"


def test_id_optional_generated(queuectl: Queuectl) -> None:
    first, second = (queuectl.json("enqueue", '{"command":"x"}')["id"] for _ in range(2))
    assert first < second


def test_fields_of_all_systems(queuectl: Queuectl) -> None:
    job = {
        "id": "job1",
        "command": "echo hi",
        "state": "pending",
        "attempts": 0,
        "max_retries": 3,
        "created_at": "2025-11-04T10:30:00Z",
        "updated_at": "2025-11-04T10:30:00Z",
        "run_at": "2025-11-04T10:30:00Z",
        "timeout_sec": 60,
        "priority": 100,
    }
    assert queuectl.ok("enqueue", json.dumps(job)).out == "Enqueued job: job1\n"


def test_states(queuectl: Queuectl) -> None:
    assert queuectl.json("status")["counts"].keys() == STATES


def test_worker_start_count_n_in_the_foreground(queuectl: Queuectl, db_path: Path) -> None:
    words = ("--db", str(db_path), "worker", "start", "--count", "3")

    with started_process(*words) as process:
        line = next_line(process, "stderr")
        [worker] = queuectl.json("worker", "list")
        process.send_signal(signal.SIGINT)
        assert finish(process).code == 0

    assert line.endswith(f"worker {worker['id']} started: pid {process.pid}, 3 slots\n")
    assert worker["concurrency"] == 3


def test_worker_stop(queuectl: Queuectl, db_path: Path) -> None:
    with started_process("--db", str(db_path), "worker", "start") as process:
        next_line(process, "stderr")
        assert queuectl.ok("worker", "stop").out == "Stopped worker: w1\n"
        assert finish(process).code == 0


def test_graceful_shutdown(queuectl: Queuectl, db_path: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    queuectl.ok("enqueue", "--id", "job1", "--command", f"echo on > {gate}; cat {gate}")

    with started_process("--db", str(db_path), "worker", "start") as process:
        assert gate.read_text() == "on\n"
        process.send_signal(signal.SIGTERM)
        gate.write_text("off\n")
        assert finish(process).code == 0

    assert queuectl.json("info", "job1")["state"] == "completed"


def test_status_has_each_state_dlq_and_the_average_duration(
    queuectl: Queuectl, db_path: Path
) -> None:
    fill(db_path)
    text = queuectl.ok("status").out
    names = [line.split()[0] for line in text.splitlines()]

    assert {*STATES, "dlq", "avg_duration_sec", "workers"} <= set(names)


def test_list_state_s(queuectl: Queuectl, db_path: Path) -> None:
    fill(db_path)
    heading, *lines = queuectl.ok("list", "--state", "pending").out.splitlines()

    assert {"ID", "Command", "State", "Duration"} <= set(heading.split())
    assert [line.split()[0] for line in lines] == ["pending"]
    assert len(queuectl.ok("list").out.splitlines()) == 6


def test_info_id(queuectl: Queuectl, db_path: Path) -> None:
    run_jobs(db_path, ("job1", "exit 1", FAILS))
    text = queuectl.ok("info", "job1").out

    assert "last error: attempt 1: exit_code=1\n" in text
    assert "no such thing" in text


def test_dlq_list(queuectl: Queuectl, db_path: Path) -> None:
    run_jobs(db_path, ("job1", "exit 1", FAILS))
    heading, line = queuectl.ok("dlq", "list").out.splitlines()

    assert heading.split()[:3] == ["ID", "Reason", "Time"]
    assert line.split()[:3] == ["job1", "exit_code=1", "2020-02-29T12:30:00.000Z"]


def test_dlq_retry_id(queuectl: Queuectl, db_path: Path) -> None:
    run_jobs(db_path, ("job1", "exit 1", FAILS))
    queuectl.ok("dlq", "retry", "job1")
    [job] = queuectl.json("list", "--state", "pending")

    assert (job["id"], job["attempts"]) == ("job1", 0)


@pytest.mark.parametrize(
    "key", ["max-retries", "max_retries", "backoff-base", "backoff_base", "base_backoff"]
)
def test_config_set(key: str, queuectl: Queuectl) -> None:
    assert queuectl.ok("config", "set", key, "5").out == "5\n"
    assert queuectl.ok("config", "get", key).out == "5\n"


def test_config_show_and_get(queuectl: Queuectl) -> None:
    assert queuectl.ok("config", "show").out.startswith("max-retries ")
    assert queuectl.ok("config", "get", "max-retries").out == "3\n"


def test_retry_with_backoff(queuectl: Queuectl, db_path: Path) -> None:
    queuectl.ok("config", "set", "backoff-base", "0.01")
    queuectl.ok("enqueue", "--id", "job1", "--max-retries", "2", "--command", "exit 3")
    drain(db_path)
    job = queuectl.json("info", "job1")

    assert (job["state"], job["attempts"], job["reason"]) == ("dead", 3, "exit_code=3")


def test_timeout_kills_and_counts_as_failure(queuectl: Queuectl, db_path: Path) -> None:
    words = ("--max-retries", "0", "--timeout", "50ms", "--command", "sleep 1000")
    queuectl.ok("enqueue", "--id", "job1", *words)
    drain(db_path)
    job = queuectl.json("info", "job1")

    assert (job["state"], job["reason"]) == ("dead", "timeout")


def test_priority_higher_first_ties_in_order_of_arrival(queuectl: Queuectl, db_path: Path) -> None:
    for job_id, priority in (("a", "100"), ("b", "200"), ("c", "100"), ("d", "5")):
        queuectl.ok("enqueue", "--id", job_id, "--priority", priority, "--", "true")

    log = drain(db_path).splitlines()

    assert [line[-1] for line in log if " completed " in line] == ["b", "a", "c", "d"]


def test_run_at_stays_pending(queuectl: Queuectl, db_path: Path) -> None:
    queuectl.ok("enqueue", '{"id":"job1","command":"true","run_at":"2035-01-01T00:00:00Z"}')
    drain(db_path)

    check_jobs(queuectl.json("list", "--state", "pending"), "job1")


def test_output_logging_keeps_stdout_and_stderr(queuectl: Queuectl, db_path: Path) -> None:
    queuectl.ok("enqueue", "--id", "job1", "--command", "echo out; echo err >&2")
    drain(db_path)

    assert queuectl.ok("logs", "job1").out == "out\nerr\n"


def test_persistence_over_restarts(queuectl: Queuectl, db_path: Path) -> None:
    queuectl.ok("enqueue", "--id", "job1", "--", "true")
    result = run_process("--db", str(db_path), "list", "-q")

    assert result.out == "job1\n"


def test_no_double_run_with_many_workers(queuectl: Queuectl, db_path: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    line = json.dumps({"command": f"echo $QUEUECTL_JOB_ID >> {runs}"})
    queuectl.ok("enqueue", "-", stdin=f"{line}\n" * 40)
    drain(db_path, "--processes", "3", "--count", "3")
    ran = runs.read_text().split()

    assert len(ran) == 40
    assert sorted(ran) == queuectl.ok("list", "-q").out.split()


def test_the_log_file_of_the_worker(queuectl: Queuectl, db_path: Path) -> None:
    worker = run_process("--db", str(db_path), "worker", "start", "-d", "--json").json
    queuectl.ok("worker", "stop")

    assert f"worker {worker['id']} started" in Path(worker["log_file"]).read_text()


def test_python_m_queuectl(db_path: Path) -> None:
    result = run_process("--db", str(db_path), "enqueue", '{"id":"job1","command":"echo hi"}')

    assert result.out == "Enqueued job: job1\n"
