"""Reads a whole database and says what is wrong with it."""

import sqlite3

from queuectl.engine.store.base import CheckReport
from queuectl.engine.store.sqlite.setup import MIGRATIONS, schema_version
from queuectl.engine.store.sqlite.statements import SQL


def check_database(connection: sqlite3.Connection) -> CheckReport:
    """Check the file's structure, its references, its migrations and its counters."""
    # One moment for all of it: else what others change meanwhile looks like damage.
    connection.execute("BEGIN")
    try:
        return _check(connection)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _check(connection: sqlite3.Connection) -> CheckReport:
    problems = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
    problems += [
        f"{row['table']}: a row refers to a missing row of {row['parent']}"
        for row in connection.execute("PRAGMA foreign_key_check")
    ]

    return CheckReport(
        schema_version=schema_version(connection),
        driver=f"SQLite {sqlite3.sqlite_version}",
        problems=problems + migration_problems(connection) + _counters(connection),
    )


def migration_problems(connection: sqlite3.Connection) -> list[str]:
    """Return what is wrong with the migrations that were applied."""
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
