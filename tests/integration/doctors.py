"""What the tests of `diagnose` share: finding findings, and doing what they advise."""

import hashlib
import sqlite3
from pathlib import Path
from typing import Final

from queuectl import Finding, Verdict
from tests.cli.program import run_shell

OK: Final = Verdict.OK
NOTE: Final = Verdict.NOTE
PROBLEM: Final = Verdict.PROBLEM


def only(findings: list[Finding], check: str) -> Finding:
    """Return the one finding of a check."""
    [finding] = [finding for finding in findings if finding.check == check]
    return finding


def problems(findings: list[Finding]) -> list[str]:
    """Return the checks that found a problem."""
    return [finding.check for finding in findings if finding.verdict is PROBLEM]


def follow(finding: Finding, *, after: str = "", before: str = "") -> None:
    """Do what a finding advises: the command in it, from behind some words up to others."""
    assert finding.advice is not None
    assert after in finding.advice
    assert before in finding.advice
    command = finding.advice.partition(after)[2] if after else finding.advice
    command = command.partition(before)[0] if before else command
    result = run_shell(f'queuectl() {{ $Q "$@"; }}\n{command}')
    assert result.code == 0, (command, result)


def contents(folder: Path) -> dict[str, str]:
    """Return every file in a folder, and what is in it; SQLite's scratch index is left out."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "-"
        for path in sorted(folder.rglob("*"))
        if not path.name.endswith("-shm")
    }


def register(connection: sqlite3.Connection, token: str) -> None:
    """Put a worker of an earlier boot on the list."""
    rows = connection.execute("PRAGMA table_info(workers)").fetchall()
    names = [row[1] for row in rows if row[3]]
    values = {
        **{row[1]: "" if row[2] == "TEXT" else 0 for row in rows},
        "token": token,
        "boot_id": "another",
        "concurrency": 1,
    }
    marks = ", ".join(f":{name}" for name in names)
    connection.execute(f"INSERT INTO workers ({', '.join(names)}) VALUES ({marks})", values)  # noqa: S608
