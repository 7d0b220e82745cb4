"""Writes the schema of a new database: run me when a migration was added."""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

from queuectl.engine.store.sqlite.setup import prepare

SNAPSHOT: Final = Path(__file__).with_name("schema_sqlite.sql")


def dump_schema(path: Path) -> str:
    """Return the statements that make a database's schema, the same for the same schema."""
    with closing(sqlite3.connect(path)) as connection:
        [version] = connection.execute("PRAGMA user_version").fetchone()
        [application] = connection.execute("PRAGMA application_id").fetchone()
        rows = connection.execute(
            "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
            " ORDER BY tbl_name, type = 'table' DESC, type, name"
        ).fetchall()

    header = f"-- application_id {application:#x}, user_version {version}"
    return "\n\n".join([header, *(f"{sql};" for (sql,) in rows)]) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "new.db"
        prepare(database, now_ms=0)
        SNAPSHOT.write_text(dump_schema(database), encoding="utf-8")
