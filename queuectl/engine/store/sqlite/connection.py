"""SQLite connections, set as they must be; the driver's errors, named."""

import asyncio
import errno
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Generic, TypeVar

import aiosqlite

from queuectl.engine.errors import (
    EngineClosedError,
    StoreBusyError,
    StoreDamagedError,
    StoreError,
)

T = TypeVar("T")

_log = logging.getLogger(__name__)

# Tells our files from other SQLite files ("qctl" in ASCII).
APPLICATION_ID: Final = 0x7163746C

# How long a statement waits for another process's lock.
BUSY_SECONDS: Final = 10.0

# STRICT tables came with 3.37; https://sqlite.org/stricttables.html
OLDEST_SQLITE: Final = (3, 37, 0)

# wal_autocheckpoint=0: an automatic checkpoint is a PASSIVE one, which in
# SQLite 3.7.0 to 3.51.2 can lose acknowledged commits that race it
# (https://sqlite.org/wal.html#walresetbug); see Checkpointer.
# synchronous=FULL: with NORMAL, a power loss takes acknowledged jobs along.
_PRAGMAS: Final = (
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA temp_store = MEMORY",
)

# How many instructions of SQLite's a read takes between two questions whether anybody still
# waits for it: about a millisecond.
_STEPS: Final = 50_000

# What opening a database takes: the file, its log, the log's index, for a moment the folder.
_DESCRIPTORS: Final = 4
_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE})

# SQLite's shared-memory file begins with this many bytes.
_SMALLEST_ROOM: Final = 32 * 1024

_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PROBLEMS: Final[dict[int, tuple[str, str]]] = {
    sqlite3.SQLITE_READONLY: (
        "the database is read-only",
        "check the permissions of the file and its folder",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "cannot open the database",
        "check that its folder may be written to, and is not on a read-only disk",
    ),
    sqlite3.SQLITE_PERM: ("no permission to use the database", "check its permissions"),
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space and try again"),
    sqlite3.SQLITE_IOERR: ("the disk failed to read or write", "check the disk"),
}


