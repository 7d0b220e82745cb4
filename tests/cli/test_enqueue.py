"""``enqueue`` of one job: as JSON, by flags, as words behind ``--``."""

import json
from pathlib import Path

from tests.cli.program import Queuectl, Result, run_process
from tests.cli.schema import check_job
from tests.cli.states import pretended_worker

HINT = "no worker is alive; start one with: queuectl --db {} worker start\n"


def test_json_on_the_command_line_is_one_job(queuectl: Queuectl, db_path: Path) -> None:
    result = queuectl("enqueue", '{"id":"job1","command":"echo hi"}')

    assert result == Result(0, "Enqueued job: job1\n", HINT.format(db_path))
    assert queuectl.json("info", "job1")["command"] == "echo hi"


def test_flags_are_one_job(queuectl: Queuectl) -> None:
    assert queuectl.ok("enqueue", "--id", "a", "--command", "echo hi").out == "Enqueued job: a\n"
    assert queuectl.json("info", "a")["command"] == "echo hi"


def test_words_behind_two_dashes_are_quoted_for_the_shell(queuectl: Queuectl) -> None:
    queuectl.ok("enqueue", "--id", "a", "--", "printf", "%s\n", "a b", "$HOME", "it's", "--json")
    command = queuectl.json("info", "a")["command"]

    assert command == "printf '%s\n' 'a b' '$HOME' 'it'\"'\"'s' --json"


def test_two_dashes_behind_the_first_belong_to_the_command(queuectl: Queuectl) -> None:
    job = queuectl.json("enqueue", "--", "git", "log", "--", "file")

    assert job["command"] == "git log -- file"


def test_a_word_without_dashes_is_refused_with_the_command_that_was_meant(
    queuectl: Queuectl,
) -> None:
    result = queuectl.error("enqueue", "ls")

    assert result.code == 2
    assert "hint: to run it as a command: queuectl enqueue -- ls" in result.err
    assert queuectl.ok("enqueue", "--", "ls").out.startswith("Enqueued job: ")


def test_several_words_without_dashes_are_refused_with_the_command_that_was_meant(
    queuectl: Queuectl,
) -> None:
    result = queuectl.error("enqueue", "ls", "a b")

    assert result.code == 2
    assert "queuectl enqueue -- ls 'a b'" in result.err


def test_an_id_that_nobody_gave_is_made_sorts_and_is_unique(queuectl: Queuectl) -> None:
    ids = [queuectl.ok("enqueue", "-q", "--", "true").out.strip() for _ in range(5)]

    assert len(set(ids)) == 5
    assert sorted(ids) == ids


def test_every_flag_is_kept_with_the_job(queuectl: Queuectl, tmp_path: Path) -> None:
    job = queuectl.json(
        *("enqueue", "--id", "full", "--priority", "200", "--max-retries", "5"),
        *("--on-crash", "kill", "--max-output-bytes", "4096"),
        *("--backoff-base", "1.5", "--timeout", "1h30m", "--run-at", "2035-01-02T03:04:05Z"),
        *("--cwd", str(tmp_path), "--env", "A=b=c", "--env", "EMPTY="),
        *("--tag", "red", "--tag", "night", "--", "true"),
    )

    check_job(job)
    assert job["priority"] == 200
    assert job["max_retries"] == 5
    assert job["backoff_base"] == 1.5
    assert job["timeout_sec"] == 5400
    assert (job["on_crash"], job["max_output_bytes"]) == ("kill", 4096)
    assert job["run_at"] == "2035-01-02T03:04:05.000Z"
    assert job["cwd"] == str(tmp_path)
    assert job["env_names"] == ["A", "EMPTY"]
    assert job["tags"] == ["red", "night"]


def test_every_json_field_is_kept_with_the_job(queuectl: Queuectl, tmp_path: Path) -> None:
    fields = {
        "id": "full",
        "command": "true",
        "state": "pending",
        "attempts": 0,
        "max_retries": 5,
        "priority": -7,
        "timeout": 12,
        "on_crash": "dead",
        "max_output_bytes": 4096,
        "run_at": "2035-01-02T03:04:05+01:00",
        "created_at": "2025-01-01T00:00:00Z",
        "updated_at": "2025-01-01T00:00:00Z",
        "base_backoff": 3,
        "cwd": str(tmp_path),
        "env": {"A": "b"},
        "tags": ["red"],
    }
    job = queuectl.json("enqueue", json.dumps(fields))

    check_job(job)
    assert (job["state"], job["attempts"], job["max_retries"]) == ("pending", 0, 5)
    assert (job["priority"], job["timeout_sec"], job["backoff_base"]) == (-7, 12, 3)
    assert (job["on_crash"], job["max_output_bytes"]) == ("dead", 4096)
    assert (job["run_at"], job["cwd"]) == ("2035-01-02T02:04:05.000Z", str(tmp_path))
    assert (job["env_names"], job["tags"]) == (["A"], ["red"])
    assert not job["created_at"].startswith("2025-01-01")


