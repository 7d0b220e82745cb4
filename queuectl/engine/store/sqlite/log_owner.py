"""
Whose the write-ahead log beside a database is.

SQLite finds a log by its name, and plays it into whatever file bears the
database's: https://sqlite.org/howtocorrupt.html, 1.4. So the state folder says
which file the log was begun for, and a file that was put in its place meets no
log of another. Whatever is here is blocking.
"""

import os
import shlex
from pathlib import Path
from typing import Final

from queuectl.engine.errors import StoreDamagedError
from queuectl.engine.store.places import shm_file, state_folder, wal_file, when_emptied
from queuectl.engine.store.sqlite.connection import refused

# In the state folder: the inode of the database.
_NAME: Final = "database"
_LONGEST: Final = 20


def check_log_left(path: Path) -> None:
    """
    Refuse to make a database beside the log of one that is gone: SQLite would remove the log.

    Raises:
        StoreDamagedError: There is such a log.
    """
    if _log_size(path):
        raise StoreDamagedError(
            path, "the database is gone, and its log is still there", hint=when_emptied(path)
        )


def check_log(path: Path) -> None:
    """
    Refuse a log that was begun for another file.

    Raises:
        StoreDamagedError: It was.
        OSError: The system refuses the look.
    """
    note = _note(path)
    noted = _read(note)

    if noted not in {None, path.stat().st_ino} and _log_size(path):
        raise StoreDamagedError(
            path, "the log beside it is that of another file", hint=_what_to_do(path, note)
        )


def note_log(path: Path) -> None:
    """
    Remember for which file a log is begun from here on.

    Raises:
        StoreError: The system does not let us.
    """
    note, inode = _note(path), path.stat().st_ino

    try:
        if _read(note) != inode:
            _write(note, inode)
    except OSError as error:
        raise refused(error, path, f"cannot write {note}") from error


def _note(path: Path) -> Path:
    return state_folder(path) / _NAME


def _what_to_do(path: Path, note: Path) -> str:
    log = shlex.join([str(wal_file(path)), str(shm_file(path))])
    return (
        "where this file was put in the place of that one, what is in the log is lost:"
        f" rm -f -- {log}; where both were brought here together: rm -- {shlex.quote(str(note))}"
    )


def _log_size(path: Path) -> int:
    # Beside what a link leads to, as SQLite has it.
    log = wal_file(Path(os.path.realpath(path)))

    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0


def _read(note: Path) -> int | None:
    """Return the inode that is noted, None where none is."""
    try:
        descriptor = os.open(note, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None

    try:
        word = os.pread(descriptor, _LONGEST + 1, 0).strip()
    finally:
        os.close(descriptor)

    return int(word) if word.isdigit() else None


def _write(note: Path, inode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

    try:
        descriptor = os.open(note, flags, 0o600)
    except FileNotFoundError:
        # There is no state folder yet: nobody has opened it so far.
        return

    try:
        os.pwrite(descriptor, b"%-*d\n" % (_LONGEST, inode), 0)
    finally:
        os.close(descriptor)