class ThreadConnection(aiosqlite.Connection):
    """
    A connection whose thread runs a whole function in one hop.

    A hop through the thread costs 0.1 to 0.5 ms, a statement a few
    microseconds; one hop a statement would be most of a job's price.

    Attributes:
        opened: The driver's connection, once there is one.
    """

    opened: sqlite3.Connection | None = None
    _is_closing = False

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """
        Call the function with the driver's connection, in the thread.

        Raises:
            EngineClosedError: The connection is closed, or is being closed.
        """
        if self._is_closing:
            raise EngineClosedError

        result: T = await self._execute(function, self._conn)  # type: ignore[no-untyped-call]
        return result

    async def look(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """
        Call a function that only reads; where the caller is cancelled, it ends, too.

        Else what was broken off, as a page that is closed, or all at a stop, would keep
        others waiting, and the connection from being closed.

        Raises:
            EngineClosedError: As `run`.
        """
        look = _Look(function)

        try:
            return await self.run(look)
        except asyncio.CancelledError:
            look.give_up()
            raise

    async def open(self) -> None:
        """
        Connect; where that fails or is cancelled, nothing is left when this raises.

        Raises:
            OSError: There is no thread to be had.
        """
        try:
            await self
        except BaseException as error:
            if self._thread.ident is None:
                raise OSError(errno.EAGAIN, str(error)) from error

            self._thread.join()

            # Cancelled, nobody has taken what the thread has opened meanwhile.
            if self.opened is not None:
                self.opened.close()

            raise

    async def close(self) -> None:
        """Do what was asked for, and close; the thread is gone when this returns."""
        # What is handed to the thread behind its last word, it never answers.
        self._is_closing = True
        await super().close()
        self._thread.join()


class _Look(Generic[T]):
    """A function over a connection that can be given up, from another thread than it runs in."""

    def __init__(self, function: Callable[[sqlite3.Connection], T]) -> None:
        self._function = function
        self._changing = threading.Lock()
        self._is_wanted = True
        self._connection: sqlite3.Connection | None = None

    def __call__(self, connection: sqlite3.Connection) -> T:
        with self._changing:
            if not self._is_wanted:
                # As SQLite itself says of a statement that was broken off.
                msg = "interrupted"
                raise sqlite3.OperationalError(msg)

            self._connection = connection

        # A statement that begins only after it was given up hears of no interrupt.
        connection.set_progress_handler(self._is_given_up, _STEPS)

        try:
            return self._function(connection)
        finally:
            connection.set_progress_handler(None, 0)

            with self._changing:
                self._connection = None

    def give_up(self) -> None:
        """Do not begin it, or break it off."""
        with self._changing:
            self._is_wanted = False

            # At once, and in the middle of a check, which asks nobody whether to go on.
            if self._connection is not None:
                self._connection.interrupt()

    def _is_given_up(self) -> bool:
        return not self._is_wanted


def connect(
    path: Path,
    *,
    reader: bool,
    prepare: Callable[[Path], object] | None = None,
    mode: str = "rw",
) -> ThreadConnection:
    """
    Return a connection that is not open yet.

    Args:
        path: The file; it must exist, or be made by ``prepare``.
        reader: Refuse statements that write.
        prepare: Called in the connection's thread, before it connects.
        mode: ``rw``, or ``ro``: that never moves the log, even when it is the
            last to close, but makes one where there is none, and leaves it.
    """

    def connector() -> sqlite3.Connection:
        if prepare is not None:
            prepare(path)

        # Neither makes a database, which would have the umask's permissions.
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(
            uri,
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            # One thread at a time all the same: `open` may have to close it.
            check_same_thread=False,
        )
        try:
            set_up(connection, reader=reader)
        except BaseException:
            connection.close()
            raise

        thread_connection.opened = connection
        return connection

    thread_connection = ThreadConnection(connector, iter_chunk_size=64)
    # A program that abandons its loop, and so the engine, ends all the same: others
    # see that it is dead, and go on with its runs. Closing waits for the thread.
    thread_connection._thread.daemon = True  # noqa: SLF001 (there is no other way)
    return thread_connection


def set_up(connection: sqlite3.Connection, *, reader: bool) -> None:
    """Set every option that queuectl needs on a new connection."""
    connection.row_factory = sqlite3.Row

    for pragma in _PRAGMAS:
        connection.execute(pragma)

    if reader:
        connection.execute("PRAGMA query_only = ON")


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Turn the driver's errors into ours, with the original as the cause."""
    try:
        yield
    except sqlite3.Error as error:
        raise name_error(error, path) from error
    except OSError as error:
        raise refused(error, path, "cannot open the database") from error


def refused(error: OSError, path: Path, problem: str, *, hint: str | None = None) -> StoreError:
    """
    Return the error for what the system does not let us do with a database.

    Args:
        error: What the system says.
        path: The database.
        problem: What cannot be done.
        hint: What to do about it where it is no lack of descriptors.
    """
    if error.errno in _SCARCE:
        hint = "raise the limit: ulimit -n; for the whole system: sysctl fs.file-max"

    return StoreError(path, f"{problem} ({error.strerror})", hint=hint)


def error_kind(error: sqlite3.Error) -> int | None:
    """Return SQLite's primary result code, None where Python itself raised the error."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    # The low byte is the kind; the others tell variants apart.
    return None if code is None else code & 0xFF


def name_error(error: sqlite3.Error, path: Path) -> StoreError:
    """Return the error of ours that says what the driver's means."""
    kind = error_kind(error)

    if kind in _BUSY:
        return StoreBusyError(
            path,
            "the database is locked by another program",
            hint="try again when it is done",
        )

    if kind in _DAMAGED:
        return StoreDamagedError(
            path,
            f"not a database, or damaged ({error})",
            hint=f"check the path; {StoreDamagedError.remedy(path)}",
        )

    if kind == sqlite3.SQLITE_CANTOPEN and (lack := _lack_of_descriptors(path)):
        return refused(lack, path, "cannot open the database")

    if kind == sqlite3.SQLITE_IOERR and _is_full(path):
        # The files beside the database could not even be made.
        kind = sqlite3.SQLITE_FULL

    problem, hint = _PROBLEMS.get(kind or -1, (f"the database failed ({error})", None))
    return StoreError(path, problem, hint=hint)


def _lack_of_descriptors(path: Path) -> OSError | None:
    """
    Return what the system says where too few files can be opened; SQLite does not tell.

    The folder is opened, and not the database: closing that would drop SQLite's locks.
    """
    with ExitStack() as opened:
        try:
            for _ in range(_DESCRIPTORS):
                descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                opened.callback(os.close, descriptor)
        except OSError as error:
            return error if error.errno in _SCARCE else None

    return None


def _is_full(path: Path) -> bool:
    """Whether there is no room beside the database for another file."""
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return False

    # What is no disk, as /proc, has no blocks at all.
    return found.f_blocks > 0 and found.f_bavail * found.f_frsize < _SMALLEST_ROOM
