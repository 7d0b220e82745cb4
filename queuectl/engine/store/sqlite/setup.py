"""Makes a database, checks that a file is one, and brings its schema up to date."""

import fcntl
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from queuectl.engine.errors import SchemaVersionError, StoreDamagedError, StoreError
from queuectl.engine.store.log_owner import check_log_left, claim_log, is_log_of
from queuectl.engine.store.migrations import Migration, load_migrations
from queuectl.engine.store.places import (
    COMPANIONS,
    EMPTIED,
    gate_file,
    made_by_us,
    state_folder,
    when_emptied,
)
from queuectl.engine.store.sqlite.connection import (
    APPLICATION_ID,
    BUSY_SECONDS,
    OLDEST_SQLITE,
    named_errors,
    refused,
    set_up,
)
from queuectl.engine.store.sqlite.filelocks import (
    cannot_lock,
    close_lock,
    held_by_another,
    open_lock,
    take_lock,
)

MIGRATIONS: Final = load_migrations(__file__)


def prepare(path: Path, *, now_ms: int) -> None:
    """
    Make the database where there is none, and migrate an older one.

    Blocking; for a thread.

    Raises:
        StoreError: The folder is missing, or the file cannot be used.
        StoreDamagedError: The file is something else, damaged, or was emptied, or the log
            beside it is another's.
        SchemaVersionError: A newer queuectl wrote it.
        StoreBusyError: Another process makes or migrates it, and does not come to an end.
        OSError: The system refuses a look at the files.
    """
    _check_library(path)
    _check_place(path)
    has_content = _has_content(path)
    _check_owner(path)

    if has_content and is_log_of(path):
        with _connected(path) as connection:
            if _is_ready(connection):
                return

    # Of processes that make one database at once, each sees it whole or not at
    # all; setting WAL does not wait for SQLite's own locks.
    with _alone(path):
        _make_file(path)
        claim_log(path)

        with _connected(path) as connection:
            _migrate(connection, path, now_ms)


def schema_version(connection: sqlite3.Connection) -> int:
    """Return how many migrations the database has had."""
    row = connection.execute("PRAGMA user_version").fetchone()
    return int(row[0])


def _check_library(path: Path) -> None:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreError(
            path,
            f"SQLite {sqlite3.sqlite_version} is too old"
            f" (at least {'.'.join(map(str, OLDEST_SQLITE))})",
        )


def _check_place(path: Path) -> None:
    """Refuse a name that no database may have, and a folder that is not there."""
    if path.name.endswith(COMPANIONS):
        raise StoreError(
            path,
            "this is the name of a file that belongs to another database",
            hint="choose another name",
        )

    if not path.parent.is_dir():
        raise StoreError(
            path,
            f"the folder {path.parent} does not exist",
            hint=f"make it with: mkdir -p {path.parent}",
        )


def _check_owner(path: Path) -> None:
    """Refuse what is another user's: what root made beside it would lock the owner out."""
    here = os.geteuid()

    for member in made_by_us(path):
        try:
            # A link to a database is fine, whose ever it is; in place of the others it is not.
            owner = os.stat(member, follow_symlinks=member == path).st_uid
        except FileNotFoundError:
            continue

        if owner != here:
            raise StoreError(
                path,
                f"{member.name} belongs to another user (uid {owner})",
                hint="use queuectl as that user; what else can be done is said by: queuectl doctor",
            )


def _has_content(path: Path) -> bool:
    """
    Whether there is a file, and something in it.

    Raises:
        StoreError: No database can be what is there; a link may lead to one.
        OSError: The system refuses the look.
    """
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False

    try:
        found = path.stat()
    except OSError as error:
        raise StoreError(
            path,
            f"a link that leads to no file ({error.strerror})",
            hint="remove the link, or make what it leads to",
        ) from error

    if not stat.S_ISREG(found.st_mode):
        raise StoreDamagedError(path, "not a file")

    if found.st_nlink > 1:
        # Each name would have its own log, locks and folder: two queues in one file.
        raise StoreError(
            path,
            "the file has more than one name (hard links)",
            hint="remove the other names; a symbolic link is fine",
        )

    return found.st_size > 0


def _make_file(path: Path) -> None:
    """
    Make the file with permissions for its owner alone, before SQLite would.

    Only by who is alone: then a file that is empty is not one that is being made.
    """
    # Only a file that is new is opened here: closing a descriptor of a
    # database that is in use would drop SQLite's locks in this process
    # (https://sqlite.org/howtocorrupt.html, 2.2).
    if not os.path.lexists(path):
        check_log_left(path)

    try:
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(path, flags, 0o600))
    except FileExistsError:
        if not _has_content(path):
            _check_emptied(path)
    except OSError as error:
        raise refused(
            error, path, "cannot make the database", hint="check the permissions"
        ) from error


def _check_emptied(path: Path) -> None:
    """Refuse an empty file that was a database; SQLite would remove its log, too."""
    if os.path.lexists(state_folder(path)):
        raise StoreDamagedError(path, EMPTIED, hint=when_emptied(path))


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    with named_errors(path):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
        )
        try:
            set_up(connection, reader=False)
            yield connection
        finally:
            connection.close()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Have the lock of who makes or migrates the database, while in the context."""
    lock = open_lock(gate_file(path), path)

    try:
        _take_alone(lock, path)
        yield
    finally:
        close_lock(lock)


def _take_alone(lock: int, path: Path) -> None:
    try:
        is_ours = take_lock(lock, fcntl.LOCK_EX, until=time.monotonic() + BUSY_SECONDS)
    except OSError as error:
        raise cannot_lock(path, error) from error

    if not is_ours:
        raise held_by_another(path)


def _is_ready(connection: sqlite3.Connection) -> bool:
    """Whether there is nothing to do, as for almost every opening."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    is_current = schema_version(connection) == len(MIGRATIONS)
    return is_current and application == APPLICATION_ID and mode == "wal"


def _migrate(connection: sqlite3.Connection, path: Path, now_ms: int) -> None:
    version = file_version(connection, path)

    # WAL is a property of the file, which a restored backup has lost; it cannot
    # be set inside a transaction.
    connection.execute("PRAGMA journal_mode = WAL")

    if version == len(MIGRATIONS):
        return

    connection.execute("BEGIN IMMEDIATE")

    try:
        for migration in MIGRATIONS[version:]:
            _apply(connection, migration, now_ms)

        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        # SQLite may have rolled back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def file_version(connection: sqlite3.Connection, path: Path) -> int:
    """
    Return the schema version of a file that is ours, or empty.

    Raises:
        StoreDamagedError: It is another program's.
        SchemaVersionError: A newer queuectl wrote it.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = schema_version(connection)
    is_empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0

    if application != APPLICATION_ID and not (is_empty and version == 0 and application == 0):
        raise StoreDamagedError(
            path,
            "this is another program's SQLite database",
            hint="choose another file with --db or QUEUECTL_DB",
        )

    if version > len(MIGRATIONS):
        raise SchemaVersionError(path, version, len(MIGRATIONS))

    return version


def _apply(connection: sqlite3.Connection, migration: Migration, now_ms: int) -> None:
    for statement in _statements(migration.sql):
        connection.execute(statement)

    connection.execute(
        "INSERT INTO migrations (number, name, checksum, applied_at) VALUES (?, ?, ?, ?)",
        (migration.number, migration.name, migration.checksum, now_ms),
    )


def _statements(script: str) -> Iterator[str]:
    """Split a script; ``executescript`` would commit the transaction around it."""
    statement = ""

    for line in script.splitlines(keepends=True):
        statement += line

        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
