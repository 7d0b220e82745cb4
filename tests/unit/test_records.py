from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from queuectl.engine.domain.activity import PERIODS, Tally, activity
from queuectl.engine.domain.durations import format_time
from queuectl.engine.domain.events import EventKind
from queuectl.engine.domain.looks import Cause, DatabaseInfo
from queuectl.engine.domain.models import OnCrash, OutcomeKind, WorkerState
from queuectl.engine.domain.records import (
    attempt_record,
    cause_record,
    database_record,
    event_record,
    job_detail_record,
    job_record,
    status_record,
    worker_record,
)
from queuectl.engine.domain.states import JobState
from queuectl.engine.domain.stats import QueueStats
from tests.factories import NOW, make_attempt, make_event, make_job, make_worker

# The keys that scripts rely on: more may follow, none leaves, the order stays.
JOB_KEYS = [
    "id",
    "command",
    "state",
    "priority",
    "attempts",
    "max_retries",
    "timeout_sec",
    "run_at",
    "created_at",
    "updated_at",
    "started_at",
    "finished_at",
    "duration_sec",
    "exit_code",
    "signal",
    "reason",
    "tags",
    "cwd",
    "worker",
]


def as_json(record: msgspec.Struct) -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(record), type=dict[str, Any])


def test_a_job_has_the_promised_keys_first() -> None:
    keys = list(as_json(job_record(make_job())))

    assert keys[: len(JOB_KEYS)] == JOB_KEYS


def test_a_new_job_has_nulls_where_nothing_happened() -> None:
    record = as_json(job_record(make_job()))

    assert record == {
        "id": "job-1",
        "command": "echo hi",
        "state": "pending",
        "priority": 100,
        "attempts": 0,
        "max_retries": 3,
        "timeout_sec": 3600.0,
        "run_at": "2026-11-21T09:00:00.000Z",
        "created_at": "2026-11-21T09:00:00.000Z",
        "updated_at": "2026-11-21T09:00:00.000Z",
        "started_at": None,
        "finished_at": None,
        "duration_sec": None,
        "exit_code": None,
        "signal": None,
        "reason": None,
        "tags": [],
        "cwd": "/home/user",
        "worker": None,
        "run_count": 0,
        "backoff_base": None,
        "cancel_reason": None,
        "env_names": [],
        "interruptions": 0,
        "crashes": 0,
        "on_crash": "adopt",
        "max_output_bytes": 1_073_741_824,
        "stuck": None,
    }


def test_a_job_that_died_says_how() -> None:
    job = make_job(
        state=JobState.DEAD,
        attempts=4,
        run_count=9,
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=2.3456),
        duration=timedelta(seconds=2.3456),
        exit_code=1,
        reason="exit_code=1",
        tags=("b", "a"),
        backoff_base=1.5,
        worker="w7",
    )

    record = as_json(job_record(job))

    assert record["state"] == "dead"
    assert (record["attempts"], record["run_count"]) == (4, 9)
    assert record["started_at"] == "2026-11-21T09:00:00.000Z"
    assert record["finished_at"] == "2026-11-21T09:00:02.345Z"
    assert record["duration_sec"] == 2.346
    assert (record["exit_code"], record["reason"]) == (1, "exit_code=1")
    assert (record["tags"], record["worker"]) == (["b", "a"], "w7")
    assert record["backoff_base"] == 1.5


def test_a_job_whose_workers_died_says_what_became_of_its_runs() -> None:
    job = make_job(
        state=JobState.PROCESSING,
        interruptions=2,
        crashes=3,
        on_crash=OnCrash.KILL,
        max_output_bytes=1024,
        stuck="process 7 cannot be ended",
    )

    record = as_json(job_record(job))

    assert (record["interruptions"], record["crashes"]) == (2, 3)
    assert (record["on_crash"], record["max_output_bytes"]) == ("kill", 1024)
    assert record["stuck"] == "process 7 cannot be ended"


def test_a_job_without_an_output_limit_has_null() -> None:
    assert as_json(job_record(make_job(max_output_bytes=None)))["max_output_bytes"] is None


def test_a_job_without_a_timeout_has_null() -> None:
    assert as_json(job_record(make_job(timeout=None)))["timeout_sec"] is None


def test_the_environment_is_shown_by_its_names_only() -> None:
    job = make_job(env={"TOKEN": "hunter2", "PATH": "/opt/bin"})

    encoded = msgspec.json.encode(job_detail_record(job, [make_attempt()]))

    assert b'"env_names":["PATH","TOKEN"]' in encoded
    assert b"hunter2" not in encoded


def test_text_that_could_move_a_terminal_leaves_as_it_came() -> None:
    command = 'printf "\x1b[2J" # \u2028 \u202e " \\ \x7f'

    record = as_json(job_record(make_job(command=command)))

    assert record["command"] == command


def test_the_details_are_the_job_and_its_runs_in_their_order() -> None:
    job = make_job(attempts=2, run_count=2)
    runs = [make_attempt(number=1, exit_code=1), make_attempt(number=2)]

    detail = as_json(job_detail_record(job, runs))

    assert {key: detail[key] for key in detail if key != "runs"} == as_json(job_record(job))
    assert detail["runs"] == [as_json(attempt_record(run)) for run in runs]


def test_a_job_that_never_ran_has_no_runs() -> None:
    assert as_json(job_detail_record(make_job(), []))["runs"] == []


