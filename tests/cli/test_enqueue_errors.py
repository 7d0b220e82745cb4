"""What ``enqueue`` refuses: exit code 2, what is wrong and what to do, and nothing is lost."""

import json
from pathlib import Path

import pytest

from tests.cli.program import Queuectl, run_process

LONG = 200_000


def bad(name: str, text: str, *said: str) -> object:
    return pytest.param(text, said, id=name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        bad("malformed", '{"command" "x"}', "malformed JSON at line 1, column 12"),
        bad("second_line", '{"command":"x",\n  oops}', "malformed JSON at line 2, column 3"),
        bad("cut_off", '{"command":"x"', "malformed JSON", "ends too early"),
        bad("single_quotes", "{'command':'x'}", "malformed JSON", "hint: JSON has double quotes"),
        bad("trailing", '{"command":"x"} y', "malformed JSON at line 1, column 17"),
        bad("unknown", '{"command":"x","prioritty":1}', "'prioritty', did you mean 'priority'?"),
        bad("cmd", '{"cmd":"x"}', "did you mean 'command'?"),
        bad("far", '{"command":"x","zzz":1}', "unknown field 'zzz'", "the fields are: command"),
        bad("no_command", '{"id":"x"}', "command: is missing"),
        bad("command_number", '{"command":5}', "command: expected text, got a whole number"),
        bad("command_null", '{"command":null}', "command: expected text, got null"),
        bad("priority_text", '{"command":"x","priority":"5"}', "priority: expected a whole number"),
        bad("retries_float", '{"command":"x","max_retries":1.5}', "max_retries: expected a whole"),
        bad("bool", '{"command":"x","max_retries":true}', "max_retries: expected a whole number"),
        bad("tags_text", '{"command":"x","tags":"red"}', "tags: expected an array, got text"),
        bad("env_number", '{"command":"x","env":{"A":1}}', "env: expected text"),
        bad("env_name", '{"command":"x","env":{"A B":"1"}}', "env: not a variable's name: 'A B'"),
        bad("env_ours", '{"command":"x","env":{"QUEUECTL_X":"1"}}', "is for queuectl to set"),
        bad("empty", '{"command":""}', "command: is empty"),
        bad("blank", '{"command":" \\n "}', "command: is empty"),
        bad("nul", '{"command":"a\\u0000b"}', "command: holds a NUL character"),
        bad("surrogate", '{"command":"a\\ud800b"}', "surrogate"),
        bad("long", json.dumps({"command": "x" * LONG}), "command: too long: 200000 bytes"),
        bad("id_space", '{"command":"x","id":"a b"}', "id: not allowed: 'a b'"),
        bad("id_dash", '{"command":"x","id":"-a"}', "id: not allowed: '-a'"),
        bad("id_empty", '{"command":"x","id":""}', "id: not allowed: ''"),
        bad("id_slash", '{"command":"x","id":"../a"}', "id: not allowed: '../a'"),
        bad("id_newline", '{"command":"x","id":"a\\n"}', "id: not allowed: 'a\\n'"),
        bad("id_long", json.dumps({"command": "x", "id": "a" * 129}), "id: not allowed"),
        bad("id_arabic_digit", '{"command":"x","id":"a\u0661"}', "id: not allowed"),
        bad("id_number", '{"command":"x","id":5}', "id: expected text, got a whole number"),
        bad("run_at", '{"command":"x","run_at":"tomorrow"}', "run_at: not a time: 'tomorrow'"),
        bad("run_at_month", '{"command":"x","run_at":"2026-13-01T00:00:00Z"}', "not a time"),
        bad("run_at_number", '{"command":"x","run_at":5}', "run_at: expected text"),
        bad("timeout", '{"command":"x","timeout":"soon"}', "timeout: not a duration: 'soon'"),
        bad("timeout_negative", '{"command":"x","timeout":-1}', "timeout: out of range: -1 s"),
        bad("timeout_huge", '{"command":"x","timeout_sec":1e300}', "timeout_sec: out of range"),
        bad("delay", '{"command":"x","delay":"1 fortnight"}', "delay: not a duration"),
        bad("both", '{"command":"x","delay":1,"run_at":"2035-01-01T00:00Z"}', "not both"),
        bad("two_timeouts", '{"command":"x","timeout":1,"timeout_sec":2}', "given twice"),
        bad("negative_retries", '{"command":"x","max_retries":-1}', "max_retries: out of range"),
        bad("huge_retries", '{"command":"x","max_retries":99999999999}', "max_retries: out of"),
        bad("huge_priority", '{"command":"x","priority":1e30}', "priority"),
        bad("negative_base", '{"command":"x","backoff_base":-1}', "backoff_base: out of range"),
        bad("on_crash", '{"command":"x","on_crash":"restart"}', "on_crash: not allowed: 'restart'"),
        bad("on_crash_number", '{"command":"x","on_crash":1}', "on_crash: expected text"),
        bad("limit", '{"command":"x","max_output_bytes":-1}', "max_output_bytes: out of range: -1"),
        bad("limit_text", '{"command":"x","max_output_bytes":"1GB"}', "not a size: '1GB'"),
        bad("state", '{"command":"x","state":"completed"}', "state: a new job is pending"),
        bad("attempts", '{"command":"x","attempts":2}', "attempts: a new job has 0 attempts"),
        bad("no_text", "", "the JSON is empty"),
        bad("deep", "[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_object_is_refused_with_what_is_wrong(
    text: str, said: tuple[str, ...], queuectl: Queuectl
) -> None:
    result = queuectl.error("enqueue", text)

    assert result.code == 2
    assert all(words in result.err for words in said), result.err
    assert len(result.err.splitlines()) <= 2
    assert len(result.err) < 600
    assert queuectl.json("list") == []


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--id", "a b"], "id: not allowed: 'a b'"),
        (["--id", ""], "id: not allowed: ''"),
        (["--max-retries", "-1"], "max_retries: out of range: -1"),
        (["--max-retries", "many"], "'many' is not a valid int"),
        (["--priority", "high"], "'high' is not a valid int"),
        (["--priority", "99999999999"], "priority: out of range"),
        (["--backoff-base", "nan"], "backoff_base: out of range"),
        (["--backoff-base", "-2"], "backoff_base: out of range: -2"),
        (["--on-crash", "restart"], "on_crash: not allowed: 'restart' (one of adopt, kill, dead)"),
        (["--on-crash", ""], "on_crash: not allowed: '' (one of adopt, kill, dead)"),
        (["--max-output-bytes", "-1"], "'--max-output-bytes': out of range: '-1' (expected 0 to"),
        (["--max-output-bytes", "1GB"], "'--max-output-bytes': not a size: '1GB'"),
        (["--timeout", "soon"], "'--timeout': not a duration: 'soon'"),
        (["--timeout", "-5"], "'--timeout': not a duration: '-5'"),
        (["--timeout", "99999d"], "out of range"),
        (["--delay", "10 parsecs"], "'--delay': not a duration"),
        (["--run-at", "tomorrow"], "'--run-at': not a time: 'tomorrow'"),
        (["--run-at", "0001-01-01T00:00:00Z"], "out of range"),
        (["--run-at", "2035-01-01T00:00Z", "--delay", "5"], "run_at or delay, not both"),
        (["--env", "A"], "'--env': not NAME=VALUE: A"),
        (["--env", "=b"], "env: not a variable's name: ''"),
        (["--env", "1A=b"], "env: not a variable's name: '1A'"),
        (["--env", "QUEUECTL_JOB_ID=b"], "is for queuectl to set"),
        (["--tag", ""], "tags: not allowed: ''"),
        (["--tag", "a\nb"], "tags: not allowed: 'a\\nb'"),
        (["--colour", "red"], "no such option: --colour"),
    ],
)
def test_a_bad_flag_is_refused_with_what_is_wrong(
    flags: list[str], said: str, queuectl: Queuectl
) -> None:
    result = queuectl.error("enqueue", *flags, "--command", "true")

    assert result.code == 2
    assert said in result.err
    assert queuectl.json("list") == []


