"""Pipes, closed streams and terminals: what is written where, and what never is."""

import json
import os
from pathlib import Path

import pytest

from queuectl.engine.testing import FakeRun
from tests.cli.program import (
    ESCAPE,
    Queuectl,
    at_terminal,
    next_line,
    run_process,
    run_shell,
    started_process,
    terminal,
    without_colors,
)
from tests.cli.states import fill, run_jobs
from tests.waiting import PATIENCE

HOSTILE = "echo \x1b[2J\x1b]0;owned\x07 \x9b31m \u202etxt.exe \r done"
VISIBLE = r"echo \x1b[2J\x1b]0;owned\x07 \x9b31m \u202etxt.exe \r done"


def test_head_is_quiet(queuectl: Queuectl, db_path: Path) -> None:
    queuectl.ok("enqueue", "-", stdin='{"command":"true"}\n' * 3000)

    for words in ("list", "list --json", "list -q"):
        result = run_shell(
            '{ $Q --db "$D" $W; echo "code $?" >&2; } | head -1', D=str(db_path), W=words
        )
        assert len(result.out.splitlines()) == 1
        assert result.err == "code 0\n"


def test_logs_into_head_are_quiet(db_path: Path) -> None:
    run_jobs(db_path, ("a", "x", FakeRun(output=b"line\n" * 100_000)))
    result = run_shell('{ $Q --db "$D" logs a; echo "code $?" >&2; } | head -1', D=str(db_path))

    assert (result.out, result.err) == ("line\n", "code 0\n")


def test_a_full_disk_is_an_error(db_path: Path) -> None:
    fill(db_path)
    result = run_shell('$Q --db "$D" list > /dev/full', D=str(db_path))

    assert result.code == 1
    assert "error: cannot write the output: No space left on device" in result.err


@pytest.mark.parametrize(
    ("words", "stream"),
    [
        ("events -f --since 0", "stdout"),
        ("logs -f a", "stderr"),
        ("status --watch --interval 1h", "stdout"),
    ],
)
def test_what_has_nothing_to_write_ends_too_when_nobody_reads_any_more(
    words: str, stream: str, queuectl: Queuectl, db_path: Path
) -> None:
    queuectl.ok("enqueue", "--id", "a", "--", "true")

    with started_process("--db", str(db_path), *words.split()) as process:
        assert next_line(process, stream)
        assert process.stdout is not None
        process.stdout.close()

        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(closed: str, queuectl: Queuectl, db_path: Path) -> None:
    result = run_shell(f'$Q --db "$D" enqueue --id a -- true {closed}', D=str(db_path))

    assert result.code == 0
    assert queuectl.ok("list", "-q").out == "a\n"


def test_a_pipe_has_no_escape_codes(db_path: Path) -> None:
    fill(db_path)

    for words in (("list",), ("info", "failed")):
        result = run_process("--db", str(db_path), *words, env={"CLICOLOR": "1"})
        assert result.code == 0
        assert ESCAPE not in result.out + result.err


def test_a_terminal_has_colours(db_path: Path) -> None:
    fill(db_path)
    shown = at_terminal("--db", str(db_path), "list").out

    assert f"{ESCAPE}[31mdead" in shown
    lines = without_colors(shown).splitlines()
    assert lines[0].split()[:4] == ["ID", "Command", "State", "Duration"]
    assert len(lines) == 6


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_no_colours_has_none(env: dict[str, str], db_path: Path) -> None:
    fill(db_path)
    shown = at_terminal("--db", str(db_path), "list", env=env).out

    assert ESCAPE not in shown
    assert len(shown.splitlines()) == 6


def test_a_table_fits_a_narrow_terminal_and_is_whole_in_a_pipe(
    queuectl: Queuectl, db_path: Path
) -> None:
    command = "echo " + "word " * 50
    queuectl.ok("enqueue", "--id", "a", "--command", command)
    shown = at_terminal("--db", str(db_path), "list", columns=70, env={"NO_COLOR": "1"}).out

    assert max(map(len, shown.splitlines())) <= 70
    assert command.strip() in queuectl.ok("list").out


@pytest.mark.parametrize("words", [("list",), ("info", "a"), ("list", "--json"), ("dlq", "list")])
def test_a_hostile_command_is_escaped_at_a_terminal(words: tuple[str, ...], db_path: Path) -> None:
    run_jobs(db_path, ("a", HOSTILE, FakeRun(exit_code=1, output=HOSTILE.encode())))
    shown = at_terminal("--db", str(db_path), *words, columns=300, env={"NO_COLOR": "1"}).out

    assert not any(bad in shown for bad in (ESCAPE, "\x07", "\x9b", "\u202e", "\r"))
    assert "owned" in shown


