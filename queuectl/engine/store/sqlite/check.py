"""Reads a whole database and says what is wrong with it."""

import sqlite3

from queuectl.engine.store.base import CheckReport
from queuectl.engine.store.sqlite.operations import SQL
from queuectl.engine.store.sqlite.setup import MIGRATIONS, schema_version


def check_database(connection: sqlite3.Connection) -> CheckReport:
    """Check the file's structure, its references, its migrations and its counters."""
    problems = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
    problems += [
        f"{row['table']}: a row refers to a missing row of {row['parent']}"
        for row in connection.execute("PRAGMA foreign_key_check")
    ]

    return CheckReport(
        schema_version=schema_version(connection),
        driver=f"SQLite {sqlite3.sqlite_version}",
        problems=problems + _migrations(connection) + _counters(connection),
    )


def _migrations(connection: sqlite3.Connection) -> list[str]:
    applied = dict(connection.execute("SELECT number, checksum FROM migrations").fetchall())

    return [
        f"migration {migration.number} is not the one that was applied"
        for migration in MIGRATIONS
        if applied.get(migration.number) != migration.checksum
    ]


def _counters(connection: sqlite3.Connection) -> list[str]:
    true = dict(connection.execute(SQL["true_counts"]).fetchall())
    kept = {row["state"]: row["jobs"] for row in connection.execute(SQL["counts"])}

    return [
        f"{count} jobs are counted as {state}, there are {true.get(state, 0)}"
        for state, count in kept.items()
        if count != true.get(state, 0)
    ]
