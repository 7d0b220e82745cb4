"""``events``."""

import json
import signal
from pathlib import Path

import pytest

from queuectl.engine.testing import FakeRun
from tests.cli.program import Queuectl, Result, finish, next_line, run_shell, started_process
from tests.cli.schema import is_time
from tests.cli.states import FAILS, START_TEXT, run_jobs

HOSTILE = "\x1b]0;owned\x07 \u202e\nno"


@pytest.fixture(autouse=True)
def two_jobs(db_path: Path) -> None:
    """One that succeeds, and one that dies: three events each."""
    run_jobs(db_path, ("good", "true", FakeRun()), ("bad", "exit 1", FAILS))


def numbers(text: str) -> list[int]:
    """Return the number of each event."""
    return [int(line.split()[0]) for line in text.splitlines()]


def test_an_event_is_a_line_with_its_number_its_time_its_job_and_what_happened(
    queuectl: Queuectl,
) -> None:
    lines = queuectl.ok("events").out.splitlines()

    assert lines[:2] == [f"1  {START_TEXT}  good  enqueued", f"2  {START_TEXT}  bad  enqueued"]
    assert f"  {START_TEXT}  good  completed, attempt 1" in "\n".join(lines)
    assert f"  {START_TEXT}  bad  died, attempt 1: exit_code=1" in "\n".join(lines)
    assert numbers("\n".join(lines)) == [1, 2, 3, 4, 5, 6]


def test_json_is_an_object_a_line(queuectl: Queuectl) -> None:
    events = [json.loads(line) for line in queuectl.ok("events", "--json").out.splitlines()]

    assert [event["seq"] for event in events] == [1, 2, 3, 4, 5, 6]
    assert all(is_time(event["at"]) for event in events)
    [died] = [event for event in events if event["kind"] == "died"]
    assert died | {"seq": 0, "at": ""} == {
        "seq": 0,
        "at": "",
        "kind": "died",
        "job_id": "bad",
        "state": "dead",
        "attempt": 1,
        "reason": "exit_code=1",
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--limit", "2"), [5, 6]),
        (("--since", "4"), [5, 6]),
        (("--since", "0", "--limit", "2"), [1, 2]),
        (("--since", "6"), []),
        (("--limit", "99"), [1, 2, 3, 4, 5, 6]),
    ],
    ids=str,
)
def test_only_the_events_that_are_wanted_are_printed(
    words: tuple[str, ...], expected: list[int], queuectl: Queuectl
) -> None:
    assert numbers(queuectl.ok("events", *words).out) == expected


def test_a_job_that_never_was_is_not_found(queuectl: Queuectl) -> None:
    refused = queuectl.error("events", "--job", "nobody")

    assert (refused.code, refused.out) == (3, "")
    assert "nobody" in refused.err


def test_a_job_whose_events_are_behind_has_none_and_is_known(queuectl: Queuectl) -> None:
    queuectl.ok("delete", "bad")

    assert queuectl.ok("events", "--job", "bad", "--since", "6") == Result(0, "", "")


def test_of_a_queue_in_which_nothing_happened_that_is_said(
    queuectl: Queuectl, tmp_path: Path
) -> None:
    empty = queuectl.bare("--db", str(tmp_path / "empty.db"), "events")

    assert empty == Result(0, "", "nothing has happened yet\n")


def test_the_number_of_another_database_is_refused(queuectl: Queuectl) -> None:
    refused = queuectl.error("events", "--since", "7")

    assert refused.code == 2
    assert "there is no event number 7 yet, the last is 6" in refused.err


def test_the_events_of_one_job_outlive_it(queuectl: Queuectl) -> None:
    queuectl.ok("delete", "bad")
    lines = queuectl.ok("events", "--job", "bad", "--limit", "2").out.splitlines()

    assert [line.split("  ", 2)[2] for line in lines] == [
        "bad  claimed, attempt 1",
        "bad  died, attempt 1: exit_code=1",
    ]


@pytest.mark.parametrize(
    "words",
    [("--since", "-1"), ("--since", "x"), ("--limit", "0"), ("--since", str(2**63))],
    ids=" ".join,
)
def test_a_number_that_is_none_is_refused(words: tuple[str, ...], queuectl: Queuectl) -> None:
    assert queuectl.error("events", *words).code == 2


def test_what_may_steer_a_terminal_is_escaped(queuectl: Queuectl) -> None:
    queuectl.ok("enqueue", "--id", "a", "--", "true")
    queuectl.ok("cancel", "a", "--reason", HOSTILE)
    line = queuectl.ok("events", "--limit", "1").out
    record = queuectl.ok("events", "--limit", "1", "--json").out

    assert line.endswith(r"a  cancelled: \x1b]0;owned\x07 \u202e\nno" + "\n")
    assert not any(bad in record for bad in HOSTILE[:1] + "\x07\u202e")
    assert json.loads(record)["reason"] == HOSTILE


def test_following_shows_what_others_do_until_it_is_interrupted(
    queuectl: Queuectl, db_path: Path
) -> None:
    with started_process("--db", str(db_path), "events", "-f", "--limit", "1") as process:
        assert numbers(next_line(process)) == [6]
        queuectl.ok("enqueue", "--id", "new", "--", "true")
        assert next_line(process).endswith("  new  enqueued\n")
        process.send_signal(signal.SIGINT)
        result = finish(process)

    assert (result.code, result.out, result.err) == (130, "", "")


def test_following_from_a_number_misses_nothing_and_may_end_after_some(
    queuectl: Queuectl, db_path: Path
) -> None:
    words = ("events", "--follow", "--since", "5", "--limit", "3", "--json", "--job", "bad")

    with started_process("--db", str(db_path), *words) as process:
        first = json.loads(next_line(process))
        queuectl.ok("enqueue", "--id", "other", "--", "true")
        queuectl.ok("retry", "bad")
        queuectl.ok("cancel", "bad")
        result = finish(process)

    kinds = [json.loads(line)["kind"] for line in result.out.splitlines()]
    assert (first["seq"], first["kind"], kinds) == (6, "died", ["retried", "cancelled"])
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize("words", ["events", "events --json", "events -f --since 0"])
def test_head_is_quiet(words: str, queuectl: Queuectl, db_path: Path) -> None:
    queuectl.ok("enqueue", "-", stdin='{"command":"true"}\n' * 3000)
    result = run_shell(
        '{ $Q --db "$D" $W; echo "code $?" >&2; } | head -1', D=str(db_path), W=words
    )

    assert len(result.out.splitlines()) == 1
    assert result.err == "code 0\n"
