"""``run``: real processes, for they are the point of it."""

import signal
from pathlib import Path

import pytest

from tests.cli.program import Queuectl, Result, finish, next_line, run_process, started_process
from tests.cli.schema import check_job


@pytest.fixture
def db(db_path: Path) -> tuple[str, str]:
    return ("--db", str(db_path))


def test_the_output_is_streamed_and_the_exit_code_handed_on(
    db: tuple[str, str], queuectl: Queuectl
) -> None:
    result = run_process(
        *db, "run", "--id", "a", "--", "sh", "-c", "echo out; echo err >&2; exit 7"
    )

    assert (result.code, result.out) == (7, "out\nerr\n")
    job = queuectl.json("info", "a")
    assert (job["state"], job["exit_code"], job["attempts"]) == ("dead", 7, 1)
    assert queuectl.ok("logs", "a").out == "out\nerr\n"


def test_a_command_that_succeeds_is_exit_code_0_and_nothing_else_is_said(
    db: tuple[str, str],
) -> None:
    assert run_process(*db, "run", "--", "echo", "a  b") == Result(0, "a  b\n", "")


def test_two_dashes_may_be_left_out(db: tuple[str, str]) -> None:
    assert run_process(*db, "run", "echo", "--json") == Result(0, "--json\n", "")


def test_json_puts_the_job_on_stdout_and_the_output_on_stderr(db: tuple[str, str]) -> None:
    result = run_process(*db, "run", "--json", "--id", "a", "--tag", "t", "--", "echo", "hi")

    assert (result.code, result.err) == (0, "hi\n")
    check_job(result.json)
    assert (result.json["id"], result.json["state"], result.json["tags"]) == (
        "a",
        "completed",
        ["t"],
    )


def test_a_timeout_is_exit_code_124(db: tuple[str, str]) -> None:
    result = run_process(*db, "run", "--id", "a", "--timeout", "50ms", "--", "sleep", "100")

    assert result == Result(124, "", "error: job a: timeout\n")


def test_a_command_that_a_signal_ends_is_exit_code_128_and_its_number(db: tuple[str, str]) -> None:
    result = run_process(*db, "run", "--", "sh", "-c", "kill -9 $$")

    assert result.code == 137


def test_a_command_that_is_not_there_is_exit_code_127(db: tuple[str, str]) -> None:
    assert run_process(*db, "run", "--", "no-such-program-here").code == 127


def test_a_folder_that_is_not_there_is_exit_code_126(db: tuple[str, str]) -> None:
    result = run_process(*db, "run", "--cwd", "/nowhere/at/all", "--", "true")

    assert result.code == 126
    assert result.err.startswith("error: job ")


def test_the_job_has_the_variables_that_were_given_and_its_own(db: tuple[str, str]) -> None:
    script = 'echo "$A $QUEUECTL_JOB_ID $QUEUECTL_ATTEMPT $QUEUECTL_MAX_RETRIES"'
    result = run_process(*db, "run", "--id", "a", "--env", "A=b", "--", "sh", "-c", script)

    assert result.out == "b a 1 0\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_job(
    number: signal.Signals, db: tuple[str, str], queuectl: Queuectl
) -> None:
    with started_process(
        *db, "run", "--id", "a", "--", "sh", "-c", "echo on; sleep 100"
    ) as process:
        assert next_line(process) == "on\n"
        process.send_signal(number)
        result = finish(process)

    assert result.code == 128 + number
    assert "cancelling job a" in result.err
    job = queuectl.json("info", "a")
    assert (job["state"], job["reason"]) == ("cancelled", number.name)


def test_what_it_may_write_and_what_becomes_of_it_in_a_crash_are_kept(
    db: tuple[str, str],
) -> None:
    words = ("run", "--json", "--on-crash", "kill", "--max-output-bytes", "4096", "--", "true")
    job = run_process(*db, *words).json

    assert (job["on_crash"], job["max_output_bytes"]) == ("kill", 4096)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--on-crash", "restart"], "on_crash: not allowed: 'restart' (one of adopt, kill, dead)"),
        (["--max-output-bytes", "-1"], "'--max-output-bytes': out of range: '-1'"),
        (["--max-output-bytes", "1GB"], "'--max-output-bytes': not a size: '1GB'"),
    ],
)
def test_a_bad_flag_is_refused_as_by_enqueue(
    flags: list[str], said: str, queuectl: Queuectl
) -> None:
    result = queuectl.error("run", *flags, "--", "true")

    assert result.code == 2
    assert said in result.err
    assert result.err.startswith("error: ")
    assert len(result.err.splitlines()) <= 2
    assert queuectl.json("list") == []


def test_no_command_is_refused(queuectl: Queuectl) -> None:
    result = queuectl.error("run")

    assert result.code == 2
    assert "no command was given" in result.err


def test_a_bad_id_and_a_duplicate_are_refused_as_by_enqueue(queuectl: Queuectl) -> None:
    queuectl.ok("enqueue", "--id", "a", "--", "true")

    assert queuectl.error("run", "--id", "a b", "--", "true").code == 2
    assert queuectl.error("run", "--id", "a", "--", "true").code == 4


def test_an_empty_word_as_command_is_an_error_of_the_shell_not_a_crash(
    db: tuple[str, str],
) -> None:
    assert run_process(*db, "run", "--", "").code == 127