def test_a_hostile_command_is_escaped_in_a_pipe_and_whole_in_json(
    queuectl: Queuectl, db_path: Path
) -> None:
    run_jobs(db_path, ("a", HOSTILE, FakeRun(exit_code=1)))

    assert VISIBLE in queuectl.ok("list").out
    assert queuectl.json("info", "a")["command"] == HOSTILE


def test_hostile_output_is_escaped_at_a_terminal_unless_it_is_wanted_raw(db_path: Path) -> None:
    run_jobs(db_path, ("a", "x", FakeRun(output=f"{HOSTILE}\n".encode())))
    words = ("--db", str(db_path), "logs", "a")

    assert at_terminal(*words).out == f"{VISIBLE}\n"
    assert f"{ESCAPE}[2J" in at_terminal(*words, "--raw").out


@pytest.mark.parametrize("command", ["info", "cancel", "delete", "logs", "wait"])
def test_a_hostile_id_is_escaped_in_the_error(command: str, queuectl: Queuectl) -> None:
    result = queuectl.error(command, "\x1b[2J\x9b\u202e")

    assert result.code in {2, 3}
    assert ESCAPE not in result.err
    assert "\x9b" not in result.err
    assert "\u202e" not in result.err


def test_a_hostile_reason_is_escaped(queuectl: Queuectl) -> None:
    queuectl.ok("enqueue", "--id", "a", "--", "true")
    queuectl.ok("cancel", "a", "--reason", "\x1b[2Jred")

    assert ESCAPE not in queuectl.ok("list").out + queuectl.ok("info", "a").out
    assert queuectl("wait", "a").out == "a cancelled: \\x1b[2Jred\n"
    assert json.loads(queuectl.ok("list", "--json").out)[0]["reason"] == "\x1b[2Jred"


def test_json_at_a_terminal_is_spread_over_lines_and_still_json(db_path: Path) -> None:
    fill(db_path)
    shown = at_terminal("--db", str(db_path), "info", "dead", "--json").out

    assert json.loads(shown)["id"] == "dead"
    assert len(shown.splitlines()) > 10


def test_an_interrupt_at_a_terminal_is_exit_code_130_without_a_traceback(
    queuectl: Queuectl, db_path: Path
) -> None:
    queuectl.ok("enqueue", "--id", "a", "--", "true")

    with terminal("--db", str(db_path), "logs", "-f", "a") as screen:
        screen.read_until("no worker is alive")
        screen.type("\x03")
        result = screen.finish()

    assert result.code == 130
    assert "Traceback" not in result.out


def test_a_progress_bar_is_shown_at_a_terminal_and_leaves_no_trace(
    db_path: Path, tmp_path: Path
) -> None:
    file = tmp_path / "jobs.jsonl"
    file.write_text('{"command":"true"}\n' * 60_000)
    words = ("--db", str(db_path), "enqueue", "--file", str(file))
    shown = at_terminal(*words).out

    assert "writing 60000 jobs" in shown
    assert "Enqueued 60000 jobs\n" in shown


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_no_animation_has_none(
    env: dict[str, str], db_path: Path, tmp_path: Path
) -> None:
    file = tmp_path / "jobs.jsonl"
    file.write_text('{"command":"true"}\n' * 12_000)
    shown = at_terminal("--db", str(db_path), "enqueue", "-f", str(file), env=env).out

    assert ESCAPE not in shown
    assert shown.startswith("Enqueued 12000 jobs\n")


def test_an_encoding_without_the_letters_writes_them_as_escapes(
    queuectl: Queuectl, db_path: Path
) -> None:
    queuectl.ok("enqueue", "--id", "a", "--command", "echo é→")
    env = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    result = run_process("--db", str(db_path), "list", env=env)

    assert result.code == 0
    assert r"echo \xe9\u2192" in result.out


def test_a_folder_that_was_deleted_is_an_error_without_a_traceback(
    db_path: Path, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'cd "$G" && rmdir "$G" && $Q --db "$D" enqueue -- true'
    result = run_shell(script, G=str(gone), D=str(db_path))

    assert result.code in {1, 2}
    assert "unexpected" not in result.err
    assert not os.path.exists(gone)  # noqa: PTH110 (what it says)
