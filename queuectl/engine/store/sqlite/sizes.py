"""How large a database is."""

import os
import sqlite3
from pathlib import Path

from queuectl.engine.domain.looks import DatabaseInfo
from queuectl.engine.store.places import wal_file
from queuectl.engine.store.sqlite.rows import from_ms
from queuectl.engine.store.sqlite.setup import schema_version
from queuectl.engine.store.sqlite.statements import SQL


def describe_database(
    connection: sqlite3.Connection, path: Path, outputs_bytes: int
) -> DatabaseInfo:
    """Return the sizes of a database; what is in files beside it is told by the caller."""
    size = connection.execute(SQL["file_size"]).fetchone()
    oldest = connection.execute(SQL["first_event"]).fetchone()

    return DatabaseInfo(
        path=str(path),
        size_bytes=size["size_bytes"],
        wal_bytes=_size_of(wal_file(path)),
        free_bytes=size["free_bytes"],
        outputs_bytes=outputs_bytes,
        schema_version=schema_version(connection),
        sqlite_version=sqlite3.sqlite_version,
        events=connection.execute(SQL["count_events"]).fetchone()[0],
        oldest_event=None if oldest is None else from_ms(oldest["at"]),
    )


def _size_of(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        # There is no log before the first change, nor behind the last engine.
        return 0