def test_an_attempt_has_these_keys() -> None:
    record = as_json(attempt_record(make_attempt()))

    assert record == {
        "attempt": 1,
        "worker": "w1",
        "started_at": "2026-11-21T09:00:00.000Z",
        "finished_at": "2026-11-21T09:00:02.000Z",
        "duration_sec": 2.0,
        "outcome": "completed",
        "exit_code": 0,
        "signal": None,
        "reason": None,
        "cpu_sec": 1.5,
        "max_rss_bytes": 4_194_304,
        "output_bytes": 3,
    }


def test_an_attempt_that_runs_has_nulls_where_its_end_will_be() -> None:
    attempt = make_attempt(
        finished_at=None, outcome=None, exit_code=None, cpu=None, max_rss_bytes=None
    )

    record = as_json(attempt_record(attempt))

    nulls = {key for key, value in record.items() if value is None}
    assert nulls == {
        "finished_at",
        "duration_sec",
        "outcome",
        "exit_code",
        "signal",
        "reason",
        "cpu_sec",
        "max_rss_bytes",
    }


@pytest.mark.parametrize("kind", OutcomeKind)
def test_every_outcome_is_written_by_its_name(kind: OutcomeKind) -> None:
    assert as_json(attempt_record(make_attempt(outcome=kind)))["outcome"] == kind.value


def test_a_worker_has_these_keys() -> None:
    record = as_json(worker_record(make_worker(busy=2)))

    assert record == {
        "id": "w1",
        "state": "running",
        "host": "localhost",
        "pid": 4242,
        "concurrency": 4,
        "busy": 2,
        "started_at": "2026-11-21T09:00:00.000Z",
    }


@pytest.mark.parametrize("state", WorkerState)
def test_every_state_of_a_worker_is_written_by_its_name(state: WorkerState) -> None:
    assert as_json(worker_record(make_worker(state=state)))["state"] == state.value


def test_the_status_counts_every_state_and_the_dlq() -> None:
    stats = QueueStats(
        counts={state: place for place, state in enumerate(JobState)},
        avg_duration=timedelta(seconds=1.23456),
        oldest_pending=timedelta(minutes=1),
        workers=(make_worker(id="w1"), make_worker(id="w2")),
        activity=(),
    )

    record = as_json(status_record(stats))

    assert list(record) == [
        "counts",
        "dlq",
        "avg_duration_sec",
        "oldest_pending_sec",
        "workers",
        "activity",
    ]
    assert record["counts"] == {
        "pending": 0,
        "processing": 1,
        "completed": 2,
        "failed": 3,
        "dead": 4,
        "cancelled": 5,
    }
    assert record["dlq"] == 4
    assert (record["avg_duration_sec"], record["oldest_pending_sec"]) == (1.235, 60.0)
    assert [worker["id"] for worker in record["workers"]] == ["w1", "w2"]


def test_the_status_of_an_empty_queue_has_nulls_and_no_workers() -> None:
    stats = QueueStats(
        counts=dict.fromkeys(JobState, 0),
        avg_duration=None,
        oldest_pending=None,
        workers=(),
        activity=(),
    )

    record = as_json(status_record(stats))

    assert (record["avg_duration_sec"], record["oldest_pending_sec"]) == (None, None)
    assert (record["dlq"], record["workers"]) == (0, [])


def test_the_activity_is_found_by_the_name_of_its_period() -> None:
    tallies = [Tally("enqueued", 0, 7, 0), Tally("failed", 33, 2, 4000), Tally("wait", 5, 2, 6)]
    stats = QueueStats(
        counts=dict.fromkeys(JobState, 0),
        avg_duration=None,
        oldest_pending=None,
        workers=(),
        activity=(activity(PERIODS["minute"], tallies), activity(PERIODS["day"], [])),
    )

    record = as_json(status_record(stats))["activity"]

    assert list(record) == ["minute", "day"]
    assert record["minute"] == {
        "period_sec": 60.0,
        "enqueued": 7,
        "ended": 2,
        "completed": 0,
        "failed": 2,
        "died": 0,
        "per_second": 0.033333,
        "runs": {kind.value: 2 * (kind is OutcomeKind.FAILED) for kind in OutcomeKind},
        "wait_sec": {"count": 2, "p50": 0.003, "p95": 0.003, "p99": 0.003},
        "duration_sec": {"count": 2, "p50": 2.0, "p95": 2.0, "p99": 2.0},
    }
    assert (record["day"]["ended"], record["day"]["wait_sec"]) == (0, None)


def test_an_event_has_these_keys() -> None:
    event = make_event(seq=9, kind=EventKind.DIED, attempt=4, reason="timeout")

    record = as_json(event_record(event))

    assert record == {
        "seq": 9,
        "at": "2026-11-21T09:00:00.000Z",
        "kind": "died",
        "job_id": "job-1",
        "state": "dead",
        "attempt": 4,
        "reason": "timeout",
    }


def test_a_cause_in_json() -> None:
    cause = Cause(reason="exit_code=1", count=3, latest=NOW)

    assert as_json(cause_record(cause)) == {
        "reason": "exit_code=1",
        "count": 3,
        "latest": format_time(NOW),
    }


@pytest.mark.parametrize("oldest", [None, NOW])
def test_what_a_database_is_like_in_json_has_every_key_of_the_value(
    oldest: datetime | None,
) -> None:
    info = DatabaseInfo(
        path="/srv/queue.db",
        size_bytes=4096,
        wal_bytes=1,
        free_bytes=2,
        outputs_bytes=3,
        schema_version=4,
        sqlite_version="3.46.1",
        events=5,
        oldest_event=oldest,
    )
    expected = msgspec.structs.asdict(info) | {
        "oldest_event": None if oldest is None else format_time(oldest)
    }

    assert as_json(database_record(info)) == expected
