"""``status``."""

import signal
from datetime import timedelta
from pathlib import Path

import pytest

from queuectl.cli.lately import activity_lines
from queuectl.engine.domain.activity import Tally, activity, class_of
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
    assert list(status["activity"]) == ["minute", "hour", "day"]


def test_an_empty_queue_has_counts_of_0_and_no_averages(queuectl: Queuectl) -> None:
    status = queuectl.json("status")
    activity = status.pop("activity")

    assert [each["ended"] for each in activity.values()] == [0, 0, 0]
    assert status == {
        "counts": dict.fromkeys(STATES, 0),
        "dlq": 0,
        "avg_duration_sec": None,
        "oldest_pending_sec": None,
        "workers": [],
    }


def test_what_happened_lately_is_told_with_its_waits_and_times(queuectl: Queuectl) -> None:
    queuectl.ok("run", "--tag", "nightly", "--", "true")
    queuectl.ok("enqueue", "--command", "true")

    [text, tagged] = [queuectl.ok("status", *words).out for words in ((), ("--tag", "nightly"))]
    day = queuectl.json("status")["activity"]["day"]
    hour = queuectl.json("status", "--tag", "nightly")["activity"]["hour"]

    assert "last_minute         1 run ended (0.0167/s), 0 failed, 0 died, 2 enqueued\n" in text
    assert "last_hour           1 run ended (1/h), 0 failed, 0 died, 2 enqueued\n" in text
    assert text.count("\n  waited            p50 ") == text.count("\n  ran               p50 ") == 3
    assert "last_day            1 run ended (0.0417/h), 0 failed, 0 died, 1 enqueued\n" in tagged
    assert (day["enqueued"], day["runs"]["completed"], day["wait_sec"]["count"]) == (2, 1, 1)
    assert (hour["enqueued"], hour["completed"], hour["duration_sec"]["count"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("period", "runs", "line"),
    [
        (timedelta(minutes=1), 48_744, "last_minute         48,744 runs ended (812.4/s)"),
        (timedelta(hours=1), 5508, "last_hour           5,508 runs ended (1.53/s)"),
        (timedelta(days=1), 2, "last_day            2 runs ended (0.0833/h)"),
        (timedelta(days=7), 0, "last 7 d 0 h        0 runs ended (0/s)"),
    ],
)
def test_a_rate_is_told_with_about_three_digits(period: timedelta, runs: int, line: str) -> None:
    counted = activity(period, [Tally("completed", 0, runs, 0)] if runs else [])

    assert activity_lines(counted)[0].startswith(f"{line}, 0 failed")


def test_times_of_ten_seconds_and_more_are_in_the_units_of_people() -> None:
    times = [Tally("completed", class_of(ms), 1, ms) for ms in (5, 688_445, 688_445)]
    ran = activity_lines(activity(timedelta(hours=1), times))[-1]

    assert ran == "  ran               p50 11 m 28 s, p95 11 m 28 s, p99 11 m 28 s\n"
    assert "p50 0.005 s" in activity_lines(activity(timedelta(hours=1), times[:1]))[-1]


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


def test_watching_without_a_terminal_begins_each_look_with_its_time(db_path: Path) -> None:
    words = ("--db", str(db_path), "status", "--watch", "--interval", "0.1")

    with started_process(*words) as process:
        looks = [list(iter(lambda: next_line(process), "\n")) for _ in range(2)]

    for name, database, at in (look[0].split() for look in looks):
        assert (name, database) == ("queuectl", str(db_path))
        assert is_time(at)

    assert all(look[1].startswith("pending ") for look in looks)
