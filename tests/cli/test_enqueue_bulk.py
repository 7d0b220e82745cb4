"""``enqueue`` of many jobs at once: all of them or none."""

import json
from pathlib import Path

from tests.cli.program import Queuectl, Result, run_process
from tests.cli.schema import check_jobs

LINES = '{"id":"a","command":"true"}\n\n{"id":"b","command":"false"}\n'


def test_json_lines_on_stdin_are_jobs(queuectl: Queuectl) -> None:
    assert queuectl.ok("enqueue", "-", stdin=LINES).out == "Enqueued 2 jobs\n"
    assert queuectl.ok("list", "-q").out == "a\nb\n"


def test_an_array_on_the_command_line_is_jobs(queuectl: Queuectl) -> None:
    jobs = queuectl.json("enqueue", '[{"id":"a","command":"x"},{"id":"b","command":"y"}]')

    check_jobs(jobs, "a", "b")


def test_an_array_on_stdin_may_have_several_lines(queuectl: Queuectl) -> None:
    text = json.dumps([{"id": "a", "command": "x"}, {"id": "b", "command": "y"}], indent=2)

    check_jobs(queuectl.json("enqueue", "-", stdin=text), "a", "b")


def test_a_file_is_read(queuectl: Queuectl, tmp_path: Path) -> None:
    file = tmp_path / "jobs.jsonl"
    file.write_text(LINES)

    assert queuectl("enqueue", "-q", "--file", str(file)) == Result(0, "a\nb\n", "")


def test_one_job_in_an_array_is_still_an_array(queuectl: Queuectl) -> None:
    check_jobs(queuectl.json("enqueue", "-", stdin='{"id":"a","command":"x"}'), "a")


def test_an_empty_input_is_an_empty_array(queuectl: Queuectl) -> None:
    assert queuectl("enqueue", "--json", "-") == Result(0, "[]\n", "")
    assert queuectl("enqueue", "--json", "[]") == Result(0, "[]\n", "")
    assert queuectl.ok("enqueue", "-").out == "Enqueued 0 jobs\n"


def test_options_are_defaults_for_every_job(queuectl: Queuectl) -> None:
    jobs = queuectl.json("enqueue", "--priority", "7", "--tag", "t", "-", stdin=LINES)

    assert [(job["priority"], job["tags"]) for job in jobs] == [(7, ["t"]), (7, ["t"])]


def test_an_id_option_for_many_jobs_is_refused(queuectl: Queuectl) -> None:
    result = queuectl.error("enqueue", "--id", "x", "-", stdin=LINES)

    assert result.code == 2
    assert "--id is for one job" in result.err


def test_one_bad_line_refuses_all_and_every_bad_line_is_named(queuectl: Queuectl) -> None:
    text = LINES + '{"command":"x","prio":1}\n{"command"\n{"id":"c","command":"x"}\n{"id":"d"}\n'
    result = queuectl("enqueue", "-", stdin=text)

    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("error: nothing was enqueued: 3 bad lines\n")
    assert "  line 4: unknown field 'prio', did you mean 'priority'?\n" in result.err
    assert "  line 5: malformed JSON at column 11: " in result.err
    assert "  line 7: command: is missing\n" in result.err
    assert queuectl.json("list") == []


def test_bad_lines_are_one_json_object_with_json(queuectl: Queuectl) -> None:
    result = queuectl("enqueue", "--json", "-", stdin=LINES + "{}\n")

    assert result.code == 2
    assert "line 4: command: is missing" in result.error["message"]


def test_bad_elements_of_an_array_are_named_by_their_place(queuectl: Queuectl) -> None:
    result = queuectl.error("enqueue", '[{"command":"x"},{"command":1},5]')

    assert "element 2: command: expected text, got a whole number" in result.err
    assert "element 3: " in result.err
    assert queuectl.json("list") == []


def test_an_id_that_stands_twice_in_the_input_refuses_all(queuectl: Queuectl) -> None:
    result = queuectl("enqueue", "-", stdin=LINES + '{"id":"a","command":"again"}\n')

    assert result.code in {2, 4}
    assert "line 4: id: a is the id of line 1 already" in result.err
    assert queuectl.json("list") == []


def test_an_id_that_exists_refuses_all(queuectl: Queuectl) -> None:
    queuectl.ok("enqueue", "--id", "b", "--", "first")
    result = queuectl("enqueue", "-", stdin=LINES)

    assert result.code == 4
    assert result.out == ""
    assert "exists: b\n" in result.err
    check_jobs(queuectl.json("list"), "b")
    assert queuectl.json("info", "b")["command"] == "first"


def test_a_hundred_thousand_lines_are_all_enqueued(queuectl: Queuectl) -> None:
    text = "".join(f'{{"command":"echo {number}"}}\n' for number in range(100_000))

    assert queuectl.ok("enqueue", "-", stdin=text).out == "Enqueued 100000 jobs\n"
    assert queuectl.json("status")["counts"]["pending"] == 100_000


def test_one_bad_line_among_a_hundred_thousand_refuses_all_and_is_named(
    queuectl: Queuectl,
) -> None:
    lines = ['{"command":"x"}\n'] * 100_000
    lines[77_776] = '{"command":""}\n'
    result = queuectl("enqueue", "-", stdin="".join(lines))

    assert result == Result(
        2, "", "error: nothing was enqueued: 1 bad line\n  line 77777: command: is empty\n"
    )
    assert queuectl.json("list") == []


def test_a_windows_file_with_a_byte_order_mark_is_read(queuectl: Queuectl) -> None:
    text = b'\xef\xbb\xbf{"id":"a","command":"x"}\r\n{"id":"b","command":"y"}\r\n'

    assert queuectl.ok("enqueue", "-q", "-", stdin=text).out == "a\nb\n"


def test_a_process_reads_its_standard_input(db_path: Path) -> None:
    result = run_process("--db", str(db_path), "enqueue", "-q", "-", stdin=LINES.encode())

    assert result == Result(0, "a\nb\n", "")
