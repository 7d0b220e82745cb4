"""``top`` and ``status --watch``: at terminals, and where there is none."""

import shutil
import signal
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from queuectl.engine.testing import FakeRun
from tests.cli.program import (
    ESCAPE,
    Queuectl,
    at_terminal,
    run_process,
    run_words,
    terminal,
    terminal_of,
    words,
)
from tests.cli.schema import is_time
from tests.cli.states import FAILS, fill, pretended_worker, run_jobs

ENTERS, LEAVES = "\x1b[?1049h", "\x1b[?1049l"
# Titles of columns of which none is between them on a narrow terminal.
NARROW = "\x1b[2mID\x1b[0m    \x1b[2mLast line"
HIDES, SHOWS = "\x1b[?25l", "\x1b[?25h"
LIVE = pytest.mark.parametrize("command", [("top",), ("status", "--watch")], ids=" ".join)


def is_left_as_it_was(shown: str) -> bool:
    """Whether the other screen was left, and the cursor is there, whatever was before."""
    return (
        shown.count(ENTERS) == shown.count(LEAVES) > 0
        and shown.rindex(LEAVES) > shown.rindex(ENTERS)
        and shown.rindex(SHOWS) > shown.rindex(HIDES)
    )


@LIVE
def test_what_happens_elsewhere_is_drawn_until_an_interrupt(
    command: tuple[str, ...], queuectl: Queuectl, db_path: Path
) -> None:
    # Nobody runs it, so that a count tells of it.
    queuectl.ok("enqueue", "--id", "first", "--", "true")
    wanted = "pending 2" if command == ("top",) else "pending             2"

    with terminal("--db", str(db_path), *command) as screen:
        screen.read_until("last")
        queuectl.ok("enqueue", "--id", "second", "--", "true")
        screen.read_until(wanted)
        screen.type("\x03")
        result = screen.finish()

    assert result.code == 130
    assert is_left_as_it_was(result.out)
    assert "Traceback" not in result.out


@LIVE
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_that_ends_it_leaves_the_terminal_as_it_was(
    command: tuple[str, ...], number: signal.Signals, queuectl: Queuectl, db_path: Path
) -> None:
    queuectl.ok("enqueue", "--", "true")

    with terminal("--db", str(db_path), *command) as screen:
        screen.read_until("pending")
        screen.send(number)
        result = screen.finish()

    assert result.code == -number
    assert is_left_as_it_was(result.out)


