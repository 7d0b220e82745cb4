"""``status``."""

import signal
from pathlib import Path

import pytest

from tests.cli.program import Queuectl, Result, finish, next_line, started_process
from tests.cli.schema import STATES, is_number, is_time
from tests.cli.states import fill, pretended_worker

GOLDEN = Path(__file__).with_name("golden")


def test_the_queue_at_a_glance(queuectl: Queuectl, db_path: Path) -> None:
    fill(db_path)
    queuectl.ok("delete", "pending", "failed")

    assert queuectl("status") == Result(0, (GOLDEN / "status.txt").read_text(), "")


def test_json_has_counts_of_every_state_and_the_other_keys(
    queuectl: Queuectl, db_path: Path
) -> None:
    fill(db_path)
    status = queuectl.json("status")

    assert status.keys() >= {"counts", "dlq", "avg_duration_sec", "oldest_pending_sec", "workers"}
    assert status["counts"] == {**dict.fromkeys(STATES, 1), "processing": 0}
    assert status["dlq"] == 1
    assert is_number(status["avg_duration_sec"])
    assert is_number(status["oldest_pending_sec"])
    assert status["workers"] == []


def test_an_empty_queue_has_counts_of_0_and_no_averages(queuectl: Queuectl) -> None:
    assert queuectl.json("status") == {
        "counts": dict.fromkeys(STATES, 0),
        "dlq": 0,
        "avg_duration_sec": None,
        "oldest_pending_sec": None,
        "workers": [],
    }


def test_live_workers_are_shown(queuectl: Queuectl, db_path: Path) -> None:
    with pretended_worker(db_path, "busy"):
        text = queuectl.ok("status").out
        [worker] = queuectl.json("status")["workers"]

    assert "workers             1 (1 of 1 slots busy)\n" in text
    assert (worker["concurrency"], worker["busy"], worker["state"]) == (1, 1, "running")
    assert is_time(worker["started_at"])


def test_a_job_that_is_stuck_is_named_with_the_reason(queuectl: Queuectl, db_path: Path) -> None:
    with pretended_worker(db_path, "busy", "held") as worker:
        worker.be_stuck("held", "process 7 cannot be ended\x1b[2J")
        text = queuectl.ok("status").out

    stuck = [line for line in text.splitlines() if line.startswith("stuck")]
    assert "processing          2\n" in text
    assert stuck == ["stuck               held: process 7 cannot be ended\\x1b[2J"]


@pytest.mark.parametrize("interval", ["0", "soon", "0.05"])
def test_an_interval_that_is_none_is_refused(interval: str, queuectl: Queuectl) -> None:
    assert queuectl.error("status", "--watch", "--interval", interval).code == 2


def test_watching_in_json_is_an_object_a_line_until_interrupted(db_path: Path) -> None:
    words = ("--db", str(db_path), "status", "--watch", "--interval", "0.1", "--json")

    with started_process(*words) as process:
        first, second = next_line(process), next_line(process)
        process.send_signal(signal.SIGINT)
        result = finish(process)

    assert first == second
    assert first.startswith('{"counts":')
    assert result.code == 130
    assert "Traceback" not in result.err