@pytest.mark.parametrize("command", ["", " ", "\t\n"])
def test_an_empty_command_is_refused(command: str, queuectl: Queuectl) -> None:
    result = queuectl.error("enqueue", "--command", command)

    assert result.code == 2
    assert result.err == "error: command: is empty\n"


def test_two_dashes_with_nothing_behind_are_refused(queuectl: Queuectl) -> None:
    result = queuectl("enqueue", "--")

    assert result.code == 2
    assert "no command behind --" in result.err


def test_no_job_at_all_is_refused_with_examples(queuectl: Queuectl) -> None:
    result = queuectl.error("enqueue")

    assert result.code == 2
    assert "no job was given\nhint: for example: queuectl enqueue" in result.err


def test_a_job_given_in_several_ways_is_refused(queuectl: Queuectl) -> None:
    result = queuectl.error("enqueue", "--command", "x", '{"command":"y"}')

    assert result.code == 2
    assert "jobs were given in several ways" in result.err


def test_a_second_id_beside_the_one_in_the_json_is_refused(queuectl: Queuectl) -> None:
    result = queuectl.error("enqueue", "--id", "a", '{"id":"b","command":"x"}')

    assert result.code == 2
    assert "two ids" in result.err


def test_a_duplicate_id_is_a_conflict_and_nothing_is_overwritten(queuectl: Queuectl) -> None:
    queuectl.ok("enqueue", "--id", "a", "--", "first")
    result = queuectl.error("enqueue", "--id", "a", "--", "second")

    assert result.code == 4
    assert result.err.startswith("error: a job with this id exists: a\nhint: ")
    assert queuectl.json("info", "a")["command"] == "first"


def test_a_file_that_is_missing_is_named(queuectl: Queuectl, tmp_path: Path) -> None:
    result = queuectl.error("enqueue", "--file", str(tmp_path / "none.jsonl"))

    assert result.code == 2
    assert f"cannot read {tmp_path}/none.jsonl: No such file or directory" in result.err
    assert "hint" not in result.err


def test_a_file_by_the_name_of_stdin_is_told_how_that_is_given(
    queuectl: Queuectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert queuectl.error("enqueue", "--file", "-").err == (
        "error: cannot read -: No such file or directory\n"
        "hint: standard input is read by: queuectl enqueue -\n"
    )


def test_a_folder_instead_of_a_file_is_named(queuectl: Queuectl, tmp_path: Path) -> None:
    assert queuectl.error("enqueue", "--file", str(tmp_path)).code == 2


def test_bytes_that_are_not_utf8_are_refused_with_their_place(queuectl: Queuectl) -> None:
    result = queuectl.error("enqueue", "-", stdin=b'{"command":"caf\xe9"}')

    assert result.code == 2
    assert "not UTF-8 (byte 16)" in result.err


def test_a_file_of_noise_is_refused(queuectl: Queuectl) -> None:
    assert queuectl.error("enqueue", "-", stdin=bytes(range(256)) * 8).code == 2


def test_a_command_in_other_bytes_than_utf8_is_refused_without_a_traceback(db_path: Path) -> None:
    result = run_process("--db", str(db_path), "enqueue", "--", "echo", "caf\udce9")

    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("error: command: ")
