"""``dlq``."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.program import Queuectl, Result, terminal
from tests.cli.schema import check_jobs
from tests.cli.states import FAILS, START_TEXT, fill, run_jobs

GOLDEN = Path(__file__).with_name("golden")


@pytest.fixture(autouse=True)
def five_jobs(db_path: Path, own_loop: Iterator[None]) -> None:  # noqa: ARG001 (before it)
    fill(db_path)


def test_the_table_shows_the_dead_with_why_and_when(queuectl: Queuectl) -> None:
    assert queuectl("dlq", "list") == Result(0, (GOLDEN / "dlq_list.txt").read_text(), "")


def test_json_is_an_array_of_jobs(queuectl: Queuectl) -> None:
    check_jobs(queuectl.json("dlq", "list"), "dead")


def test_quiet_prints_ids_alone(queuectl: Queuectl) -> None:
    assert queuectl("dlq", "list", "-q") == Result(0, "dead\n", "")


def test_a_dead_job_is_put_back_with_no_attempts(queuectl: Queuectl) -> None:
    assert queuectl("dlq", "retry", "dead") == Result(0, "Retrying job: dead\n", "")
    job = queuectl.json("info", "dead")
    assert (job["state"], job["attempts"]) == ("pending", 0)
    assert queuectl("dlq", "list", "--json") == Result(0, "[]\n", "")


def test_retry_in_json_is_an_array(queuectl: Queuectl) -> None:
    check_jobs(queuectl.json("dlq", "retry", "dead"), "dead")


def test_retry_all_puts_all_back(queuectl: Queuectl) -> None:
    assert queuectl("dlq", "retry", "--all") == Result(0, "Retrying 1 job\n", "")
    assert queuectl("dlq", "retry", "--all") == Result(0, "Retrying 0 jobs\n", "")
    assert queuectl.json("info", "dead")["state"] == "pending"


def test_retry_all_in_json_prints_json(queuectl: Queuectl) -> None:
    assert queuectl.json("dlq", "retry", "--all") == {"retried": 1}


def test_a_job_that_is_not_dead_is_exit_code_4(queuectl: Queuectl) -> None:
    result = queuectl.error("dlq", "retry", "dead", "failed")

    assert result.code == 4
    assert queuectl.json("info", "dead")["state"] == "dead"


def test_a_job_that_is_not_there_is_exit_code_3(queuectl: Queuectl) -> None:
    assert queuectl.error("dlq", "retry", "nobody").code == 3


@pytest.mark.parametrize(
    "words",
    [(), ("--all", "dead"), ("--cause", "timeout", "dead"), ("--cause", "timeout", "--all")],
)
def test_ids_or_all_or_a_cause_and_not_two_of_them(
    words: tuple[str, ...], queuectl: Queuectl
) -> None:
    result = queuectl.error("dlq", "retry", *words)

    assert result.code == 2
    assert "give ids, --all or --cause" in result.err


def test_purge_deletes_the_dead_alone(queuectl: Queuectl) -> None:
    assert queuectl("dlq", "purge", "--yes") == Result(0, "Purged 1 job\n", "")
    assert queuectl.ok("list", "-q").out.split() == ["completed", "failed", "cancelled", "pending"]
    assert queuectl.json("dlq", "purge", "-y") == {"purged": 0}


def test_the_causes_are_counted(queuectl: Queuectl, db_path: Path) -> None:
    kill_two(queuectl, db_path)

    assert queuectl.ok("dlq", "causes").out == (
        "Jobs  Latest                    Reason\n"
        "2     2020-02-29T12:30:00.000Z  exit_code=1\n"
        "1     2020-02-29T12:30:00.000Z  signal=SIGKILL\n"
    )
    assert queuectl.json("dlq", "causes")[0] == {
        "reason": "exit_code=1",
        "count": 2,
        "latest": START_TEXT,
    }


def test_an_empty_dlq_has_no_causes(queuectl: Queuectl) -> None:
    queuectl.ok("dlq", "purge", "--yes")

    assert queuectl("dlq", "causes") == Result(0, "Jobs  Latest  Reason\n", "")
    assert queuectl("dlq", "causes", "--json") == Result(0, "[]\n", "")


def test_jobs_of_one_cause_are_put_back(queuectl: Queuectl, db_path: Path) -> None:
    kill_two(queuectl, db_path)

    assert queuectl("dlq", "retry", "--cause", "exit_code=1") == Result(0, "Retrying 2 jobs\n", "")
    assert queuectl.json("dlq", "retry", "--cause", "exit_code") == {"retried": 0}
    assert queuectl.ok("dlq", "list", "-q").out == "dead\n"


def test_jobs_of_one_cause_are_purged(queuectl: Queuectl, db_path: Path) -> None:
    kill_two(queuectl, db_path)
    cause = ("--cause", "exit_code=1")

    assert queuectl.error("dlq", "purge", *cause).code == 2
    assert queuectl.json("dlq", "purge", *cause, "--yes") == {"purged": 2}
    assert queuectl.ok("dlq", "list", "-q").out == "dead\n"


def test_the_question_before_a_purge_names_the_cause(db_path: Path) -> None:
    with terminal("--db", str(db_path), "dlq", "purge", "--cause", "a\x1b[2J") as screen:
        shown = screen.read_until("[y/N] ")
        screen.type("n\n")
        assert screen.finish().code == 1

    assert r"Delete all dead jobs with the reason a\x1b[2J, with their outputs?" in shown


def kill_two(queuectl: Queuectl, database: Path) -> None:
    """Add two jobs that died of the same cause."""
    # Else it would be run to its end as well.
    queuectl.ok("delete", "failed")
    run_jobs(database, ("one", "exit 1", FAILS), ("two", "exit 1", FAILS))


def test_more_ids_than_one_transaction_takes_are_refused_with_what_to_do(
    queuectl: Queuectl,
) -> None:
    result = queuectl.error("dlq", "retry", *(f"job-{number}" for number in range(5001)))

    assert result.code == 2
    assert result.err == (
        "error: 5001 ids at once are too many: the most is 5000, all or none\n"
        "hint: for all dead jobs: queuectl dlq retry --all; else give them in several calls\n"
    )
