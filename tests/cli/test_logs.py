"""``logs``."""

from pathlib import Path

import pytest

from queuectl.engine.domain.events import EventKind
from queuectl.engine.testing import FakeRun
from tests.cli.program import Queuectl, Result, finish, next_line, started_process
from tests.cli.states import FAILS, pretended_worker, run_due, run_jobs

TEN = FakeRun(output=b"".join(b"line %d\n" % number for number in range(1, 11)))


def test_the_output_is_printed_as_it_was_written(queuectl: Queuectl, db_path: Path) -> None:
    run_jobs(db_path, ("a", "x", FakeRun(output=b"one\ntwo")))

    assert queuectl("logs", "a") == Result(0, "one\ntwo", "")


def test_only_the_last_lines_are_printed_where_that_is_asked_for(
    queuectl: Queuectl, db_path: Path
) -> None:
    run_jobs(db_path, ("a", "x", TEN))

    assert queuectl.ok("logs", "-n", "2", "a").out == "line 9\nline 10\n"
    assert queuectl.ok("logs", "-n", "0", "a").out == ""
    assert queuectl.ok("logs", "--lines", "99", "a").out == TEN.output.decode()


def test_every_attempt_has_its_own_output(queuectl: Queuectl, db_path: Path) -> None:
    run_jobs(db_path, ("a", "x", FAILS), max_retries=1)

    assert queuectl.ok("logs", "--attempt", "1", "a").out == FAILS.output.decode()
    assert queuectl.ok("logs", "--attempt", "2", "a").out == FAILS.output.decode()


def test_an_attempt_that_is_not_there_is_exit_code_3(queuectl: Queuectl, db_path: Path) -> None:
    run_jobs(db_path, ("a", "x", TEN))
    result = queuectl.error("logs", "--attempt", "2", "a")

    assert result == Result(3, "", "error: job a has no attempt 2\n")


@pytest.mark.parametrize("number", ["0", "-1", "x"])
def test_a_number_of_an_attempt_that_is_none_is_refused(number: str, queuectl: Queuectl) -> None:
    assert queuectl.error("logs", "--attempt", number, "a").code == 2


def test_a_job_that_is_not_there_is_exit_code_3(queuectl: Queuectl) -> None:
    assert queuectl.error("logs", "nobody").code == 3
    assert queuectl.error("logs", "-f", "nobody").code == 3


def test_a_job_that_has_not_started_has_no_output_and_that_is_said(queuectl: Queuectl) -> None:
    queuectl.ok("enqueue", "--id", "a", "--", "true")
    result = queuectl("logs", "a")

    assert result.out == ""
    assert "job a has not started: it is pending" in result.err


def test_json_is_an_object_with_the_output(queuectl: Queuectl, db_path: Path) -> None:
    run_jobs(db_path, ("a", "x", FakeRun(output=b"caf\xe9 \x1b\xc2\x9b\n")))

    assert queuectl.json("logs", "a") == {
        "id": "a",
        "attempt": 1,
        "output": "caf\\xe9 \x1b\x9b\n",
    }


def test_the_output_so_far_of_a_running_job_is_printed(queuectl: Queuectl, db_path: Path) -> None:
    with pretended_worker(db_path, "busy"):
        assert queuectl("logs", "busy") == Result(0, "so far\n", "")


def test_bytes_that_are_no_text_come_through_a_pipe_unchanged(db_path: Path) -> None:
    run_jobs(db_path, ("a", "x", FakeRun(output=bytes(range(256)))))
    with started_process("--db", str(db_path), "logs", "a") as process:
        out, err = process.communicate(timeout=10)

    assert out == bytes(range(256))
    assert err == b""


def test_following_a_finished_job_prints_all_and_ends(queuectl: Queuectl, db_path: Path) -> None:
    run_jobs(db_path, ("a", "x", TEN))

    assert queuectl("logs", "-f", "a") == Result(0, TEN.output.decode(), "")
    assert queuectl.ok("logs", "-f", "-n", "1", "a").out == "line 10\n"


def test_following_goes_through_all_attempts_that_are_left(
    queuectl: Queuectl, db_path: Path
) -> None:
    run_jobs(db_path, ("a", "x", FAILS), max_retries=1)

    assert queuectl.ok("logs", "-f", "--attempt", "1", "a").out == FAILS.output.decode()


def test_following_a_cancelled_job_that_never_ran_says_so(queuectl: Queuectl) -> None:
    queuectl.ok("enqueue", "--id", "a", "--", "true")
    queuectl.ok("cancel", "a")
    result = queuectl.error("logs", "-f", "a")

    assert "has not run, and never will: it is cancelled" in result.err


def test_following_begins_before_the_job_does(queuectl: Queuectl, db_path: Path) -> None:
    queuectl.ok("enqueue", "--id", "a", "--command", "x")

    with started_process("--db", str(db_path), "logs", "-f", "a") as process:
        assert next_line(process, "stderr") == "job a is pending; waiting for it to start\n"
        assert next_line(process, "stderr").startswith("no worker is alive; start one with: ")
        run_due(db_path)
        assert finish(process) == Result(0, "", "")


def test_following_shows_what_is_written_at_once(queuectl: Queuectl, db_path: Path) -> None:
    with (
        pretended_worker(db_path, "busy") as worker,
        started_process("--db", str(db_path), "logs", "-f", "busy") as process,
    ):
        assert next_line(process) == "so far\n"
        worker.end_runs()
        worker.wait_for(EventKind.COMPLETED, "busy")
        assert finish(process) == Result(0, "", "")

    assert queuectl.json("info", "busy")["state"] == "completed"


def test_following_in_json_is_an_object_a_line(queuectl: Queuectl, db_path: Path) -> None:
    run_jobs(db_path, ("a", "x", FakeRun(output=b"hi\n")))

    assert queuectl.json("logs", "-f", "a") == {"id": "a", "attempt": 1, "output": "hi\n"}