@LIVE
def test_a_database_that_goes_away_is_an_error_on_the_terminal_as_it_was(
    command: tuple[str, ...], queuectl: Queuectl, tmp_path: Path
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    database = str(folder / "queue.db")
    queuectl.bare("--db", database, "enqueue", "--", "true")

    with terminal("--db", database, *command) as screen:
        screen.read_until("pending")
        shutil.rmtree(folder)
        result = screen.finish()

    before, _, after = result.out.rpartition(LEAVES)
    assert result.code == 7
    assert is_left_as_it_was(result.out)
    assert "error: the database" in after
    assert "error" not in before


def test_a_stop_gives_the_terminal_back_and_going_on_takes_it_again(
    queuectl: Queuectl, db_path: Path
) -> None:
    queuectl.ok("enqueue", "--", "true")
    program = " ".join(words("--db", str(db_path), "top"))
    script = f"set -m; {program}; echo stopped here; fg; echo ended with $?"

    with terminal_of(["/bin/sh", "-c", script]) as screen:
        screen.read_until("pending 1")
        screen.type("\x1a")
        stopped, _, screen.shown = screen.read_until("stopped here").partition("stopped here")
        screen.read_until("pending 1")
        screen.type("\x03")
        again = screen.read_until("ended with 130")

    assert is_left_as_it_was(stopped)
    assert is_left_as_it_was(again)


def test_another_width_of_the_window_is_drawn_at_once(db_path: Path) -> None:
    with (
        pretended_worker(db_path, "busy"),
        terminal("--db", str(db_path), "top", columns=100) as screen,
    ):
        screen.read_until("sleep 1000")
        assert NARROW not in screen.shown
        screen.be_wide(40)
        screen.read_until(NARROW)
        screen.type("\x03")
        assert screen.finish().code == 130


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_on_which_nothing_may_move_gets_it_once_and_plainly(
    env: dict[str, str], db_path: Path
) -> None:
    fill(db_path)
    result = at_terminal("--db", str(db_path), "top", env=env)

    assert result.code == 0
    assert ESCAPE not in result.out
    assert "failed 1" in result.out
    assert all(cell_len(line) <= 80 for line in result.out.splitlines())


@pytest.mark.parametrize("columns", [20, 40, 200])
def test_once_at_a_terminal_is_no_wider_than_that(columns: int, db_path: Path) -> None:
    fill(db_path)
    shown = at_terminal("--db", str(db_path), "top", "--once", columns=columns).out

    assert ESCAPE not in shown
    assert "dead 1" in shown
    assert max(map(cell_len, shown.splitlines())) <= columns


def test_a_pipe_gets_it_once_and_whole(queuectl: Queuectl, db_path: Path) -> None:
    command = "echo " + "word " * 50
    run_jobs(db_path, ("a", command, FakeRun(exit_code=1)))
    queuectl.ok("cancel", queuectl.ok("enqueue", "-q", "--", "true").out.strip())
    out = run_process("--db", str(db_path), "top").out

    assert ESCAPE not in out
    assert "exit_code=1" in out
    assert str(db_path) in out
    assert queuectl.ok("top").out.splitlines()[1:] == out.splitlines()[1:]
    assert queuectl.ok("top", "--once").out.splitlines()[1:] == out.splitlines()[1:]


def test_an_encoding_without_the_letters_gets_others_and_keeps_the_columns(db_path: Path) -> None:
    run_jobs(db_path, ("a", "false", FakeRun(exit_code=1)))
    env = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    out = run_process("--db", str(db_path), "top", env=env).out

    assert out.isascii()
    assert "\\u" not in out


def test_json_has_what_status_has_and_what_runs_and_failed(
    queuectl: Queuectl, db_path: Path
) -> None:
    run_jobs(db_path, ("broken", "exit 1", FAILS))

    with pretended_worker(db_path, "busy"):
        top, status = queuectl.json("top"), queuectl.json("status")

    assert top.keys() == {*status, "at", "running", "failures"}
    assert top["workers"] == status["workers"]
    [running], [failure] = top["running"], top["failures"]
    assert (running["id"], running["command"]) == ("busy", "sleep 1000")
    assert running["last_line"] == "so far"
    assert running["age_sec"] > 0
    assert is_time(failure.pop("at"))
    assert failure == {
        "job_id": "broken",
        "attempt": 1,
        "state": "dead",
        "reason": "exit_code=1",
    }


def test_an_empty_queue_has_empty_lists_and_says_what_to_do(
    queuectl: Queuectl, db_path: Path
) -> None:
    top = queuectl.json("top")

    assert (top["running"], top["failures"]) == ([], [])
    assert f"start one with: queuectl --db {db_path} worker start" in queuectl.ok("top").out


def test_watching_with_an_interval_looks_no_oftener(queuectl: Queuectl, db_path: Path) -> None:
    queuectl.ok("enqueue", "--", "true")

    with terminal("--db", str(db_path), "status", "--watch", "--interval", "1h") as screen:
        screen.read_until("last_day")
        queuectl.ok("enqueue", "--", "true")
        screen.type("\x03")
        result = screen.finish()

    assert "pending             2" not in result.out


def test_nothing_of_it_is_imported_by_other_commands(db_path: Path) -> None:
    script = f"""
import sys
from queuectl.cli import program
program.execute(["--db", {str(db_path)!r}, "status"])
print([name for name in sys.modules if name.startswith(("rich", "queuectl.cli.l"))])
"""
    last = run_words([sys.executable, "-c", script]).out.splitlines()[-1]

    assert last == "['queuectl.cli.lately']"
