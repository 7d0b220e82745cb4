"""``cancel``, ``retry``, ``delete`` and ``purge``."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.engine.domain.events import EventKind
from tests.cli.program import Queuectl, Result, terminal
from tests.cli.schema import check_jobs
from tests.cli.states import fill, pretended_worker


@pytest.fixture(autouse=True)
def five_jobs(db_path: Path, own_loop: Iterator[None]) -> None:  # noqa: ARG001 (before it)
    fill(db_path)


def ids(queuectl: Queuectl) -> list[str]:
    return queuectl.ok("list", "-q").out.split()


def test_a_waiting_job_is_cancelled_with_a_reason(queuectl: Queuectl) -> None:
    result = queuectl("cancel", "pending", "--reason", "too late")

    assert result == Result(0, "Cancelled job: pending\n", "")
    job = queuectl.json("info", "pending")
    assert (job["state"], job["reason"]) == ("cancelled", "too late")


def test_a_failed_job_is_cancelled(queuectl: Queuectl) -> None:
    check_jobs(queuectl.json("cancel", "failed"), "failed")
    assert queuectl.json("info", "failed")["state"] == "cancelled"


def test_a_running_job_is_cancelled_by_its_worker(queuectl: Queuectl, db_path: Path) -> None:
    with pretended_worker(db_path, "busy") as worker:
        result = queuectl("cancel", "busy", "--reason", "too loud")
        worker.wait_for(EventKind.CANCELLED, "busy")

    assert result == Result(0, "Cancelling job: busy\n", "")
    job = queuectl.json("info", "busy")
    assert (job["state"], job["reason"]) == ("cancelled", "too loud")


@pytest.mark.parametrize("state", ["completed", "dead", "cancelled"])
def test_a_finished_job_cannot_be_cancelled(state: str, queuectl: Queuectl) -> None:
    result = queuectl.error("cancel", state)

    assert result.code == 4
    assert f"cannot cancel job {state}: it is {state}" in result.err


@pytest.mark.parametrize("command", ["cancel", "retry", "delete"])
def test_a_job_that_is_not_there_is_exit_code_3(command: str, queuectl: Queuectl) -> None:
    assert queuectl.error(command, "nobody").code == 3


@pytest.mark.parametrize("command", ["cancel", "retry", "delete"])
def test_no_job_at_all_is_refused(command: str, queuectl: Queuectl) -> None:
    assert queuectl.error(command).code == 2


def test_cancelling_several_goes_on_and_tells_what_was_not_possible(queuectl: Queuectl) -> None:
    result = queuectl("cancel", "dead", "pending", "nobody", "-q")

    assert result.code == 4
    assert result.out == "pending\n"
    assert "cannot cancel job dead: it is dead" in result.err
    assert "no such job: nobody" in result.err


def test_a_reason_that_is_too_long_is_refused(queuectl: Queuectl) -> None:
    result = queuectl.error("cancel", "pending", "--reason", "x" * 1001)

    assert result.code == 2
    assert "reason: longer than 1000 characters" in result.err


@pytest.mark.parametrize("state", ["failed", "dead", "cancelled"])
def test_a_job_that_ended_badly_is_put_back(state: str, queuectl: Queuectl) -> None:
    assert queuectl("retry", state) == Result(0, f"Retrying job: {state}\n", "")
    job = queuectl.json("info", state)
    assert (job["state"], job["attempts"]) == ("pending", 0)


def test_retrying_is_all_or_nothing(queuectl: Queuectl) -> None:
    result = queuectl.error("retry", "dead", "completed")

    assert result.code == 4
    assert queuectl.json("info", "dead")["state"] == "dead"


def test_retry_in_json_is_an_array(queuectl: Queuectl) -> None:
    jobs = queuectl.json("retry", "dead", "failed")

    check_jobs(jobs, "dead", "failed")
    assert queuectl.ok("retry", "-q", "cancelled").out == "cancelled\n"


def test_a_scheduled_job_is_let_run_now(queuectl: Queuectl) -> None:
    queuectl.ok("enqueue", "--id", "later", "--delay", "1h", "--", "true")

    assert queuectl("run-now", "later") == Result(0, "Due now: later\n", "")
    assert queuectl.json("list", "--scheduled") == []
    result = queuectl.error("run-now", "later")
    assert result == Result(
        4,
        "",
        "error: cannot run job later: it is pending\n"
        "hint: it is due already, and runs as soon as a worker is free\n",
    )


def test_run_now_in_json_is_an_array_and_quiet_prints_ids(queuectl: Queuectl) -> None:
    for name in ("a", "b"):
        queuectl.ok("enqueue", "--id", name, "--delay", "1h", "--", "true")

    check_jobs(queuectl.json("run-now", "a"), "a")
    assert queuectl("run-now", "-q", "b") == Result(0, "b\n", "")


def test_run_now_of_one_that_is_not_scheduled_lets_none_run(queuectl: Queuectl) -> None:
    queuectl.ok("enqueue", "--id", "later", "--delay", "1h", "--", "true")

    assert queuectl.error("run-now", "later", "dead").code == 4
    assert queuectl.error("run-now", "later", "nobody").code == 3
    check_jobs(queuectl.json("list", "--scheduled"), "later")


def test_a_deleted_job_is_gone_and_its_id_free(queuectl: Queuectl) -> None:
    assert queuectl("delete", "dead") == Result(0, "Deleted job: dead\n", "")
    assert queuectl("info", "dead").code == 3
    queuectl.ok("enqueue", "--id", "dead", "--", "true")


def test_delete_in_json_is_an_array_of_what_was_deleted(queuectl: Queuectl) -> None:
    check_jobs(queuectl.json("delete", "dead", "completed"), "dead", "completed")
    assert ids(queuectl) == ["failed", "cancelled", "pending"]


def test_a_running_job_cannot_be_deleted(queuectl: Queuectl, db_path: Path) -> None:
    with pretended_worker(db_path, "busy"):
        result = queuectl.error("delete", "busy")

    assert result.code == 4
    assert "cannot delete job busy: it is processing" in result.err


def test_deleting_several_goes_on_and_tells_what_was_not_possible(queuectl: Queuectl) -> None:
    result = queuectl("delete", "--json", "nobody", "dead")

    assert result.code == 3
    check_jobs(result.json, "dead")
    assert "no such job: nobody" in result.error["message"]


def test_purge_deletes_what_is_finished(queuectl: Queuectl) -> None:
    assert queuectl("purge", "--yes") == Result(0, "Purged 3 jobs\n", "")
    assert ids(queuectl) == ["failed", "pending"]


def test_purge_deletes_the_states_that_were_given(queuectl: Queuectl) -> None:
    assert queuectl.json("purge", "--yes", "--state", "dead", "--state", "pending") == {"purged": 2}
    assert ids(queuectl) == ["completed", "failed", "cancelled"]


def test_purge_leaves_what_is_younger(queuectl: Queuectl) -> None:
    queuectl.ok("enqueue", "--id", "new", "--", "true")
    queuectl.ok("cancel", "new")

    assert queuectl.json("purge", "--yes", "--older-than", "7d") == {"purged": 3}
    assert ids(queuectl) == ["failed", "pending", "new"]


def test_purge_of_running_jobs_is_refused(queuectl: Queuectl) -> None:
    result = queuectl.error("purge", "--yes", "--state", "processing")

    assert result.code == 2
    assert "cancel it first" in result.err


@pytest.mark.parametrize("age", ["soon", "-1", "7y"])
def test_an_age_that_is_none_is_refused(age: str, queuectl: Queuectl) -> None:
    assert queuectl.error("purge", "--yes", "--older-than", age).code == 2
    assert len(ids(queuectl)) == 5


@pytest.mark.parametrize("command", [("purge",), ("dlq", "purge")])
def test_purge_without_anybody_to_ask_is_refused(
    command: tuple[str, ...], queuectl: Queuectl
) -> None:
    result = queuectl.error(*command, stdin="y\n")

    assert result.code == 2
    assert "hint: add --yes to delete without asking" in result.err
    assert len(ids(queuectl)) == 5


@pytest.mark.parametrize(
    ("answer", "code", "left"), [("y\n", 0, 2), ("yes\n", 0, 2), ("n\n", 1, 5), ("\n", 1, 5)]
)
def test_purge_at_a_terminal_asks_first(
    answer: str, code: int, left: int, queuectl: Queuectl, db_path: Path
) -> None:
    with terminal("--db", str(db_path), "purge") as screen:
        shown = screen.read_until("[y/N] ")
        assert "Delete all completed, dead and cancelled jobs, with their outputs?" in shown
        screen.type(answer)
        assert screen.finish().code == code

    assert len(ids(queuectl)) == left