def test_timeout_and_timeout_sec_are_the_same_field(queuectl: Queuectl) -> None:
    assert queuectl.json("enqueue", '{"command":"a","timeout":"10m"}')["timeout_sec"] == 600
    assert queuectl.json("enqueue", '{"command":"a","timeout_sec":600}')["timeout_sec"] == 600


def test_a_timeout_of_0_is_none(queuectl: Queuectl) -> None:
    assert queuectl.json("enqueue", "--timeout", "0", "--", "true")["timeout_sec"] is None


def test_an_output_limit_of_0_is_none(queuectl: Queuectl) -> None:
    job = queuectl.json("enqueue", "--max-output-bytes", "0", "--", "true")

    assert job["max_output_bytes"] is None


def test_an_output_limit_may_have_a_unit(queuectl: Queuectl) -> None:
    job = queuectl.json("enqueue", "--max-output-bytes", "512K", "--", "true")

    assert job["max_output_bytes"] == 512 * 1024


def test_a_job_that_says_nothing_has_the_defaults(queuectl: Queuectl) -> None:
    job = queuectl.json("enqueue", "--", "true")

    assert (job["priority"], job["max_retries"], job["timeout_sec"]) == (100, 3, 3600)
    assert (job["on_crash"], job["max_output_bytes"]) == ("adopt", 1_073_741_824)
    assert job["cwd"] == str(Path.cwd())
    assert (job["state"], job["attempts"], job["tags"]) == ("pending", 0, [])


def test_a_time_without_a_zone_is_local(db_path: Path) -> None:
    words = ("enqueue", "--json", "--run-at", "2035-01-02T03:04:05", "--", "true")
    result = run_process("--db", str(db_path), *words, env={"TZ": "Asia/Tokyo"})

    assert result.json["run_at"] == "2035-01-01T18:04:05.000Z"


def test_a_delayed_job_stays_pending(queuectl: Queuectl) -> None:
    job = queuectl.json("enqueue", "--delay", "10m", "--", "true")

    assert job["state"] == "pending"
    assert job["run_at"] > job["created_at"]


def test_options_beside_json_fill_in_what_it_does_not_say(queuectl: Queuectl) -> None:
    job = queuectl.json(
        *("enqueue", "--priority", "5", "--timeout", "9", "--on-crash", "dead"),
        '{"command":"a","priority":7,"on_crash":"kill"}',
    )

    assert (job["priority"], job["timeout_sec"], job["on_crash"]) == (7, 9, "kill")


def test_quiet_prints_the_id_alone(queuectl: Queuectl) -> None:
    assert queuectl("enqueue", "-q", "--id", "a", "--", "true") == Result(0, "a\n", "")
    assert queuectl("enqueue", "--quiet", "--id", "b", "--", "true") == Result(0, "b\n", "")


def test_json_is_on_stdout_and_the_note_about_workers_on_stderr(
    queuectl: Queuectl, db_path: Path
) -> None:
    result = queuectl("enqueue", "--json", "--id", "a", "--", "true")

    check_job(result.json)
    assert result.err == HINT.format(db_path)


def test_where_a_worker_is_alive_nothing_is_said_about_workers(
    queuectl: Queuectl, db_path: Path
) -> None:
    with pretended_worker(db_path):
        assert queuectl("enqueue", "--id", "a", "--", "true").err == ""


def test_the_values_of_the_environment_are_shown_nowhere(queuectl: Queuectl) -> None:
    shown = queuectl.ok("enqueue", "--json", "--id", "a", "--env", "K=s3cret", "--", "true").out
    shown += queuectl.ok("info", "a").out + queuectl.ok("list", "--json").out

    assert "s3cret" not in shown
    assert '"env_names":["K"]' in shown
