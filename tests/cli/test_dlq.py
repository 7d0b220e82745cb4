"""``dlq``."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.program import Queuectl, Result
from tests.cli.schema import check_jobs
from tests.cli.states import fill

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


@pytest.mark.parametrize("words", [(), ("--all", "dead")])
def test_ids_or_all_but_not_both_nor_neither(words: tuple[str, ...], queuectl: Queuectl) -> None:
    result = queuectl.error("dlq", "retry", *words)

    assert result.code == 2
    assert "give ids, or --all" in result.err


def test_purge_deletes_the_dead_alone(queuectl: Queuectl) -> None:
    assert queuectl("dlq", "purge", "--yes") == Result(0, "Purged 1 job\n", "")
    assert queuectl.ok("list", "-q").out.split() == ["completed", "failed", "cancelled", "pending"]
    assert queuectl.json("dlq", "purge", "-y") == {"purged": 0}
