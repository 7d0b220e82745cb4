"""``db``."""

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from tests.cli.program import Queuectl, Result, run_process
from tests.cli.states import START_TEXT, fill, run_jobs


def test_path_prints_where_the_database_is(queuectl: Queuectl, db_path: Path) -> None:
    assert queuectl("db", "path") == Result(0, f"{db_path}\n", "")
    assert queuectl.json("db", "path") == {"path": str(db_path)}
    assert not db_path.exists()


def test_path_follows_the_option_then_the_variable_then_the_home_folder(
    queuectl: Queuectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert queuectl.bare("db", "path").out == f"{tmp_path}/.queuectl/queue.db\n"
    monkeypatch.setenv("QUEUECTL_DB", "/srv/from-variable.db")
    assert queuectl.bare("db", "path").out == "/srv/from-variable.db\n"
    assert queuectl.bare("--db", "/srv/said.db", "db", "path").out == "/srv/said.db\n"


def test_the_usual_database_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    assert run_process("enqueue", "-q", "--id", "a", "--", "true") == Result(0, "a\n", "")
    folder = tmp_path / ".queuectl"

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "queue.db").stat().st_mode) == 0o600


def test_info_prints_how_large_the_database_is(queuectl: Queuectl, db_path: Path) -> None:
    fill(db_path)
    info = queuectl.json("db", "info")
    lines = queuectl.ok("db", "info").out.splitlines()

    assert (info["path"], info["size_bytes"]) == (str(db_path), db_path.stat().st_size)
    assert (info["oldest_event"], info["outputs_bytes"]) == (START_TEXT, 0)
    assert info["schema_version"] == queuectl.json("db", "check")["schema_version"]
    assert lines[0].split() == ["path", str(db_path)]
    assert next(line for line in lines if line.startswith("events ")).endswith(
        f"{info['events']}, since {START_TEXT}"
    )


def test_check_of_a_sound_database_is_ok(queuectl: Queuectl, db_path: Path) -> None:
    fill(db_path)

    assert queuectl.ok("db", "check").out.startswith("ok: schema version ")
    report = queuectl.json("db", "check")
    assert report["problems"] == []
    assert isinstance(report["schema_version"], int)


def test_check_of_a_damaged_database_is_exit_code_7(queuectl: Queuectl, db_path: Path) -> None:
    run_jobs(db_path)
    queuectl.ok("enqueue", "-", stdin='{"command":"x"}\n' * 2000)
    content = bytearray(db_path.read_bytes())
    content[8192 : 8192 + 40_960] = os.urandom(40_960)
    db_path.write_bytes(content)
    result = queuectl("db", "check")

    assert result.code == 7
    assert result.err.startswith("error: ")
    assert "hint: " in result.err


@pytest.mark.parametrize("words", [("info",), ("check",), ("vacuum",), ("backup", "copy.db")])
def test_a_database_that_is_not_there_is_said_and_not_made(
    words: tuple[str, ...], queuectl: Queuectl, db_path: Path
) -> None:
    result = queuectl.error("db", *words)

    assert result.err == f"error: no database: {db_path}\nhint: the first enqueue makes it\n"
    assert not db_path.exists()


def test_backup_writes_a_database_with_the_same_jobs(
    queuectl: Queuectl, db_path: Path, tmp_path: Path
) -> None:
    fill(db_path)
    copy = tmp_path / "copy.db"

    assert queuectl("db", "backup", str(copy)) == Result(0, f"{copy}\n", "")
    assert queuectl.bare("--db", str(copy), "list").out == queuectl("list").out


def test_backup_in_json_names_the_file(queuectl: Queuectl, db_path: Path, tmp_path: Path) -> None:
    fill(db_path)

    assert queuectl.json("db", "backup", str(tmp_path / "b.db")) == {"backup": f"{tmp_path}/b.db"}


def test_backup_overwrites_nothing(queuectl: Queuectl, db_path: Path, tmp_path: Path) -> None:
    fill(db_path)
    other = tmp_path / "precious"
    other.write_text("mine")

    assert queuectl.error("db", "backup", str(other)).code == 1
    assert other.read_text() == "mine"


def test_backup_into_a_folder_that_is_missing_is_an_error(
    queuectl: Queuectl, db_path: Path, tmp_path: Path
) -> None:
    fill(db_path)
    result = queuectl.error("db", "backup", str(tmp_path / "no" / "b.db"))

    assert "unexpected" not in result.err


def test_vacuum_gives_space_back(queuectl: Queuectl) -> None:
    queuectl.ok("enqueue", "-", stdin='{"command":"x"}\n' * 5000)
    queuectl.ok("purge", "--yes", "--state", "pending")
    sizes = queuectl.json("db", "vacuum")

    assert sizes["bytes_after"] < sizes["bytes_before"]
    assert "bytes after" in queuectl.ok("db", "vacuum").out


def test_migrate_prints_the_schema_version(queuectl: Queuectl, db_path: Path) -> None:
    fill(db_path)
    version = queuectl.json("db", "migrate")["schema_version"]
    connection = sqlite3.connect(db_path)

    assert connection.execute("PRAGMA user_version").fetchone() == (version,)
    connection.close()
    assert queuectl.ok("db", "migrate").out.startswith(f"schema version {version}")
