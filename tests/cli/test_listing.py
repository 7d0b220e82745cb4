"""``list`` and ``info``."""

from pathlib import Path

import pytest

from queuectl import OutcomeKind
from tests.cli.program import Queuectl, Result
from tests.cli.schema import STATES, check_job, check_jobs, is_number, is_time
from tests.cli.states import (
    FAILS,
    START_TEXT,
    fill,
    pretended_worker,
    run_interrupted_and_lost,
    run_jobs,
    run_to,
)

GOLDEN = Path(__file__).with_name("golden")
ALL = ("completed", "dead", "failed", "cancelled", "pending")


def test_the_table_shows_every_job_in_the_order_of_arrival(
    queuectl: Queuectl, db_path: Path
) -> None:
    fill(db_path)

    assert queuectl("list") == Result(0, (GOLDEN / "list.txt").read_text(), "")


def test_json_has_every_job_with_every_key(queuectl: Queuectl, db_path: Path) -> None:
    fill(db_path)

    check_jobs(queuectl.json("list"), *ALL)


def test_quiet_prints_ids_alone(queuectl: Queuectl, db_path: Path) -> None:
    fill(db_path)

    assert queuectl("list", "-q") == Result(0, "".join(f"{job}\n" for job in ALL), "")


def test_an_empty_queue_is_a_heading_an_empty_array_and_no_ids(queuectl: Queuectl) -> None:
    assert queuectl.ok("list").out == "ID  State  Duration  Attempts  Reason  Command\n"
    assert queuectl("list", "--json") == Result(0, "[]\n", "")
    assert queuectl("list", "-q") == Result(0, "", "")


@pytest.mark.parametrize("state", ALL)
def test_a_state_shows_the_jobs_in_it(state: str, queuectl: Queuectl, db_path: Path) -> None:
    fill(db_path)

    check_jobs(queuectl.json("list", "--state", state), state)
    assert queuectl.json("list", "--state", "processing") == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--search", "ECHO"), ["completed", "cancelled", "pending"]),
        (("--search", "echo", "--limit", "2"), ["cancelled", "pending"]),
        (("--search", "exit_code"), ["failed"]),
        (("--search", "dea"), ["dead"]),
        (("--search", "echo", "--tag", "red"), ["completed"]),
        (("--search", "echo", "--state", "pending"), ["pending"]),
        (("--search", "%"), []),
        (("--search", ""), [*ALL]),
    ],
    ids=" ".join,
)
def test_a_search_shows_the_jobs_with_the_text(
    words: tuple[str, ...], expected: list[str], queuectl: Queuectl, db_path: Path
) -> None:
    fill(db_path)

    check_jobs(queuectl.json("list", *words), *expected)


def test_a_search_that_can_find_nothing_is_refused(queuectl: Queuectl) -> None:
    assert queuectl.error("list", "--search", "x" * 1001).code == 2


def test_what_is_scheduled_is_shown_in_the_order_of_its_time(queuectl: Queuectl) -> None:
    for name, time in {"b": "2100-01-02", "c": "2100-01-03", "a": "2100-01-01"}.items():
        queuectl.ok("enqueue", "--id", name, "--run-at", f"{time}T00:00:00Z", "--", "true")

    queuectl.ok("enqueue", "--id", "now", "--", "true")

    assert queuectl.ok("list", "--scheduled").out == (
        "ID  Due                       State    Attempts  Reason  Command\n"
        "a   2100-01-01T00:00:00.000Z  pending  0/4       -       true\n"
        "b   2100-01-02T00:00:00.000Z  pending  0/4       -       true\n"
        "c   2100-01-03T00:00:00.000Z  pending  0/4       -       true\n"
    )
    check_jobs(queuectl.json("list", "--scheduled", "--limit", "2"), "a", "b")
    assert queuectl("list", "--scheduled", "--search", "B", "-q") == Result(0, "b\n", "")
    assert queuectl("list", "--scheduled", "--state", "failed", "--json") == Result(0, "[]\n", "")


def test_more_is_scheduled_than_fits_on_a_page(queuectl: Queuectl) -> None:
    lines = '{"command":"true","run_at":"2100-01-01T00:00:00Z"}\n' * 1203
    queuectl.ok("enqueue", "-", stdin=lines)

    assert len(queuectl.json("list", "--scheduled")) == 1203
    assert len(queuectl.json("list", "--scheduled", "--limit", "601")) == 601


def test_running_jobs_are_shown_as_processing(queuectl: Queuectl, db_path: Path) -> None:
    with pretended_worker(db_path, "busy"):
        [job] = queuectl.json("list", "--state", "processing")

    check_job(job)
    assert (job["id"], job["started_at"], job["finished_at"]) == ("busy", START_TEXT, None)


def test_an_unknown_state_is_refused_with_the_states(queuectl: Queuectl) -> None:
    result = queuectl.error("list", "--state", "running")

    assert result.code == 2
    assert all(state in result.err for state in STATES)


def test_a_limit_shows_those_that_arrived_last(queuectl: Queuectl, db_path: Path) -> None:
    fill(db_path)

    assert queuectl.ok("list", "-q", "--limit", "2").out == "cancelled\npending\n"


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1.5"])
def test_a_limit_that_is_none_is_refused(limit: str, queuectl: Queuectl) -> None:
    assert queuectl.error("list", "--limit", limit).code == 2


