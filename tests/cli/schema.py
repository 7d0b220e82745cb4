"""What the JSON of the program has to be like, whoever reads it."""

import re
from typing import Any, Final

JOB_KEYS: Final = frozenset(
    {
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
        "interruptions",
        "crashes",
        "on_crash",
        "max_output_bytes",
        "stuck",
    }
)
STATES: Final = {"pending", "processing", "completed", "failed", "dead", "cancelled"}

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_TEXTS: Final = ("id", "command", "cwd")
_WHOLE: Final = ("priority", "attempts", "max_retries", "interruptions", "crashes")
_PERHAPS_WHOLE: Final = ("exit_code", "max_output_bytes")
_TIMES: Final = ("run_at", "created_at", "updated_at")
_PERHAPS_TIMES: Final = ("started_at", "finished_at")
_PERHAPS_NUMBERS: Final = ("timeout_sec", "duration_sec")
_PERHAPS_TEXTS: Final = ("signal", "reason", "worker", "stuck")


def check_job(job: dict[str, Any]) -> None:
    """Check the keys of a job, and the types of their values."""
    assert job.keys() >= JOB_KEYS
    assert job["state"] in STATES
    assert all(type(job[key]) is str for key in _TEXTS)
    assert all(type(job[key]) is int for key in _WHOLE)
    assert all(is_time(job[key]) for key in _TIMES)
    assert all(job[key] is None or is_time(job[key]) for key in _PERHAPS_TIMES)
    assert all(job[key] is None or is_number(job[key]) for key in _PERHAPS_NUMBERS)
    assert all(job[key] is None or type(job[key]) is str for key in _PERHAPS_TEXTS)
    assert all(job[key] is None or type(job[key]) is int for key in _PERHAPS_WHOLE)
    assert job["on_crash"] in {"adopt", "kill", "dead"}
    assert isinstance(job["tags"], list)
    assert all(type(tag) is str for tag in job["tags"])


def check_jobs(jobs: list[dict[str, Any]], *ids: str) -> None:
    """Check an array of jobs, which are these, in this order."""
    assert [job["id"] for job in jobs] == list(ids)

    for job in jobs:
        check_job(job)


def is_time(value: object) -> bool:
    """Whether a value is a time, RFC 3339 in UTC."""
    return isinstance(value, str) and _TIME.fullmatch(value) is not None


def is_number(value: object) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
