"""``wait``."""

from pathlib import Path

import pytest

from queuectl.engine.domain.events import EventKind
from queuectl.engine.testing import FakeRun
from tests.cli.program import Queuectl, Result, finish, started_process
from tests.cli.schema import check_jobs
from tests.cli.states import FAILS, fill, pretended_worker, run_jobs


def test_a_job_that_completed_is_told(queuectl: Queuectl, db_path: Path) -> None:
    run_jobs(db_path, ("a", "x", FakeRun()))

    assert queuectl("wait", "a") == Result(0, "a completed in 0.00 s\n", "")


def test_json_is_an_array_in_the_order_asked_for(queuectl: Queuectl, db_path: Path) -> None:
    run_jobs(db_path, ("a", "x", FakeRun()), ("b", "y", FakeRun()))

    check_jobs(queuectl.json("wait", "b", "a"), "b", "a")
    check_jobs(queuectl.json("wait", "a"), "a")


def test_quiet_prints_ids_alone(queuectl: Queuectl, db_path: Path) -> None:
    run_jobs(db_path, ("a", "x", FakeRun()), ("b", "y", FakeRun()))

    assert queuectl("wait", "-q", "a", "b") == Result(0, "a\nb\n", "")


@pytest.mark.parametrize("state", ["dead", "cancelled"])
def test_a_job_that_did_not_complete_is_exit_code_6(
    state: str, queuectl: Queuectl, db_path: Path
) -> None:
    fill(db_path)
    result = queuectl("wait", "completed", state)

    assert result.code == 6
    assert result.out.startswith("completed completed in 0.00 s\n")
    assert result.err == f"error: 1 of 2 jobs did not complete: {state} ({state})\n"


def test_exit_code_6_in_json_prints_the_jobs_and_the_error(
    queuectl: Queuectl, db_path: Path
) -> None:
    run_jobs(db_path, ("a", "x", FAILS))
    result = queuectl("wait", "--json", "a")

    check_jobs(result.json, "a")
    assert result.error["code"] == 6


@pytest.mark.parametrize("seconds", ["0", "0.02", "20ms"])
def test_a_job_that_is_not_finished_in_time_is_exit_code_5(
    seconds: str, queuectl: Queuectl
) -> None:
    queuectl.ok("enqueue", "--id", "a", "--", "true")
    result = queuectl("wait", "--timeout", seconds, "a")

    said, error = result.err.splitlines()
    assert result.code == 5
    assert said.startswith("no worker is alive; start one with: ")
    assert error.startswith("error: timed out after ")
    assert error.endswith(" waiting for: a")


def test_a_job_that_is_not_there_is_exit_code_3(queuectl: Queuectl) -> None:
    queuectl.ok("enqueue", "--id", "a", "--", "true")

    assert queuectl.error("wait", "a", "nobody").code == 3


def test_a_timeout_that_is_none_is_refused(queuectl: Queuectl) -> None:
    assert queuectl.error("wait", "--timeout", "soon", "a").code == 2


def test_waiting_for_nothing_is_refused(queuectl: Queuectl) -> None:
    assert queuectl.error("wait").code == 2


def test_it_returns_when_the_job_ends_in_another_process(queuectl: Queuectl, db_path: Path) -> None:
    with (
        pretended_worker(db_path, "busy") as worker,
        started_process("--db", str(db_path), "wait", "busy") as process,
    ):
        worker.end_runs()
        worker.wait_for(EventKind.COMPLETED, "busy")
        result = finish(process)

    assert result.code == 0
    assert result.out.startswith("busy completed in ")
    assert queuectl.json("info", "busy")["state"] == "completed"