def test_a_tag_shows_the_jobs_that_have_it(queuectl: Queuectl, db_path: Path) -> None:
    fill(db_path)

    check_jobs(queuectl.json("list", "--tag", "night"), "completed")
    assert queuectl.json("list", "--tag", "nigh") == []
    assert queuectl.json("list", "--tag", "red", "--state", "dead") == []


def test_a_thousand_jobs_are_listed_page_by_page(queuectl: Queuectl) -> None:
    queuectl.ok("enqueue", "-", stdin='{"command":"x"}\n' * 1203)

    assert len(queuectl.ok("list").out.splitlines()) == 1204
    assert len(queuectl.json("list")) == 1203


def test_info_shows_every_field_the_attempts_and_the_last_error(
    queuectl: Queuectl, db_path: Path
) -> None:
    run_jobs(db_path, ("job1", "exit 1", FAILS))

    assert queuectl("info", "job1") == Result(0, (GOLDEN / "info.txt").read_text(), "")


def test_info_shows_what_is_unusual_only_where_it_is(queuectl: Queuectl) -> None:
    queuectl.ok("enqueue", "--id", "usual", "--", "true")
    queuectl.ok("enqueue", "--id", "dear", "--on-crash", "dead", "--", "true")
    usual, dear = (queuectl.ok("info", job).out for job in ("usual", "dear"))

    assert all(f"\n{name} " not in usual for name in ("on_crash", "stuck"))
    assert all(f"\n{name} " not in usual + dear for name in ("interruptions", "crashes"))
    assert "\non_crash          dead\n" in dear
    assert "\nmax_output_bytes  1073741824\n" in usual


def test_info_shows_what_was_interrupted_and_lost(queuectl: Queuectl, db_path: Path) -> None:
    run_interrupted_and_lost(db_path, "unlucky")

    job = queuectl.json("info", "unlucky")
    text = queuectl.ok("info", "unlucky").out

    check_job(job)
    assert (job["interruptions"], job["crashes"], job["attempts"]) == (1, 2, 2)
    assert "\ninterruptions     1\ncrashes           2\n" in text


@pytest.mark.parametrize(
    ("outcomes", "last_error"),
    [
        ([OutcomeKind.INTERRUPTED], None),
        ([OutcomeKind.FAILED, OutcomeKind.INTERRUPTED], "attempt 1: failed"),
        ([OutcomeKind.INTERRUPTED, OutcomeKind.LOST], "attempt 2: lost"),
    ],
)
def test_info_takes_no_run_that_was_given_back_for_an_error(
    outcomes: list[OutcomeKind], last_error: str | None, queuectl: Queuectl, db_path: Path
) -> None:
    run_to(db_path, "job", *outcomes)
    text = queuectl.ok("info", "job").out

    assert outcomes[-1] in text
    assert text.partition("last error: ")[2].strip() == (last_error or "")


def test_info_shows_that_a_job_is_stuck_beside_its_state(queuectl: Queuectl, db_path: Path) -> None:
    with pretended_worker(db_path, "busy") as worker:
        worker.be_stuck("busy", "process 7\ncannot be ended")
        text = queuectl.ok("info", "busy").out
        job = queuectl.json("info", "busy")

    lines = text.splitlines()
    place = lines.index("state             processing")
    assert lines[place + 1 : place + 3] == [
        "stuck             process 7",
        "                  cannot be ended",
    ]
    check_job(job)
    assert (job["state"], job["stuck"]) == ("processing", "process 7\ncannot be ended")


def test_the_table_shows_which_job_is_stuck(queuectl: Queuectl, db_path: Path) -> None:
    with pretended_worker(db_path, "busy", "stuck") as worker:
        worker.be_stuck("stuck", "process 7 cannot be ended")
        heading, busy, stuck = queuectl.ok("list").out.splitlines()
        jobs = queuectl.json("list")

    place = heading.index("Reason")
    assert busy[place:].split() == ["-", "sleep", "1000"]
    assert stuck[place:].startswith("stuck: process 7 cannot be ended")
    assert [job["stuck"] for job in jobs] == [None, "process 7 cannot be ended"]


def test_info_in_json_is_the_job_with_its_runs(queuectl: Queuectl, db_path: Path) -> None:
    run_jobs(db_path, ("job1", "exit 1", FAILS), max_retries=2)
    job = queuectl.json("info", "job1")

    check_job(job)
    assert (job["state"], job["attempts"], job["reason"]) == ("dead", 3, "exit_code=1")
    assert [run["attempt"] for run in job["runs"]] == [1, 2, 3]

    for run in job["runs"]:
        assert is_time(run["started_at"])
        assert is_time(run["finished_at"])
        assert is_number(run["duration_sec"])
        assert (run["exit_code"], run["reason"]) == (1, "exit_code=1")


def test_info_of_a_job_that_has_not_run_has_an_empty_array_of_runs(queuectl: Queuectl) -> None:
    queuectl.ok("enqueue", "--id", "a", "--", "true")

    assert queuectl.json("info", "a")["runs"] == []


def test_info_shows_the_lines_of_a_command_below_each_other(queuectl: Queuectl) -> None:
    queuectl.ok("enqueue", "--id", "a", "--command", "echo 1\necho 2")

    assert "command           echo 1\n                  echo 2\n" in queuectl.ok("info", "a").out


def test_info_of_a_job_that_is_not_there_is_exit_code_3(queuectl: Queuectl) -> None:
    result = queuectl.error("info", "nobody")

    assert result == Result(
        3, "", "error: no such job: nobody\nhint: see what is there with: queuectl list\n"
    )
