"""A database that cannot be used: the exit code, one line, what to do, and no traceback."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.program import Queuectl, Result, run_shell
from tests.cli.states import fill

COMMANDS = [
    ("enqueue", "--", "true"),
    ("list",),
    ("info", "a"),
    ("status",),
    ("wait", "a"),
    ("cancel", "a"),
    ("delete", "a"),
    ("dlq", "list"),
    ("dlq", "retry", "--all"),
    ("purge", "--yes"),
    ("config", "show"),
    ("config", "set", "priority", "1"),
    ("db", "check"),
    ("db", "migrate"),
    ("worker", "list"),
    ("worker", "stop"),
    ("logs", "a"),
]

each_command = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)


@contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


@each_command
def test_a_file_that_is_no_database_is_exit_code_7(
    words: tuple[str, ...], queuectl: Queuectl, db_path: Path
) -> None:
    db_path.write_text("a shopping list\n" * 100)
    result = queuectl.error(*words)

    assert result.code == 7
    assert result.err.startswith("error: not a database, or damaged ")
    assert db_path.read_text().startswith("a shopping list\n")


def test_another_programs_database_is_exit_code_7_and_untouched(
    queuectl: Queuectl, db_path: Path
) -> None:
    with connected(db_path) as other:
        other.execute("CREATE TABLE photos (name)")
    before = db_path.read_bytes()
    result = queuectl.error("enqueue", "--", "true")

    assert result.code == 7
    assert "another program's SQLite database" in result.err
    assert db_path.read_bytes() == before


@each_command
def test_a_newer_database_is_exit_code_7(
    words: tuple[str, ...], queuectl: Queuectl, db_path: Path
) -> None:
    queuectl.ok("db", "migrate")
    with connected(db_path) as later:
        later.execute("PRAGMA user_version = 999")
    result = queuectl.error(*words)

    assert result.code == 7
    assert "schema version 999" in result.err
    assert "hint: upgrade queuectl on this machine" in result.err


@pytest.mark.parametrize(
    "words", [("enqueue", "--", "true"), ("cancel", "pending"), ("config", "set", "priority", "1")]
)
def test_a_locked_database_is_exit_code_7(
    words: tuple[str, ...], queuectl: Queuectl, db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(db_path)
    monkeypatch.setattr("queuectl.engine.store.sqlite.connection.BUSY_SECONDS", 0.05)
    monkeypatch.setattr("queuectl.engine.store.sqlite.setup.BUSY_SECONDS", 0.05)

    with connected(db_path) as other:
        other.execute("BEGIN IMMEDIATE")
        result = queuectl.error(*words)

    assert result.code == 7
    assert "locked" in result.err
    assert "hint: try again" in result.err


def test_a_locked_database_can_still_be_read(queuectl: Queuectl, db_path: Path) -> None:
    fill(db_path)

    with connected(db_path) as other:
        other.execute("BEGIN IMMEDIATE")
        assert queuectl.ok("list", "--state", "dead", "-q").out == "dead\n"
        assert queuectl.json("status")["dlq"] == 1


@each_command
def test_a_folder_that_is_missing_is_named(words: tuple[str, ...], queuectl: Queuectl) -> None:
    queuectl.database = queuectl.database.parent / "no" / "such" / "queue.db"
    result = queuectl.error(*words)

    assert result.code == 1
    assert f"{queuectl.database.parent}" in result.err
    assert "unexpected" not in result.err
    assert "hint: " in result.err


def test_a_folder_instead_of_a_file_is_refused(queuectl: Queuectl, db_path: Path) -> None:
    db_path.mkdir()

    assert queuectl.error("enqueue", "--", "true").code == 7


@pytest.mark.parametrize("end", ["wal", "shm", "journal", "checkpoint", "turnstile"])
def test_the_name_of_another_databases_companion_is_refused(
    end: str, queuectl: Queuectl, db_path: Path
) -> None:
    """SQLite removes such files when it opens the other one."""
    other = db_path.with_name(f"other.db-{end}")
    result = queuectl("--db", str(other), "enqueue", "--", "true")

    assert result.code == 1
    assert "belongs to another database" in result.err
    assert not other.exists()


def test_a_database_with_two_names_is_refused_under_each(queuectl: Queuectl, db_path: Path) -> None:
    """Each name would have its own log and locks, and a job might run twice at once."""
    queuectl.ok("enqueue", "--", "true")
    other = db_path.with_name("other.db")
    other.hardlink_to(db_path)

    for path in (db_path, other):
        result = queuectl("--db", str(path), "enqueue", "--", "true")
        assert result.code == 1
        assert "more than one name" in result.err


def test_a_link_that_leads_nowhere_is_refused(queuectl: Queuectl, db_path: Path) -> None:
    db_path.symlink_to("/nowhere/at/all.db")
    result = queuectl.error("enqueue", "--", "true")

    # A link is followed: everybody must find the same locks beside the database.
    assert "the folder /nowhere/at does not exist" in result.err


def test_a_read_only_database_is_refused_with_what_to_check(tmp_path: Path) -> None:
    """Root may write everywhere, so where the tests are root, a namespace makes it read-only."""
    folder = tmp_path / "ro"
    folder.mkdir()
    fill(folder / "queue.db")

    if os.geteuid() == 0:
        mount = f"mount --bind -o ro {folder} {folder}"
        unshare = shutil.which("unshare")
        probe = f"unshare -m sh -c '{mount}'"

        if unshare is None or run_shell(probe).code != 0:
            pytest.skip("root cannot be kept from writing here")

        script = f"unshare -m sh -c '{mount} && exec $Q --db {folder}/queue.db $W'"
    else:
        folder.chmod(0o500)
        (folder / "queue.db").chmod(0o400)
        script = f"exec $Q --db {folder}/queue.db $W"

    for extra in ("", " --json"):
        result = run_shell(script, W=f"enqueue{extra} --command true")
        assert result.code in {1, 7}
        assert result.out == ""
        assert "unexpected" not in result.err
        assert "read-only" in result.err or "may be written to" in result.err


@pytest.mark.parametrize("name", ["/", "", ".", "..", "link"])
@pytest.mark.parametrize("command", ["list", "doctor"])
def test_a_name_that_no_file_has_is_refused(
    name: str, command: str, queuectl: Queuectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("/")

    assert queuectl.bare("--db", name, command) == Result(
        2, "", f"error: {name or repr(name)}: not the name of a file\n"
    )


def test_a_database_behind_an_address_is_refused(queuectl: Queuectl) -> None:
    result = queuectl.bare("--db", "postgresql://localhost/queue", "list")

    assert result == Result(
        2,
        "",
        "error: not a file: postgresql://localhost/queue\n"
        "hint: this queuectl keeps its queue in SQLite files only\n",
    )


def test_debug_shows_where_an_error_comes_from(queuectl: Queuectl) -> None:
    result = queuectl.bare("--db", str(queuectl.database), "--debug", "info", "nobody")

    assert result.code == 3
    assert "Traceback (most recent call last)" in result.err
    assert result.err.endswith(
        "error: no such job: nobody\nhint: see what is there with: queuectl list\n"
    )
